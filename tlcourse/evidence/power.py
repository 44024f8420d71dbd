"""Power: the effect that runs can see, and the runs that an effect needs, by the noncentral t."""

import math
from functools import cache

import scipy.optimize
import scipy.stats
from statsmodels.stats.power import ttest_power

ALPHA = 0.05  # two-sided
POWER = 0.8
MOST_RUNS = 10_000


def detectable_effect(
    sd: float,
    runs: int,
    *,
    overlap: float = 0.0,
    df: float | None = None,
    alpha: float = ALPHA,
) -> float:
    """The mean that ``runs`` runs with this spread find with a probability of 80 %.

    Parameters
    ----------
    sd
        Spread of the runs' values.
    runs
        Three or more.
    overlap
        As in ``mean_interval``.
    df
        Degrees of freedom of the standard error, runs − 1 where they are not given.
    alpha
        Level of the two-sided test; a family of m claims divides it by m.

    Raises
    ------
    ValueError
        For fewer than three runs, and for a spread that is negative or not finite.

    References
    ----------
    statsmodels' ``TTestPower``, whose effect size this is where the overlap is 0.

    Examples
    --------
    >>> round(detectable_effect(0.03, 5), 3), round(detectable_effect(0.03, 5, overlap=1 / 3), 3)
    (0.05, 0.082)
    """
    if runs < 3 or not 0 <= sd < math.inf:
        raise ValueError(f"sd is {sd} over {runs} runs; expected a spread of 3 runs or more")
    return (
        sd * math.sqrt(1 / runs + overlap) * _noncentrality(runs - 1 if df is None else df, alpha)
    )


def runs_needed(effect: float, sd: float, *, overlap: float = 0.0, alpha: float = ALPHA) -> float:
    """How many runs find a mean of ``effect`` with a probability of 80 %.

    Where runs share images, their mean has an error that more runs never remove, s² · ``overlap``:
    then no number may suffice, and ``Effect.images_factor`` says how many more images would.

    Parameters
    ----------
    effect
        Not 0; its sign does not matter.
    sd, overlap, alpha
        As in ``detectable_effect``.

    Returns
    -------
    float
        A whole number from 3 on; ``inf`` where 10,000 runs do not suffice.

    Raises
    ------
    ValueError
        For an effect of 0, which no number of runs finds.

    Examples
    --------
    >>> runs_needed(0.03, 0.03), runs_needed(0.03, 0.03, overlap=1 / 3)
    (10, inf)
    """
    if effect == 0 or not math.isfinite(effect):
        raise ValueError(f"effect is {effect}; expected one that is there to be found")

    def seen(runs: int) -> float:
        return detectable_effect(sd, runs, overlap=overlap, alpha=alpha)

    few, many = 3, MOST_RUNS
    if seen(many) > abs(effect):
        return math.inf
    while few < many:  # what can be seen falls with each run
        middle = (few + many) // 2
        few, many = (few, middle) if seen(middle) <= abs(effect) else (middle + 1, many)
    return few


@cache
def _noncentrality(df: float, alpha: float) -> float:
    """The mean, in standard errors, at which the two-sided t-test has its power.

    The tail on the other side is left out: it adds nothing that can be seen, and scipy's
    noncentral t has no number for it far out.
    """

    def excess(mean: float) -> float:  # of one observation the effect size is the noncentrality
        return float(ttest_power(mean, 1, alpha / 2, df=df, alternative="larger")) - POWER

    near = float(scipy.stats.t.ppf([1 - alpha / 2, POWER], df).sum())
    return float(scipy.optimize.brentq(excess, 0, 3 * near))
