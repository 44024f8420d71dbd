"""A split of a data set as vectors that nothing trained: training, validation, tests and shifts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tlcourse.advice.tasks import make_task
from tlcourse.datasets import blur, load_dataset, noise, tint
from tlcourse.networks.backbones import load_backbone
from tlcourse.shapes import Data
from tlcourse.studies.descriptions import describe

CUTOUTS = "cutouts"  # too few for make_task's balanced test


class SplitKey(NamedTuple):
    """What a split's vectors depend on, see ``classify_frozen``."""

    dataset: str
    split: int
    image_size: int
    backbone: str
    pool: int
    most: int
    shifted: int


@dataclass(frozen=True)
class Described:
    """Vectors by part (train, validation and each test) and kind, (N, d); labels by part, (N,).

    ``groups`` of each test are those of ``Task``; there are none for cutouts, whose classes have
    unequal numbers of test images. Train stands in the order in which its images are drawn.
    """

    vectors: Mapping[str, Mapping[str, np.ndarray]]
    labels: Mapping[str, np.ndarray]
    groups: Mapping[str, np.ndarray]

    @property
    def tests(self) -> tuple[str, ...]:
        """The parts that are tested on."""
        return tuple(part for part in self.labels if part not in ("train", "validation"))


@lru_cache(maxsize=1)  # some 20 MB; the cells of one split follow one another
def described(key: SplitKey) -> Described:
    """All that is classified of a split, computed in one pass and kept until the next is asked for.

    Examples
    --------
    >>> split = described(SplitKey("cutouts", 0, 64, "efficientnet_lite0", 0, 0, 0))
    >>> split.vectors["train"]["neck"].shape, split.labels["plain"].shape, split.tests
    ((111, 1280), (47,), ('plain',))
    """
    data, groups = _images(key)
    found = describe(load_backbone(key.backbone), torch.cat([x for x, _ in data.values()]))
    ends = np.cumsum([len(labels) for _, labels in data.values()])[:-1]
    pieces = {kind: np.split(vectors, ends) for kind, vectors in found.items()}
    return Described(
        {part: {kind: pieces[kind][i] for kind in pieces} for i, part in enumerate(data)},
        {part: labels.numpy() for part, (_, labels) in data.items()},
        groups,
    )


def first(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Rows of the first ``per_class`` of each class, or of all where it has fewer; 0: all rows.

    Examples
    --------
    >>> first(np.array([0, 1, 0, 0]), 2)
    array([0, 1, 2])
    """
    position = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    return np.flatnonzero((position < per_class) | (per_class == 0))


def _images(key: SplitKey) -> tuple[dict[str, Data], dict[str, np.ndarray]]:
    background: dict[str, Tensor] = {}
    groups: dict[str, np.ndarray] = {}
    if key.dataset == CUTOUTS:
        cutouts = load_dataset(CUTOUTS, split_seed=key.split)
        parts = ("train", "validation", "test")
        train, validation, plain = (cutouts.tensors(part, key.image_size) for part in parts)
    else:
        task = make_task(key.dataset, per_class=key.pool, image_size=key.image_size, seed=key.split)
        train, validation, plain = task.train, task.validation, task.test["plain"]
        groups["plain"] = task.test_groups
        background = {name: task.test[name][0] for name in task.test.keys() & {"background"}}
    order = np.random.default_rng(key.split).permutation(len(train[1]))
    order = order[first(train[1].numpy()[order], key.most)]
    data = {"train": (train[0][order], train[1][order]), "validation": validation, "plain": plain}
    if not key.shifted:
        return data, groups
    images, labels = plain
    rows = first(labels.numpy(), key.shifted // len(labels.unique()))
    shown = {
        "plain_same": images[rows],
        "blur": blur(images[rows]),
        "tint": tint(images[rows]),
        "noise": noise(images[rows], seed=key.split),
        **{name: others[rows] for name, others in background.items()},  # objects in equal order
    }
    groups |= {name: of[rows] for name in shown for of in groups.values()}
    return data | {name: (x, labels[rows]) for name, x in shown.items()}, groups
