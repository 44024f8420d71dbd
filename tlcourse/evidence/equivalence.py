"""How many more images a gain is worth: the horizontal distance between two learning curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from tlcourse.evidence.intervals import FEWEST, LEVEL, SAME


@dataclass(frozen=True)
class EquivalentSize:
    """By which factor images would have to grow for the same gain, with its 95 % interval.

    The interval is 0 to infinity where more images may not have helped at all.
    """

    factor: float
    low: float
    high: float
    runs: int

    @property
    def is_bounded(self) -> bool:
        """Whether the runs say anything about the factor."""
        return self.low > 0 and self.high < math.inf


def equivalent_size(
    gains: Sequence[float], slopes: Sequence[float], *, overlap: float = 0.0
) -> EquivalentSize:
    """The factor of images that is worth a gain, 2 to the power of gain / slope.

    Accuracy is taken to be linear in the logarithm of the number of images, between the sizes from
    which the slope comes. The interval is Fieller's: it holds every number of doublings r for which
    the runs' gain − r · slope cannot be told from 0. Where the mean slope itself cannot be told
    from 0, nor can it for endless r: then the interval is all factors, 0 to infinity.

    Parameters
    ----------
    gains
        One a run, three or more: accuracy with what is valued, less that without, at one size.
    slopes
        Of the same runs: accuracy gained without it by each doubling of the images.
    overlap
        As in ``mean_interval``.

    Raises
    ------
    ValueError
        For fewer than three runs, for other numbers of slopes than gains, for numbers that are not
        finite, and for an overlap that is negative or not finite.

    References
    ----------
    Fieller (1954), Some problems in interval estimation, Journal of the Royal Statistical Society B
    16; Franz (2007), Ratios: a short guide to confidence limits and proper use, arXiv:0710.2024.

    Examples
    --------
    >>> worth = equivalent_size([0.04, 0.05, 0.06, 0.05], [0.05, 0.05, 0.04, 0.06])
    >>> worth.factor, worth.is_bounded
    (2.0, True)
    >>> equivalent_size([0.04, 0.05, 0.06], [0.05, -0.05, 0.01]).is_bounded
    False
    """
    g, s = np.asarray(gains, dtype=float), np.asarray(slopes, dtype=float)
    k = len(g)
    if k != len(s) or k < FEWEST:
        raise ValueError(f"{k} gains and {len(s)} slopes; expected as many, {FEWEST} or more")
    if not (np.isfinite(g).all() and np.isfinite(s).all()):
        raise ValueError("gains and slopes must be finite")
    if not (overlap >= 0 and math.isfinite(overlap)):
        raise ValueError(f"overlap is {overlap}; expected 0 (independent runs) or more")
    factor = _power(g.mean() / s.mean()) if s.mean() else math.nan
    low, high = _fieller(g, s, overlap)
    return EquivalentSize(factor, _power(low), _power(high), k)


def _fieller(g: np.ndarray, s: np.ndarray, overlap: float) -> tuple[float, float]:
    """The ends of {r: |mean(g − r s)| ≤ t · error(g − r s)}: a r² + b r + c ≤ 0."""
    k = len(g)
    t2 = scipy.stats.t.ppf((1 + LEVEL) / 2, k - 1) ** 2 * (1 / k + overlap)
    covariance = np.cov(g, s)
    a = s.mean() ** 2 - t2 * covariance[1, 1]
    b = -2 * (g.mean() * s.mean() - t2 * covariance[0, 1])
    c = g.mean() ** 2 - t2 * covariance[0, 0]
    alike = np.sqrt(covariance.trace()) <= SAME * max(np.abs(g).max(), np.abs(s).max())
    if a <= 0 or alike:  # the slope may be 0; runs that are all alike have no interval here
        return -math.inf, math.inf
    root = math.sqrt(max(0.0, b**2 - 4 * a * c))  # below 0 by rounding only: g / s is in the set
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def _power(doublings: float) -> float:
    return math.inf if doublings > 1000 else float(2.0**doublings)
