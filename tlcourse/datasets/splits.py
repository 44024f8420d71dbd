"""Train, validation and test parts that keep class shares and never tear a group apart."""

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from tlcourse.datasets.errors import DatasetError

Splits = dict[str, np.ndarray]
TEST_FOLDS = 4  # one fold in four is tested on: 25 %
VALIDATION_FOLDS = 5  # of the rest one in five is for choices: 15 % of all; 60 % is trained on
MIN_PER_CLASS = 4


def make_splits(
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    class_names: Sequence[str],
    seed: int,
) -> Splits:
    """Indices of about 60 % train, 15 % validation and 25 % test, with equal class shares.

    Members of one group (``groups``: one integer an image, None: each its own) stay together. The
    seed also picks the fold: scikit-learn always deals the most uneven groups to the first ones.
    Raises DatasetError when a class has too few images or groups to be in train and in test.
    """
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    for index, name in enumerate(class_names):
        count = len(np.unique(groups[labels == index]))
        if count < MIN_PER_CLASS:
            raise DatasetError(
                f"class {name!r} has {count} different images; "
                f"a split needs at least {MIN_PER_CLASS} in every class"
            )
    rest, test = _one_fold(labels, groups, np.arange(len(labels)), TEST_FOLDS, seed)
    train, validation = _one_fold(labels, groups, rest, VALIDATION_FOLDS, seed)
    splits = {"train": train, "validation": validation, "test": test}
    for part in ("train", "test"):
        missing = [n for i, n in enumerate(class_names) if i not in labels[splits[part]]]
        if missing:
            raise DatasetError(
                f"no image of {', '.join(missing)} is left for {part}: too few groups that may "
                "not be torn apart; add images or try another split_seed"
            )
    return splits


def carve_validation(
    labels: np.ndarray, indices: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split given training indices into train and validation, a fifth of them, stratified."""
    return _one_fold(labels, np.arange(len(labels)), indices, VALIDATION_FOLDS, seed)


def carve_test(
    labels: np.ndarray, indices: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split given training indices into train and test, a quarter of them, stratified."""
    return _one_fold(labels, np.arange(len(labels)), indices, TEST_FOLDS, seed)


def _one_fold(
    labels: np.ndarray, groups: np.ndarray, indices: np.ndarray, folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = list(splitter.split(indices, labels[indices], groups[indices]))
    rest, held_out = parts[seed % folds]
    return indices[rest], indices[held_out]
