"""Train, validation and test splits that keep class shares and never tear a group apart."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tlcourse.errors import DatasetError

Splits = dict[str, np.ndarray]
SPLITS = ("train", "validation", "test")
TEST_FOLDS = 4  # one fold in four is tested on: 25 %
VALIDATION_FOLDS = 5  # of the rest one in five is for choices: 15 % of all; 60 % is trained on
# The fewest images of a class from which each missing split still gets one.
MIN_PER_CLASS = {("test",): 4, ("validation",): 5, ("test", "validation"): 7, (): 0}


def make_splits(
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    class_names: Sequence[str],
    seed: int,
) -> Splits:
    """Indices of about 60 % train, 15 % validation and 25 % test, with equal class shares.

    Members of one group (``groups``: one integer an image, None: each its own) stay together.
    Raises DatasetError when a class has too few images or groups to be in train and in test.
    """
    everything = {"train": np.arange(len(labels))}
    return complete_splits(everything, labels, groups, class_names=class_names, seed=seed)


def complete_splits(
    given: Mapping[str, np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    class_names: Sequence[str],
    seed: int,
) -> Splits:
    """The given splits, the missing carved out of train: test a quarter, validation a fifth.

    Raises DatasetError when a class is too small for that, or missing in train or test.
    """
    splits = dict(given)
    missing = tuple(split for split in ("test", "validation") if split not in splits)
    _check_counts(splits["train"], labels, groups, class_names, MIN_PER_CLASS[missing])
    for split in missing:
        folds = TEST_FOLDS if split == "test" else VALIDATION_FOLDS
        splits["train"], splits[split] = _one_fold(labels, groups, splits["train"], folds, seed)
    for split in ("train", "test"):
        absent = [n for i, n in enumerate(class_names) if i not in labels[splits[split]]]
        if absent:
            raise DatasetError(
                f"no image of {', '.join(absent)} is in {split}; every class must be in train and "
                "in test: add images, or try another split_seed where copies or groups stay "
                "together"
            )
    return {split: splits[split] for split in SPLITS}


def _check_counts(
    train: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    class_names: Sequence[str],
    needed: int,
) -> None:
    for index, name in enumerate(class_names):
        members = train[labels[train] == index]
        count = len(members if groups is None else np.unique(groups[members]))
        if count < needed:
            kind = "images" if groups is None else "different images or groups"
            raise DatasetError(
                f"class {name!r} has {count} {kind} to train on and to split; "
                f"at least {needed} are needed in every class"
            )


def _one_fold(
    labels: np.ndarray, groups: np.ndarray | None, indices: np.ndarray, folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    # Without groups the plain splitter deals the same shares, many times faster.
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    dealt = splitter(folds, shuffle=True, random_state=seed).split(
        indices, labels[indices], None if groups is None else groups[indices]
    )
    # scikit-learn deals the most uneven groups to the first folds, so the seed picks the fold too.
    rest, held_out = list(dealt)[seed % folds]
    return indices[rest], indices[held_out]
