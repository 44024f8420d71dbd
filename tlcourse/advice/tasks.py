"""Tasks for comparisons: so many images per class, a validation split, and tests under shift."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from tlcourse.advice.variants import SCENES
from tlcourse.datasets import blur, few, load_dataset, make_scenes, tint
from tlcourse.shapes import Data, Labels, OtherData

MAX_TEST = 400
VALIDATION_SHARE = 0.24  # as many validation images for so many test images
OBJECT_SHARE = 0.75  # the object's longer side, in sides of its scene


class Drawn(NamedTuple):
    """Images with labels, and what each shows: equal groups are of one animal, module or font."""

    images: Tensor
    labels: Labels
    groups: np.ndarray


Draw = Callable[..., Drawn]


@dataclass(frozen=True)
class Task:
    """``train`` and ``validation`` data, and the same ``test`` images plain and under each shift.

    ``test`` maps plain, blur, tint and, for scenes, background to data. Images are uint8
    (N, 3, S, S), labels int64 (N,). ``train_groups``, int64 (N,), and ``test_groups``, int64 (T,),
    are equal where images show one animal, module or font; where that is unknown, each image of
    the data set has its own.
    """

    train: Data
    validation: OtherData
    test: dict[str, tuple[Shaped[Tensor, "t ..."], Int64[Tensor, " t"]]]
    num_classes: int
    test_groups: np.ndarray
    train_groups: np.ndarray


@lru_cache(maxsize=2)  # a sweep's worker tries one strategy after another on a task
def make_task(
    dataset: str, *, per_class: int, image_size: int, seed: int, max_test: int = MAX_TEST
) -> Task:
    """``per_class`` training images of each class of a data set or of ``scenes``, split by seed.

    Parameters
    ----------
    dataset : str
        ``scenes`` or a variant of it (``SCENES``), or a name that ``load_dataset`` knows.
    per_class : int
        Training images of each class.
    image_size : int
        Side in pixels.
    seed : int
        Of split and draw.
    max_test : int
        Test (at most so many images) and validation (about a quarter of that) have as many of each
        class, too: on ELPV, naming every cell functional would else be right in seven of ten.

    Returns
    -------
    Task
        Data for training, validation and tests.

    Raises
    ------
    DatasetError
        For an unknown data set and for more images per class than it has.

    Examples
    --------
    >>> task = make_task("digits", per_class=5, image_size=32, seed=0, max_test=20)
    >>> task.train[0].shape, sorted(task.test)
    (torch.Size([50, 3, 32, 32]), ['blur', 'plain', 'tint'])
    """
    make = _scenes if dataset in SCENES else _split
    draw, num_classes = make(dataset, image_size, seed)
    per_test = max(1, max_test // num_classes)
    images, labels, groups = draw("test", per_test)
    test = {
        "plain": (images, labels),
        "blur": (blur(images), labels),
        "tint": (tint(images), labels),
    }
    if dataset in SCENES:
        other = SCENES[dataset].other
        test["background"] = draw("test", per_test, background=other)[:2]
    validation = draw("validation", max(1, int(VALIDATION_SHARE * max_test) // num_classes))
    train = draw("train", per_class)
    return Task(train[:2], validation[:2], test, num_classes, groups, train.groups)


def _split(dataset: str, image_size: int, seed: int) -> tuple[Draw, int]:
    description = load_dataset(dataset, split_seed=seed)

    def draw(split: str, per_class: int) -> Drawn:
        rows = description.indices(split)
        if split != "train":  # as many as there are
            per_class = min(per_class, int(np.bincount(description.labels[rows]).min()))
        rows = rows[few(description.labels[rows], per_class, seed=seed)]
        chosen = replace(description, splits={**description.splits, split: rows})
        groups = rows if description.groups is None else description.groups[rows]
        return Drawn(*chosen.tensors(split, image_size), groups)

    return draw, description.num_classes


def _scenes(dataset: str, image_size: int, seed: int) -> tuple[Draw, int]:
    cutouts, variant = load_dataset("cutouts", split_seed=seed), SCENES[dataset]
    assert cutouts.groups is not None
    animals, new = cutouts.groups, variant.relabelled(cutouts.class_names)
    num_classes = int(new.max()) + 1

    def draw(split: str, per_class: int, **options: Any) -> Drawn:
        # A class is drawn as often as it is among the cutouts: the rarest must suffice.
        there = new[cutouts.labels[cutouts.indices(split)]]
        shares = np.bincount(there[there >= 0], minlength=num_classes) / len(there)
        count, rarest = round(1.3 * per_class / shares.min()) + 50, 0
        while rarest < per_class:  # a draw may still give too few; then another, larger one
            scenes = make_scenes(
                split,
                count,
                image_size=image_size,
                object_size=round(OBJECT_SHARE * image_size),
                seed=seed,
                split_seed=seed,
                **{"background": variant.background, **options},
            )
            labels = new[scenes.labels.numpy()]
            part = np.flatnonzero(labels >= 0)
            rarest = int(np.bincount(labels[part], minlength=num_classes).min())
            count *= 2
        rows = part[few(labels[part], per_class, seed=seed)]
        images = tint(scenes.images[rows]) if variant.tinted else scenes.images[rows]
        return Drawn(images, torch.from_numpy(labels[rows]), animals[scenes.cutouts[rows]])

    return draw, num_classes
