"""A few images of each class: how good is a method when labels are scarce?"""

import numpy as np

from tlcourse.errors import DatasetError


def few(labels: np.ndarray, per_class: int, *, seed: int) -> np.ndarray:
    """Indices of ``per_class`` images of each class, drawn from ``seed``; int64, sorted.

    A larger draw from the same seed contains the smaller one.

    Raises
    ------
    DatasetError
        When a class has fewer images.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> labels[few(labels, 2, seed=0)]
    array([0, 0, 1, 1])
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if not 1 <= per_class <= len(members):
            raise DatasetError(
                f"{per_class} images per class were asked for; class {label} has {len(members)}"
            )
        chosen.append(members[:per_class])
    return np.sort(np.concatenate(chosen))
