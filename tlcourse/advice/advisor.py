"""The advisor: finds recorded data sets like the one at hand, and says what did best there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlcourse.advice.measurements import Costs, Measured
from tlcourse.advice.strategies import STEPS, STRATEGIES
from tlcourse.advice.sweeps import read_results
from tlcourse.runtime import DATA_DIR

RESULTS = DATA_DIR / "results"
NEIGHBOURS = 3
CLOSE = 0.01  # one point of accuracy: nearer than that, the cheaper strategy is as good
FAR_AWAY = 1.5  # standard deviations
MIN_PER_CLASS = 20
Z = 1.64  # standard errors to either side of nine in ten values
# What an image costs where nobody measured it, counted in forward passes: backward each layer
# multiplies twice (for its input's and its weights' gradient) where it multiplies once forward.
COUNTED = Costs(forward=1.0, half=0.5, training=3.0)


@dataclass(frozen=True)
class Advice:
    """A recommended strategy with its reasons.

    ``table`` has a row for each strategy, best first, with means over the runs of the neighbours:
    ``gain`` over extraction, how far ``behind`` the best with the standard ``error`` of that,
    expected accuracy from ``low`` to ``high``, and ``seconds`` on this machine, NaN where its costs
    were not measured.
    ``doubts`` says why the advice is unsure; it is empty when it is not.
    """

    strategy: str
    measured: Measured
    table: pd.DataFrame
    neighbours: tuple[str, ...]
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        row = self.table.loc[self.strategy]
        time = f", about {row['seconds']:.0f} s on this machine" if self.measured.costs else ""
        lines = [
            f"advice: {self.strategy}: {STRATEGIES[self.strategy].summary}",
            f"  expected accuracy {row['low']:.2f} to {row['high']:.2f}{time}",
            *(f"  because {reason}" for reason in self.reasons),
            *(f"  unsure: {doubt}" for doubt in self.doubts),
        ]
        return "\n".join(lines)


def load_records(folder: str = "laptop") -> pd.DataFrame:
    """Recorded cells, one row each: the strategy's test accuracies beside what was measured.

    Examples
    --------
    >>> records = load_records()
    >>> len(records), sorted(records["strategy"].unique())
    (350, ['extraction', 'gradual', 'hybrid', 'scratch', 'two_phase'])
    """
    cells = read_results(RESULTS / folder / "strategies.sqlite")
    measured = read_results(RESULTS / folder / "measurements.sqlite")
    on = ["dataset", "per_class", "seed", "backbone", "image_size"]
    return cells.merge(measured, on=on, validate="many_to_one")


def advise(
    measured: Measured,
    records: pd.DataFrame,
    *,
    steps: int = STEPS,
    minutes: float = float("inf"),
) -> Advice:
    """The strategy that did best in the recorded settings nearest to a data set.

    Near is measured in size (logarithm), domain distance and probe accuracy, each in standard
    deviations over the records. Strategies are compared run by run, on the same images; what is
    expected is the probe's accuracy plus what they gained over extraction, which is a probe.

    Parameters
    ----------
    measured : Measured
        The data set, as ``measure`` sees it.
    records : DataFrame
        From ``load_records``.
    steps : int
        Of the training whose seconds are told, at least so many.
    minutes : float
        Of strategies less than a point apart the cheapest is taken, and none that would take longer
        than this, unless all would. Without measured costs nothing is too long, and the cheapest is
        that of the fewest multiplications.

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
    >>> photographs = Measured(
    ...     images=140, classes=7, per_class=20.0, distance=0.05, probe=0.8, centroid=0.7
    ... )
    >>> advise(photographs, load_records()).strategy in STRATEGIES
    True
    """
    if records.empty:
        raise ValueError("there are no recorded cells to go by; run a sweep first")
    settings = records.groupby(["dataset", "per_class"])[["distance", "probe"]].mean().reset_index()
    places = np.array([_place(row) for row in settings.itertuples()])
    spread = places.std(axis=0)
    scale = np.where(spread > 0, spread, 1)
    apart = np.linalg.norm((places - _place(measured)) / scale, axis=1)
    nearest = np.argsort(apart)[:NEIGHBOURS]
    near = settings.iloc[nearest].assign(apart=apart[nearest])
    table = _table(near[["dataset", "per_class"]].merge(records), measured)
    costs = measured.costs or COUNTED
    cost = pd.Series(
        {name: costs.of(STRATEGIES[name], measured.images, steps=steps) for name in table.index}
    )
    table["seconds"] = cost if measured.costs else float("nan")
    gains = table["gain"]  # the best first
    if measured.costs:
        gains = gains[cost <= max(60 * minutes, cost.min())]
    as_good = gains[gains >= gains.iloc[0] - CLOSE]
    strategy = str(cost[as_good.index].idxmin())
    return Advice(
        strategy,
        measured,
        table,
        tuple(f"{row.dataset} with {row.per_class} a class" for row in near.itertuples()),
        _reasons(measured, near, table, strategy),
        _doubts(measured, near, table),
    )


def _place(row: Any) -> np.ndarray:
    """Where a data set lies: log₂ of images per class, domain distance, probe accuracy."""
    return np.array([np.log2(row.per_class), row.distance, row.probe])


def _table(runs: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """What the strategies gained in those runs, and the accuracy to expect, the best first."""
    accuracy = runs.pivot(
        index=["dataset", "per_class", "seed"], columns="strategy", values="plain"
    )
    gains = accuracy.sub(accuracy["extraction"], axis=0)
    table = pd.DataFrame({"gain": gains.mean()}).sort_values("gain", ascending=False)
    lead = gains[table.index[0]].to_numpy()[:, None] - gains[table.index]
    table["behind"], table["error"] = lead.mean(), lead.sem()
    chance = 1 / measured.classes
    noise = Z * np.sqrt(measured.probe * (1 - measured.probe) / measured.images)
    table["low"] = (measured.probe + gains.quantile(0.1) - noise).clip(chance, 1)
    table["high"] = (measured.probe + gains.quantile(0.9) + noise).clip(chance, 1)
    return table


def _reasons(
    measured: Measured, near: pd.DataFrame, table: pd.DataFrame, strategy: str
) -> tuple[str, ...]:
    size, domain = measured.quadrant
    sets = ", ".join(f"{row.dataset} ({row.per_class} a class)" for row in near.itertuples())
    reasons = [
        f"{measured.per_class:.0f} images a class make it {size}, a domain distance of "
        f"{measured.distance:.2f} makes it {domain}",
        f"a linear probe on frozen features is right in {measured.probe:.0%} of the training "
        f"images, by cross-validation",
        f"in the recorded sets most like it, {sets}, {table.index[0]} did best, "
        f"{100 * table['gain'].iloc[0]:.1f} points above extraction",
    ]
    if strategy != table.index[0]:
        reason = (
            f"{strategy} was {100 * table['behind'][strategy]:.1f} points behind there and costs "
            "less"
        )
        if measured.costs:
            reason += f"; {table.index[0]} would take about {table['seconds'].iloc[0]:.0f} s"
        reasons.append(reason)
    return tuple(reasons)


def _doubts(measured: Measured, near: pd.DataFrame, table: pd.DataFrame) -> tuple[str, ...]:
    doubts = []
    lead, error = table["behind"].iloc[1], table["error"].iloc[1]
    if lead < 2 * error:
        doubts.append(
            f"{table.index[0]} leads {table.index[1]} by {100 * lead:.1f} ± "
            f"{100 * error:.1f} points"
        )
    if near["apart"].min() > FAR_AWAY:
        doubts.append(
            f"no recorded set is like this one; the nearest is {near['apart'].min():.1f} standard "
            "deviations away"
        )
    if measured.per_class < MIN_PER_CLASS:
        doubts.append(
            f"{measured.per_class:.0f} images a class measure an accuracy only to "
            f"± {100 / np.sqrt(measured.images):.0f} points"
        )
    return tuple(doubts)
