"""The accuracy to expect of each arm, with an interval that says what it can promise.

A run's test accuracy is the last stage's probe plus what the arm gains over it. What holds of runs
that share images says nothing of a new data set, so everything here is learnt and judged by source.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tlcourse.advice.records import Runs
from tlcourse.evidence import decide

LEVEL = 0.9  # of the interval, where there are sources enough
CLOSE = 0.01  # one point of accuracy: what lies nearer than that is as good


class Gains(NamedTuple):
    """What arms gain over the probe: ``mean`` over the sources, or by ``model`` from features."""

    mean: pd.Series
    model: Pipeline | None

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """Gains by arm (columns) for each row of features, in shares of accuracy."""
        found = (
            np.tile(self.mean, (len(features), 1))
            if self.model is None
            else self.model.predict(features)
        )
        return pd.DataFrame(found, index=features.index, columns=self.mean.index)


class Expectation(NamedTuple):
    """Gains from all sources and, for each, those without it and how far they were off there.

    ``level`` is the share of new sources' runs that the interval is made to hold; 0 where one
    source gives none.
    """

    gains: Gains
    without: tuple[tuple[Gains, pd.DataFrame], ...]
    level: float

    def of(self, features: pd.Series, probe: float) -> pd.DataFrame:
        """``expected``, ``low`` and ``high`` accuracy of each arm (rows), in [0, 1].

        The interval is the jackknife+ over sources, each with the same weight however many runs it
        has: [Lee, Barber & Willett 2023], after [Barber et al. 2021]. Proven is 2 · level − 1 of
        the sources' runs at least; the level itself is what it usually holds.
        """
        row = features.to_frame().T
        expected = probe + self.gains.predict(row).iloc[0]
        low, high = pd.Series(np.nan, expected.index), pd.Series(np.nan, expected.index)
        centres = [probe + gains.predict(row).iloc[0] for gains, _ in self.without]
        for arm in expected.index if centres else ():
            errors = [off[arm].to_numpy() for _, off in self.without]
            low[arm], high[arm] = jackknife_plus([x[arm] for x in centres], errors, self.level)
        table = pd.DataFrame({"expected": expected, "low": low, "high": high})
        return table.clip(0, 1)


def fit_expectation(runs: Runs, *, level: float = LEVEL) -> Expectation:
    """What to expect of a new source, from the runs of others.

    Parameters
    ----------
    runs : Runs
        Of at least one source; an interval takes two.
    level : float
        The share of new sources' runs that the interval shall hold, in (0, 1). With k sources no
        more than ``promised(k)`` can be promised.

    Raises
    ------
    ValueError
        For a level that is no share.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records, runs_of
    >>> fit_expectation(runs_of(load_records())).level
    0.8
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a share between 0 and 1")
    sources = runs.sources.unique()
    without = []
    for source in sources if len(sources) > 1 else ():
        left_out = np.asarray(runs.sources == source)
        gains = fit_gains(runs.at(~left_out))
        there = runs.at(left_out)
        off = _gained(there) - gains.predict(there.features)
        without.append((gains, off.abs()))
    return Expectation(fit_gains(runs), tuple(without), min(level, promised(len(sources))))


def promised(sources: int) -> float:
    """The largest level that an interval from so many sources can have: k / (k + 1).

    A new source is as likely to be the oddest of k + 1 as any other, and beyond the oddest seen
    there is no bound. One source promises nothing, since nothing was predicted without it.

    Examples
    --------
    >>> promised(4), promised(9)
    (0.8, 0.9)
    """
    return sources / (sources + 1) if sources > 1 else 0.0


def fit_gains(runs: Runs) -> Gains:
    """Gains over the probe: by ridge regression where that is shown better, else their mean.

    Shown better is what has smaller errors on sources left out, by an interval over the sources
    beyond 0 (``decide``). That takes three sources, and four data sets hardly ever show it.
    """
    mean = _gained(runs).groupby(level="source").mean().mean()
    return Gains(mean, _ridge(runs) if _is_shown_better(runs) else None)


def _gained(runs: Runs) -> pd.DataFrame:
    return runs.accuracy.sub(runs.probe, axis=0)


def _ridge(runs: Runs) -> Pipeline:
    """Each source weighs the same, and features are standardised; the penalty is the usual 1."""
    counts = runs.sources.value_counts()
    weights = len(runs.accuracy) / len(counts) / counts.loc[runs.sources].to_numpy()
    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    return model.fit(runs.features, _gained(runs), ridge__sample_weight=weights)


def _is_shown_better(runs: Runs) -> bool:
    saved = errors_saved(runs)
    return len(saved) > 2 and decide(saved.tolist(), matters=CLOSE).verdict == "confirmed"


def errors_saved(runs: Runs) -> pd.Series:
    """By how much features forecast gains better than their mean does, for each source left out.

    Mean absolute errors over arms and runs, that of the mean less that of ridge regression, in
    shares of accuracy; negative where features mislead. Empty for a single source.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records, runs_of
    >>> list(errors_saved(runs_of(load_records())).index)
    ['cutouts', 'digits', 'elpv', 'rendered_digits']
    """
    saved = {}
    for source in sorted(runs.sources.unique()) if runs.sources.nunique() > 1 else ():
        left_out = np.asarray(runs.sources == source)
        others, there = runs.at(~left_out), runs.at(left_out)
        truth = _gained(there)
        mean = _gained(others).groupby(level="source").mean().mean()
        forecast = _ridge(others).predict(there.features)
        by_mean, by_features = (
            float(np.abs(truth - found).to_numpy().mean()) for found in (mean, forecast)
        )
        saved[source] = by_mean - by_features
    return pd.Series(saved, dtype=float)


def jackknife_plus(
    centres: Sequence[float], errors: Sequence[np.ndarray], level: float
) -> tuple[float, float]:
    """The interval of a new value, from what was predicted without each source and its errors.

    Parameters
    ----------
    centres
        The new value as predicted without source k, one a source.
    errors
        Absolute errors on the runs of source k, predicted without it; each source weighs the same.
    level
        The share of new sources' runs that it shall hold.

    Returns
    -------
    low, high
        Infinite where so few sources promise no such level.

    References
    ----------
    Barber et al. 2021, Predictive inference with the jackknife+, Annals of Statistics 49.
    Lee, Barber & Willett 2023, Distribution-free inference with hierarchical data.

    Examples
    --------
    >>> jackknife_plus([0.5, 0.5, 0.6], [np.array([0.1]), np.array([0.2]), np.array([0.1])], 0.75)
    (0.3, 0.7)
    """
    mass = np.concatenate([np.full(len(e), 1 / len(e)) for e in errors]) / (len(errors) + 1)
    above = np.concatenate([c + e for c, e in zip(centres, errors, strict=True)])
    below = np.concatenate([c - e for c, e in zip(centres, errors, strict=True)])
    return -_quantile(-below, mass, level), _quantile(above, mass, level)


def _quantile(values: np.ndarray, mass: np.ndarray, level: float) -> float:
    """The smallest value up to which there is ``level`` of the mass; what lacks to 1 is at ∞."""
    order = np.argsort(values)
    enough = np.flatnonzero(np.cumsum(mass[order]) >= level - 1e-9)
    return float(values[order][enough[0]]) if len(enough) else float("inf")
