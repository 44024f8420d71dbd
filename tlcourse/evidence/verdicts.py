"""Verdicts: what runs say about a claim, by the interval of its effect and by what matters."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import scipy.stats
from statsmodels.stats.multitest import multipletests

from tlcourse.evidence.crossed import crossed_interval
from tlcourse.evidence.intervals import MeanInterval, mean_interval
from tlcourse.evidence.power import ALPHA, detectable_effect

Verdict = Literal["confirmed", "refuted", "equal", "undecided"]
Side = Literal["above", "below"]


@dataclass(frozen=True)
class Effect:
    """What runs say about "the mean is ``side`` ``than``".

    Attributes
    ----------
    mean, low, high
        Of the runs' values as they are, with the ends of the 95 % interval (NaN: there is none).
    runs, sd, overlap, df
        Their number, spread, what they share, and the degrees of freedom.
    than, side
        The bound, and on which side of it the mean is claimed to lie.
    matters
        The smallest distance from the bound that would matter.
    p
        Two-sided, that the mean is ``than``; after ``holm`` the adjusted one.
    p_equal
        Of two one-sided tests, doubled: at most 0.05 when the 95 % interval lies within ``than`` ±
        ``matters``; after ``holm`` the adjusted one.
    detectable
        The distance that these runs would have found with a probability of 80 %; NaN: unknown.
    family
        How many claims were decided together.
    """

    mean: float
    low: float
    high: float
    runs: int
    sd: float
    overlap: float
    df: float
    than: float
    side: Side
    matters: float
    p: float
    p_equal: float
    detectable: float
    family: int = 1

    @property
    def verdict(self) -> Verdict:
        """Confirmed, refuted, equal or undecided, at 5 % after Holm where there is a family."""
        if self.p <= ALPHA:
            return "confirmed" if (self.mean > self.than) == (self.side == "above") else "refuted"
        return "equal" if self.p_equal <= ALPHA else "undecided"

    @property
    def images_factor(self) -> float:
        """By how much the pool must grow, test part and all, for these runs to find ``matters``.

        It takes the spread to come from which images are tested, so that its square falls as
        1 / images. 1 where the images suffice; NaN where it is not known what could be seen.
        """
        factor = (self.detectable / self.matters) ** 2
        return factor if math.isnan(factor) else max(1.0, factor)

    @property
    def is_small(self) -> bool:
        """Whether the whole interval is nearer to the bound than what matters."""
        return self.than - self.matters < self.low and self.high < self.than + self.matters


def decide(
    values: Sequence[float],
    *,
    matters: float,
    than: float = 0.0,
    side: Side = "above",
    overlap: float = 0.0,
) -> Effect:
    """Decide one claim by its runs.

    *Confirmed*: the interval lies beyond ``than`` on the claimed side; *refuted*: beyond it on the
    other; *equal*: it holds ``than`` and lies within ± ``matters`` of it; *undecided*: none of
    these. Runs that are not all finite, or that are all alike, are undecided.

    Parameters
    ----------
    values
        One a run, three or more: paired differences, or raw values to be compared with ``than``.
    matters
        The smallest distance from ``than`` that would matter, in the values' unit; greater than 0.
        State it before you measure.
    than
        The bound.
    side
        ``above`` or ``below`` it.
    overlap
        As in ``mean_interval``.

    Raises
    ------
    ValueError
        For fewer than three runs, for a ``matters`` or ``overlap`` out of its range and for a side
        that there is not.

    References
    ----------
    scipy's ``ttest_1samp`` and statsmodels' ``ttost_paired`` where the overlap is 0.
    Schuirmann (1987), two one-sided tests.

    Examples
    --------
    >>> decide([0.05, 0.06, 0.07], matters=0.02).verdict
    'confirmed'
    >>> decide([0.001, -0.002, 0.002], matters=0.02).verdict
    'equal'
    """
    return _effect(mean_interval(values, overlap=overlap), matters, than, side)


def decide_crossed(
    outcomes: Sequence[Sequence[float]],
    images: Sequence[Sequence[Hashable]],
    *,
    matters: float,
    than: float = 0.0,
    side: Side = "above",
) -> Effect:
    """As ``decide``, by the outcome of each test image in each split; see ``crossed_interval``.

    Parameters
    ----------
    outcomes, images
        As in ``crossed_interval``.
    matters, than, side
        As in ``decide``.

    Raises
    ------
    ValueError
        As in both.

    Examples
    --------
    >>> gains = [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]]
    >>> decide_crossed(gains, [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 0, 1]], matters=0.1).runs
    3
    """
    return _effect(crossed_interval(outcomes, images), matters, than, side)


def _effect(of: MeanInterval, matters: float, than: float, side: Side) -> Effect:
    if not 0 < matters < math.inf:
        raise ValueError(f"matters is {matters}; expected the smallest effect that would matter")
    if side not in ("above", "below"):
        raise ValueError(f"side is {side!r}; expected 'above' or 'below'")
    p = p_equal = 1.0
    detectable = math.nan
    if of.is_known:
        distance = abs(of.mean - than) / of.error
        within = matters / of.error - distance  # to the nearer end of what does not matter
        p, p_equal = (min(1.0, 2 * float(scipy.stats.t.sf(t, of.df))) for t in (distance, within))
        detectable = detectable_effect(of.sd, of.runs, overlap=of.overlap, df=of.df)
    return Effect(
        mean=of.mean,
        low=of.low,
        high=of.high,
        runs=of.runs,
        sd=of.sd,
        overlap=of.overlap,
        df=of.df,
        than=than,
        side=side,
        matters=matters,
        p=p,
        p_equal=p_equal,
        detectable=detectable,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: to reject those of at most 5 % errs once in twenty families.

    Parameters
    ----------
    p_values
        Of the claims of one family; none is fine.

    References
    ----------
    Holm (1979); statsmodels' ``multipletests``.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def decide_together(effects: Sequence[Effect]) -> list[Effect]:
    """The same effects, decided as one family by Holm.

    ``detectable`` becomes what a claim would need that is alone in being true.

    Parameters
    ----------
    effects
        From ``decide``, each alone in its family.

    Examples
    --------
    >>> effects = [decide(values, matters=1) for values in ([2, 3, 2, 3], [4, -1, 2, 3])]
    >>> [effect.verdict for effect in effects]
    ['confirmed', 'undecided']
    >>> [round(effect.p, 3) for effect in decide_together(effects)]
    [0.006, 0.161]
    """
    p, p_equal = holm([e.p for e in effects]), holm([e.p_equal for e in effects])
    size = len(effects)
    return [
        replace(
            effect,
            p=p[i],
            p_equal=p_equal[i],
            detectable=effect.detectable
            if math.isnan(effect.detectable)
            else detectable_effect(
                effect.sd,
                effect.runs,
                overlap=effect.overlap,
                df=effect.df,
                alpha=ALPHA / size,
            ),
            family=size,
        )
        for i, effect in enumerate(effects)
    ]
