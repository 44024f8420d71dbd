"""Tasks for comparisons: so many images per class, a validation split, and tests under shift."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped
from torch import Tensor

from tlcourse.datasets import blur, checks, few, load_dataset, make_scenes, tint
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
    (N, 3, S, S), labels int64 (N,). ``test_groups``, int64 (T,), are equal where test images show
    one animal, module or font; where that is unknown, each image of the data set has its own.
    """

    train: Data
    validation: OtherData
    test: dict[str, tuple[Shaped[Tensor, "t ..."], Int64[Tensor, " t"]]]
    num_classes: int
    test_groups: np.ndarray


@lru_cache(maxsize=2)  # a sweep's worker tries one strategy after another on a task
def make_task(
    dataset: str, *, per_class: int, image_size: int, seed: int, max_test: int = MAX_TEST
) -> Task:
    """``per_class`` training images of each class of a data set or of ``scenes``, split by seed.

    Parameters
    ----------
    dataset : str
        ``scenes``, or a name that ``load_dataset`` knows.
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
    draw, num_classes = (
        _scenes(image_size, seed) if dataset == "scenes" else _split(dataset, image_size, seed)
    )
    per_test = max(1, max_test // num_classes)
    images, labels, groups = draw("test", per_test)
    test = {
        "plain": (images, labels),
        "blur": (blur(images), labels),
        "tint": (tint(images), labels),
    }
    if dataset == "scenes":
        test["background"] = draw("test", per_test, background=checks)[:2]
    validation = draw("validation", max(1, int(VALIDATION_SHARE * max_test) // num_classes))
    return Task(draw("train", per_class)[:2], validation[:2], test, num_classes, groups)


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


def _scenes(image_size: int, seed: int) -> tuple[Draw, int]:
    cutouts = load_dataset("cutouts", split_seed=seed)
    assert cutouts.groups is not None
    animals = cutouts.groups

    def draw(split: str, per_class: int, **options: Any) -> Drawn:
        # A scene's class is drawn as often as it is among the cutouts: the rarest must suffice.
        shares = np.bincount(cutouts.labels[cutouts.indices(split)]) / len(cutouts.indices(split))
        count, rarest = round(1.3 * per_class / shares.min()) + 50, 0
        while rarest < per_class:  # a draw may still give too few; then another, larger one
            scenes = make_scenes(
                split,
                count,
                image_size=image_size,
                object_size=round(OBJECT_SHARE * image_size),
                seed=seed,
                split_seed=seed,
                **options,
            )
            rarest = int(np.bincount(scenes.labels, minlength=cutouts.num_classes).min())
            count *= 2
        rows = few(scenes.labels.numpy(), per_class, seed=seed)
        return Drawn(scenes.images[rows], scenes.labels[rows], animals[scenes.cutouts[rows]])

    return draw, cutouts.num_classes
