"""Scenes: cutouts pasted on made-up backgrounds, so that mask, box and class of each are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from PIL import Image
from torch import Tensor

from tlcourse.datasets.cutouts import load_cutouts
from tlcourse.datasets.dataset import ImageFiles
from tlcourse.errors import DatasetError
from tlcourse.shapes import Labels

BLOTCHES = 5  # a background is that many by that many random colours, blended
MIN_ALPHA = 128  # a pixel belongs to the object from there on


@dataclass(frozen=True)
class Scenes:
    """Images, and what is known of the one object in each.

    Attributes
    ----------
    images
        uint8 (N, 3, S, S).
    masks
        bool (N, S, S), True on the object.
    boxes
        int64 (N, 4): left, top, right and bottom in pixels, the last two not included.
    labels
        int64 (N,), counted in ``class_names``.
    cutouts
        int64 (N,): which of ``load_dataset("cutouts")`` is on it.
    """

    images: UInt8[Tensor, "n 3 s s"]
    masks: Bool[Tensor, "n s s"]
    boxes: Int64[Tensor, "n 4"]
    labels: Labels
    class_names: tuple[str, ...]
    cutouts: Int64[Tensor, " n"]

    def cells(self, grid: int) -> Labels:
        """Where the middle of each object lies in a ``grid`` × ``grid`` division, int64 (N,).

        Cells are numbered as one reads: 0 is the left one on top.
        """
        middles = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        column, row = (middles * grid / self.images.shape[-1]).long().T
        return row * grid + column


def make_scenes(
    split: str,
    count: int,
    *,
    image_size: int,
    object_size: int,
    seed: int,
    split_seed: int = 0,
    objects: Sequence[int] | None = None,
    background: Callable[[np.random.Generator, int], Image.Image] | None = None,
) -> Scenes:
    """Cutouts of one split on made-up backgrounds, at places drawn evenly from ``seed``.

    Parameters
    ----------
    split
        ``train``, ``validation`` or ``test`` of the cutouts, as ``split_seed`` deals them.
    count
        Number of scenes.
    image_size
        Side of a scene in pixels.
    object_size
        Longer side of its object in pixels.
    objects
        Which cutouts of the split are shown, as rows of all (None: all of the split).
    background
        Draws what is behind it, from a generator and a size (None: ``muted``).

    Raises
    ------
    DatasetError
        For an unknown split, for an object larger than its scene, and for objects that are not of
        the split.

    Examples
    --------
    >>> scenes = make_scenes("train", 5, image_size=64, object_size=24, seed=0)
    >>> scenes.images.shape, scenes.masks.any(dim=(1, 2)).all().item()
    (torch.Size([5, 3, 64, 64]), True)
    """
    if not 1 <= object_size <= image_size:
        raise DatasetError(
            f"object_size {object_size} must be positive and at most image_size {image_size}"
        )
    cutouts = load_cutouts(split_seed)
    assert isinstance(cutouts.images, ImageFiles)
    rows = cutouts.indices(split)
    if objects is not None:
        if not len(objects) or (others := set(objects) - set(rows.tolist())):
            told = f"rows {sorted(others)} are not of {split}" if len(objects) else "none are given"
            raise DatasetError(f"objects are one or more of a split's cutouts; {told}")
        rows = np.asarray(objects)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(rows, count)
    drawn = {i: _object(cutouts.images.files[i], object_size) for i in np.unique(chosen)}
    images, masks, boxes = [], [], []
    for i in chosen:
        scene = (background or muted)(generator, image_size)
        cutout = drawn[i]
        left, top = (int(generator.integers(image_size - side + 1)) for side in cutout.size)
        scene.paste(cutout, (left, top), cutout)  # blended by its own alpha
        mask = np.zeros((image_size, image_size), dtype=bool)
        alpha = np.asarray(cutout.getchannel("A"))
        mask[top : top + cutout.height, left : left + cutout.width] = alpha >= MIN_ALPHA
        images.append(np.asarray(scene))
        masks.append(mask)
        boxes.append((left, top, left + cutout.width, top + cutout.height))
    return Scenes(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack(masks)),
        torch.tensor(boxes),
        torch.from_numpy(cutouts.labels[chosen]),
        cutouts.class_names,
        torch.from_numpy(chosen),
    )


def _object(file: Path, size: int) -> Image.Image:
    """A cutout with its alpha, cut to what is to be seen, its longer side ``size`` pixels."""
    with Image.open(file) as opened:
        image = opened.convert("RGBA")
    visible = image.getchannel("A").point(lambda alpha: 255 * (alpha >= MIN_ALPHA))
    image = image.crop(visible.getbbox())
    scale = size / max(image.size)
    width, height = (max(1, round(scale * side)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def muted(generator: np.random.Generator, size: int) -> Image.Image:
    """A background of muted random colours that run into each other, ``size`` pixels wide.

    Examples
    --------
    >>> muted(np.random.default_rng(0), 64).size
    (64, 64)
    """
    colours = generator.integers(60, 200, (BLOTCHES, BLOTCHES, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((size, size), Image.Resampling.BICUBIC)


def checks(generator: np.random.Generator, size: int) -> Image.Image:
    """A background of two random colours in squares, with edges that no muted one has.

    Examples
    --------
    >>> len(checks(np.random.default_rng(0), 64).getcolors())
    2
    """
    colours = generator.integers(0, 256, (2, 3), dtype=np.uint8)
    squares = np.indices((2 * BLOTCHES, 2 * BLOTCHES)).sum(axis=0) % 2
    return Image.fromarray(colours[squares]).resize((size, size), Image.Resampling.NEAREST)
