"""A linear probe in folds that tear no group: what shows one thing is never on both sides."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlcourse.runtime import one_blas_thread

FOLDS = 5


def linear_classifier() -> LogisticRegression:
    """What every probe of a domain's features is: penalised so that few images suffice."""
    return LogisticRegression(C=0.01, max_iter=300)


class GroupedProbe(NamedTuple):
    """A cross-validated accuracy in [0, 1], of how many images, and what could not be tested.

    ``accuracy`` is NaN where no image could. ``untested`` are the labels of classes that never had
    an image in a test while others were there to learn from.
    """

    accuracy: float
    tested: int
    untested: tuple[int, ...]


def grouped_probe(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int
) -> GroupedProbe:
    """Logistic regression on standardised features, tested on groups that it did not learn from.

    Five folds, or as many as there are groups, with class shares as equal as whole groups allow. A
    class with one group cannot be tested: without the group nobody knows the class. Its images are
    then left out of the test, and its label is among ``untested``.

    Parameters
    ----------
    features
        (N, D).
    labels, groups
        int64 (N,); equal groups show one animal, module or patient.
    seed
        Deals the folds.

    Raises
    ------
    ValueError
        For inputs that do not fit, and for fewer than two classes.

    References
    ----------
    scikit-learn's ``StratifiedGroupKFold``.

    Examples
    --------
    >>> labels = np.arange(20) % 2
    >>> features = labels[:, None] + np.random.default_rng(0).normal(0, 0.1, (20, 3))
    >>> grouped_probe(features, labels, np.arange(20) // 2, seed=0)
    GroupedProbe(accuracy=1.0, tested=20, untested=())
    """
    _check(features, labels, groups)
    right = np.full(len(labels), np.nan)
    number = min(FOLDS, len(np.unique(groups)), int(np.unique(labels, return_counts=True)[1].max()))
    if number > 1:
        folds = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
        with warnings.catch_warnings(), one_blas_thread():
            # A class may have fewer groups than there are folds; after ReLU some features are 0 in
            # every image of a class. Neither is a fault.
            warnings.simplefilter("ignore")
            for train, test in folds.split(features, labels, groups):
                known = test[np.isin(labels[test], labels[train])]
                if len(known) and len(np.unique(labels[train])) > 1:
                    probe = make_pipeline(StandardScaler(), linear_classifier())
                    probe.fit(features[train], labels[train])
                    right[known] = probe.predict(features[known]) == labels[known]
    tested = np.isfinite(right)
    accuracy = float(right[tested].mean()) if tested.any() else float("nan")
    untested = np.setdiff1d(labels, labels[tested])
    return GroupedProbe(accuracy, int(tested.sum()), tuple(int(label) for label in untested))


def _check(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
    if features.ndim != 2 or not len(features) == len(labels) == len(groups):
        raise ValueError(
            f"features {features.shape}, {len(labels)} labels and {len(groups)} groups; "
            "expected (N, D), N labels and N groups"
        )
    if len(np.unique(labels)) < 2:
        raise ValueError("all images are of one class; a probe needs two classes or more")
    if not np.isfinite(features).all():
        raise ValueError("the features are not all finite; look at the images and the network")
