"""Scenes: cutouts pasted on made-up backgrounds, so that mask, box and class of each are known."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tlcourse.datasets.cutouts import load_cutouts
from tlcourse.errors import DatasetError

BLOTCHES = 5  # a background is that many by that many random colours, blended
MIN_ALPHA = 128  # a pixel belongs to the object from there on


@dataclass(frozen=True)
class Scenes:
    """``images`` uint8 (N, 3, S, S), and what is known of the one object in each.

    ``masks`` is bool (N, S, S), True on the object; ``boxes`` int64 (N, 4) has left, top, right
    and bottom in pixels, the last two not included; ``labels`` int64 (N,) counts ``class_names``.
    """

    images: Tensor
    masks: Tensor
    boxes: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def cells(self, grid: int) -> Tensor:
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
    background: Callable[[np.random.Generator, int], Image.Image] | None = None,
) -> Scenes:
    """``count`` scenes with cutouts of one split, at places drawn evenly from ``seed``.

    ``image_size`` is the side of a scene, ``object_size`` the longer side of its object, in pixels;
    ``background`` draws what is behind it (None: ``muted``).
    Raises DatasetError for an unknown split and for an object larger than its scene.
    """
    if not 1 <= object_size <= image_size:
        raise DatasetError(
            f"object_size {object_size} must be positive and at most image_size {image_size}"
        )
    cutouts = load_cutouts(split_seed)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(cutouts.indices(split), count)
    objects = {i: _object(cutouts.images.files[i], object_size) for i in np.unique(chosen)}
    images, masks, boxes = [], [], []
    for i in chosen:
        scene = (background or muted)(generator, image_size)
        cutout = objects[i]
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
    )


def _object(file: Path, size: int) -> Image.Image:
    """A cutout with its alpha, cut to what is to be seen, its longer side ``size`` pixels."""
    with Image.open(file) as opened:
        image = opened.convert("RGBA")
    visible = image.getchannel("A").point(lambda alpha: 255 * (alpha >= MIN_ALPHA))
    image = image.crop(visible.getbbox())
    scale = size / max(image.size)
    return image.resize([max(1, round(scale * side)) for side in image.size], Image.BICUBIC)


def muted(generator: np.random.Generator, size: int) -> Image.Image:
    """A background of muted random colours that run into each other, ``size`` pixels wide."""
    colours = generator.integers(60, 200, (BLOTCHES, BLOTCHES, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((size, size), Image.BICUBIC)


def checks(generator: np.random.Generator, size: int) -> Image.Image:
    """A background of two random colours in squares, with edges that no muted one has."""
    colours = generator.integers(0, 256, (2, 3), dtype=np.uint8)
    squares = np.indices((2 * BLOTCHES, 2 * BLOTCHES)).sum(axis=0) % 2
    return Image.fromarray(colours[squares]).resize((size, size), Image.NEAREST)
