"""Effects side by side: what runs saw, what they could have seen, and what it would take."""

import math
from collections.abc import Mapping

import pandas as pd

from tlcourse.evidence.power import ALPHA, runs_needed
from tlcourse.evidence.verdicts import Effect, decide_together


def effects_table(effects: Mapping[str, Effect]) -> pd.DataFrame:
    """A row for each effect, decided together by Holm; a demonstration's table, without a claim.

    Parameters
    ----------
    effects
        From ``decide`` or ``decide_crossed``, each alone in its family.

    Returns
    -------
    DataFrame
        ``mean``, and ``low`` and ``high``, the ends of the 95 % interval; the ``verdict``;
        ``detectable``, the distance from the bound that these runs would have found with a
        probability of 80 %; and what it would take to find the one that matters: so many runs
        (``runs_needed``; inf: no number of splits of one pool suffices), or these runs with so many
        times the images (``images_factor``). NaN where runs are all alike or not all finite.

    Examples
    --------
    >>> from tlcourse.evidence import decide
    >>> gains = {"a": [0.05, 0.06, 0.07], "b": [0.2, -0.1, 0.0]}
    >>> table = effects_table({name: decide(g, matters=0.02) for name, g in gains.items()})
    >>> table["verdict"].tolist()
    ['confirmed', 'undecided']
    """
    together = dict(zip(effects, decide_together(list(effects.values())), strict=True))
    rows = {
        name: {
            "mean": effect.mean,
            "low": effect.low,
            "high": effect.high,
            "verdict": effect.verdict,
            "detectable": effect.detectable,
            "runs_needed": _runs_needed(effect),
            "images_factor": effect.images_factor,
        }
        for name, effect in together.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _runs_needed(effect: Effect) -> float:
    if math.isnan(effect.detectable):
        return math.nan
    alpha = ALPHA / effect.family
    return runs_needed(effect.matters, effect.sd, overlap=effect.overlap, alpha=alpha)
