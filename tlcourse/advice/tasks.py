"""Tasks for comparisons: so many images per class, a validation part, and tests under shift."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from tlcourse.datasets import load_dataset
from tlcourse.datasets.cutouts import load_cutouts
from tlcourse.datasets.scenes import checks, make_scenes
from tlcourse.datasets.shifts import blur, tint
from tlcourse.datasets.subsets import few
from tlcourse.shapes import Data

MAX_TEST = 400
VALIDATION_SHARE = 0.24  # as many validation images for so many test images
OBJECT_SHARE = 0.75  # the object's longer side, in sides of its scene


Part = Callable[..., Data]


@dataclass(frozen=True)
class Task:
    """``train`` and ``validation`` data, and the same ``test`` images plain and under each shift.

    ``test`` maps plain, blur, tint and, for scenes, background to data. Images are uint8
    (N, 3, S, S), labels int64 (N,).
    """

    train: Data
    validation: Data
    test: dict[str, Data]
    num_classes: int


@lru_cache(maxsize=2)  # a sweep's worker tries one strategy after another on a task
def make_task(
    dataset: str, *, per_class: int, image_size: int, seed: int, max_test: int = MAX_TEST
) -> Task:
    """``per_class`` training images of each class of a data set or of ``scenes``, split by seed.

    Test (at most ``max_test`` images) and validation (about a quarter of that) have as many of each
    class, too: on ELPV, naming every cell functional would else be right in seven of ten. Raises
    DatasetError for an unknown data set and for more images per class than it has.
    """
    part, num_classes = (
        _scenes(image_size, seed) if dataset == "scenes" else _split(dataset, image_size, seed)
    )
    per_test = max(1, max_test // num_classes)
    images, labels = part("test", per_test)
    test = {
        "plain": (images, labels),
        "blur": (blur(images), labels),
        "tint": (tint(images), labels),
    }
    if dataset == "scenes":
        test["background"] = part("test", per_test, background=checks)
    validation = part("validation", max(1, int(VALIDATION_SHARE * max_test) // num_classes))
    return Task(part("train", per_class), validation, test, num_classes)


def _split(dataset: str, image_size: int, seed: int) -> tuple[Part, int]:
    description = load_dataset(dataset, split_seed=seed)

    def part(split: str, per_class: int) -> Data:
        rows = description.indices(split)
        if split != "train":  # as many as there are
            per_class = min(per_class, np.bincount(description.labels[rows]).min())
        rows = rows[few(description.labels[rows], per_class, seed=seed)]
        chosen = replace(description, splits={**description.splits, split: rows})
        return chosen.tensors(split, image_size)

    return part, description.num_classes


def _scenes(image_size: int, seed: int) -> tuple[Part, int]:
    cutouts = load_cutouts(seed)

    def part(split: str, per_class: int, **options: Any) -> Data:
        # A scene's class is drawn as often as it is among the cutouts: the rarest must suffice.
        shares = np.bincount(cutouts.labels[cutouts.indices(split)]) / len(cutouts.indices(split))
        scenes = make_scenes(
            split,
            round(1.3 * per_class / shares.min()) + 50,
            image_size=image_size,
            object_size=round(OBJECT_SHARE * image_size),
            seed=seed,
            split_seed=seed,
            **options,
        )
        rows = few(scenes.labels.numpy(), per_class, seed=seed)
        return scenes.images[rows], scenes.labels[rows]

    return part, cutouts.num_classes
