"""The advisor: which arm gains most over a probe, what is as good and cheaper, what to expect.

It chooses by what is shown. Where no feature of a data set is shown to foretell what an arm gains,
the advice is the best fixed rule of the record, the same for every data set, and says so.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tlcourse.advice.basis import Basis, basis_of
from tlcourse.advice.expecting import CLOSE
from tlcourse.advice.measurements import Costs, Measured
from tlcourse.advice.reasons import doubts, reasons
from tlcourse.advice.records import features_of
from tlcourse.advice.strategies import STEPS, STRATEGIES
from tlcourse.evidence import decide

# What an image costs where nobody measured it, counted in forward passes: backward each layer
# multiplies twice (for its input's and its weights' gradient) where it multiplies once forward.
COUNTED = Costs(forward=1.0, half=0.5, training=3.0)


@dataclass(frozen=True)
class Advice:
    """A recommended strategy with its reasons.

    ``table`` has a row for each strategy, best first: ``gain`` over the probe, how far ``behind``
    the best, the ``error`` of that (half of its 95 % interval over the record's sources, NaN for
    fewer than three), its ``verdict`` (*equal* within a point, *behind*, *undecided*); ``expected``
    accuracy from ``low`` to ``high``, NaN where the record is of another network or image size; and
    ``seconds`` on this machine, NaN where its costs were not measured. ``level`` is the share of
    new data sets' runs that the interval is made to hold. ``fixed`` says that the advice is the
    same for every data set. ``doubts`` says why it is unsure.
    """

    strategy: str
    measured: Measured
    table: pd.DataFrame
    level: float
    fixed: bool
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        row = self.table.loc[self.strategy]
        time = f"about {row['seconds']:.0f} s on this machine" if self.measured.costs else ""
        known = (
            f"expected accuracy {row['low']:.2f} to {row['high']:.2f} "
            f"(made for {self.level:.0%} of new data sets)"
            if np.isfinite(row["low"])
            else "no expected accuracy"
        )
        lines = [
            f"advice: {self.strategy}: {STRATEGIES[self.strategy].summary}",
            f"  {', '.join(filter(None, (known, time)))}",
            *(f"  because {reason}" for reason in self.reasons),
            *(f"  unsure: {doubt}" for doubt in self.doubts),
        ]
        return "\n".join(lines)


def advise(
    measured: Measured,
    records: pd.DataFrame,
    *,
    steps: int = STEPS,
    minutes: float = float("inf"),
) -> Advice:
    """The strategy that gains most over a probe, or the cheapest of those that are equal to it.

    Equal is what is shown to lie within a point, over the sources: not what happens to. Gains are
    means over the sources or, where that is shown to be nearer the truth on sources left out, what
    ridge regression predicts from size, classes, domain distance and the probes of all stages. The
    accuracy to expect is the probe's plus the gain.

    Parameters
    ----------
    measured : Measured
        The data set, as ``measure`` sees it.
    records : DataFrame
        From ``load_records``.
    steps : int
        Of the training whose seconds are told, at least so many.
    minutes : float
        No strategy is advised that would take longer than this, unless all would. Without measured
        costs nothing is too long, and the cheapest is that of the fewest multiplications.

    Returns
    -------
    Advice
        The strategy with its reasons and doubts.

    Raises
    ------
    ValueError
        Without records.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records
    >>> photographs = Measured(
    ...     images=140, classes=7, per_class=20.0, distance=0.05, probes={"neck": 0.6},
    ...     backbone="efficientnet_lite0", image_size=224, grouped=True,
    ... )
    >>> advise(photographs, load_records()).strategy in STRATEGIES
    True
    """
    return choose(measured, basis_of(records), steps=steps, minutes=minutes)


def choose(
    measured: Measured, basis: Basis, *, steps: int = STEPS, minutes: float = float("inf")
) -> Advice:
    """As ``advise``, from what was learnt already.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records
    >>> cells = Measured(
    ...     images=40, classes=2, per_class=20.0, distance=0.13, probes={"neck": 0.6},
    ...     backbone="efficientnet_lite0", image_size=128, grouped=True,
    ... )
    >>> choose(cells, basis_of(load_records())).level
    0.8
    """
    table, fixed = _table(measured, basis)
    costs = measured.costs or COUNTED
    cost = pd.Series(
        {name: costs.of(STRATEGIES[name], measured.images, steps=steps) for name in table.index}
    )
    table["seconds"] = cost if measured.costs else float("nan")
    gains = table["gain"]  # the best first
    if measured.costs:
        gains = gains[cost <= max(60 * minutes, cost.min())]
    by_source = basis.runs.by_source
    equal = [arm for arm in gains.index if _behind(by_source, gains.index[0], arm)[1] == "equal"]
    strategy = str(cost[equal].idxmin())
    return Advice(
        strategy,
        measured,
        table,
        basis.expectation.level,
        fixed,
        reasons(measured, basis, table, strategy, fixed=fixed),
        doubts(measured, basis, table),
    )


def _table(measured: Measured, basis: Basis) -> tuple[pd.DataFrame, bool]:
    """The arms, best first, and whether they are ranked alike for every data set."""
    expectation = basis.expectation
    known = basis.is_of(measured) and bool(np.isfinite(list(measured.probes.values())).all())
    fixed = expectation.gains.model is None or not known
    features = pd.Series(
        features_of(measured.per_class, measured.classes, measured.distance, measured.probes)
    )
    mean = expectation.gains.mean
    gain = mean if fixed else expectation.gains.predict(features.to_frame().T).iloc[0]
    table = pd.DataFrame({"gain": gain}).sort_values("gain", ascending=False)
    table["behind"] = table["gain"].iloc[0] - table["gain"]
    by_source = basis.runs.by_source
    compared = {arm: _behind(by_source, table.index[0], arm) for arm in table.index}
    table = table.join(pd.DataFrame(compared, index=["error", "verdict"]).T)
    table["error"] = table["error"].astype(float)
    if known:
        return table.join(expectation.of(features, measured.probe)), fixed
    return table.assign(expected=np.nan, low=np.nan, high=np.nan), fixed


def _behind(by_source: pd.DataFrame, best: str, arm: str) -> tuple[float, str]:
    """Half of the interval of how far an arm is behind the best over the sources, and the verdict.

    *Equal* is what the whole interval says: nearer than a point.
    """
    behind = (by_source[best] - by_source[arm]).tolist()
    if arm == best:
        return 0.0, "equal"
    if len(behind) < 3:
        return float("nan"), "undecided"
    effect = decide(behind, matters=CLOSE)
    verdict = {"confirmed": "behind", "refuted": "ahead"}.get(effect.verdict, effect.verdict)
    return (effect.high - effect.low) / 2, "equal" if effect.is_small else verdict
