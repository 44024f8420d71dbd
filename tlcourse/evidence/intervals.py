"""The interval of a mean over runs: independent ones, splits of one pool, or clusters."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

LEVEL = 0.95
FEWEST = 3  # runs
SAME = 1e-12  # spread, relative to the values, that only rounding makes


@dataclass(frozen=True)
class MeanInterval:
    """A mean over runs with its 95 % interval.

    ``low`` and ``high`` are NaN where the runs give none: one is not finite, or all are alike.
    ``sd`` is the spread of the runs, ``error`` the standard error of their mean.
    """

    mean: float
    low: float
    high: float
    runs: int
    sd: float
    error: float
    overlap: float

    @property
    def is_known(self) -> bool:
        """Whether the runs give an interval at all."""
        return not math.isnan(self.low)


def mean_interval(values: Sequence[float], *, overlap: float = 0.0) -> MeanInterval:
    """Student's 95 % interval of the mean, corrected where the runs share images.

    Its squared standard error is s² · (1 / k + ``overlap``), with k − 1 degrees of freedom. Runs
    that are all alike have no interval here: a spread of zero comes from what counts in steps, and
    would make any difference certain.

    Parameters
    ----------
    values
        One a run, three or more.
    overlap
        What sharing adds: 0 for independent runs; for random splits of one pool see
        ``split_overlap``.

    Raises
    ------
    ValueError
        For fewer than three runs, and for an overlap that is negative or not finite.

    References
    ----------
    Student (1908), The probable error of a mean.
    Nadeau & Bengio (2003), Inference for the generalization error, Machine Learning 52.

    Examples
    --------
    >>> independent, splits = (mean_interval([1, 2, 3], overlap=o) for o in (0, 1 / 3))
    >>> round(independent.high - 2, 3), round(splits.high - 2, 3)
    (2.484, 3.513)
    """
    if len(values) < FEWEST:
        raise ValueError(
            f"{len(values)} runs give no interval worth its name; measure {FEWEST} or more"
        )
    if not (overlap >= 0 and math.isfinite(overlap)):
        raise ValueError(f"overlap is {overlap}; expected 0 (independent runs) or more")
    x = np.asarray(values, dtype=float)
    if not np.isfinite(x).all():
        return MeanInterval(math.nan, math.nan, math.nan, len(x), math.nan, math.nan, overlap)
    mean, sd = float(x.mean()), float(x.std(ddof=1))
    if sd <= SAME * np.abs(x).max():
        return MeanInterval(mean, math.nan, math.nan, len(x), 0.0, 0.0, overlap)
    error = sd * math.sqrt(1 / len(x) + overlap)
    margin = float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(x) - 1)) * error
    return MeanInterval(mean, mean - margin, mean + margin, len(x), sd, error, overlap)


def split_overlap(*, test: int, pool: int) -> float:
    """``overlap`` for random splits that each deal ``test`` of the ``pool``'s images to the test.

    Two splits share test / pool of their test images, and their results are about as correlated;
    where the training set is all the rest, this is Nadeau and Bengio's test / train.

    Parameters
    ----------
    test
        Test images of a split.
    pool
        All images that the splits deal, for whatever part.

    Raises
    ------
    ValueError
        When the test is empty or the whole pool.

    References
    ----------
    Nadeau & Bengio (2003), section 3, "corrected resampled t-test".

    Examples
    --------
    >>> split_overlap(test=250, pool=1000)
    0.3333333333333333
    """
    if not 0 < test < pool:
        raise ValueError(f"{test} test images of a pool of {pool}; expected 0 < test < pool")
    return test / (pool - test)


def cluster_means(values: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    """The mean of each cluster's values, in the order in which clusters first appear.

    Values of one data set, animal or split belong together; clusters are the runs of ``decide``.

    Parameters
    ----------
    values, clusters
        As long as each other: each value, and the cluster that it belongs to.

    Raises
    ------
    ValueError
        When they are not as long as each other.

    Examples
    --------
    >>> cluster_means([1, 3, 10], ["cat", "cat", "dog"])
    [2.0, 10.0]
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values for {len(clusters)} clusters; expected as many")
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    return [float(np.mean(member)) for member in members.values()]
