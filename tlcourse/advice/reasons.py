"""What an advice is for and what makes it unsure, in words."""

import numpy as np
import pandas as pd

from tlcourse.advice.basis import Basis
from tlcourse.advice.expecting import CLOSE, LEVEL
from tlcourse.advice.measurements import Measured
from tlcourse.advice.records import Runs

MIN_PER_CLASS = 20


def reasons(
    measured: Measured, basis: Basis, table: pd.DataFrame, strategy: str, *, fixed: bool
) -> tuple[str, ...]:
    """Why this strategy: the data set, its probes, the record, and the price."""
    best = table.index[0]
    sources = basis.runs.sources.nunique()
    found = [
        f"there are {measured.per_class:.0f} images a class in {measured.classes} classes, at a "
        f"domain distance of {measured.distance:.2f}",
        *_probes(measured),
        f"over the {sources} sources of the record {best} gained most, "
        f"{100 * table['gain'].iloc[0]:+.1f} points over such a probe",
    ]
    if fixed:
        found.append(
            "no feature of a data set is shown to foretell what a strategy gains: this is the "
            "record's best fixed rule, the same for all data sets"
        )
    if strategy != best:
        found.append(_cheaper(table, strategy, measured))
    return tuple(found)


def _probes(measured: Measured) -> list[str]:
    if not np.isfinite(measured.probe):
        return []
    folds = "folds that tear no group" if measured.grouped else "cross-validation"
    stages = pd.Series(measured.probes)
    found = f"a linear probe on the last frozen stage is right in {measured.probe:.0%}, by {folds}"
    if stages.max() > measured.probe + CLOSE:
        found += f"; on {stages.idxmax()} in {stages.max():.0%}"
    return [found]


def _cheaper(table: pd.DataFrame, strategy: str, measured: Measured) -> str:
    best, row = table.index[0], table.loc[strategy]
    points = f"{100 * row['behind']:.1f} points"
    if row["verdict"] != "equal":  # the others would take too long
        found = f"{strategy} was {points} behind there and costs less"
    else:
        found = f"{strategy} and {best} are equal within a point there, and {strategy} is cheaper"
    if measured.costs:
        found += f"; {best} would take about {table['seconds'].iloc[0]:.0f} s"
    return found


def doubts(measured: Measured, basis: Basis, table: pd.DataFrame) -> tuple[str, ...]:
    """Why the advice is unsure; nothing where it is not."""
    return (
        *_undecided(basis.runs, table),
        *_elsewhere(measured, basis),
        *_unlike(measured, basis.runs),
        *_probing(measured),
    )


def _undecided(runs: Runs, table: pd.DataFrame) -> list[str]:
    rivals = [
        f"{name} ({100 * row['behind']:+.1f}{_plus_minus(row['error'])} points)"
        for name, row in table[table["verdict"] == "undecided"].iterrows()
    ]
    if not rivals:
        return []
    sources = runs.sources.nunique()
    return [f"{sources} sources do not decide how far {table.index[0]} leads {', '.join(rivals)}"]


def _plus_minus(error: float) -> str:
    return f" ± {100 * error:.1f}" if np.isfinite(error) else ""


def _elsewhere(measured: Measured, basis: Basis) -> list[str]:
    found = []
    level = basis.expectation.level
    recorded = f"the record is of {', '.join(basis.backbones)} at " + ", ".join(
        f"{size} px" for size in basis.image_sizes
    )
    if not basis.is_of(measured):
        found.append(
            f"{recorded}, and this is {measured.backbone} at {measured.image_size} px: what it "
            "gains here is not known"
        )
    elif level < LEVEL:
        found.append(
            f"an interval for {LEVEL:.0%} takes nine sources or more; "
            f"{basis.runs.sources.nunique()} give {level:.0%}"
        )
    return found


def _unlike(measured: Measured, runs: Runs) -> list[str]:
    sizes, distances = runs.accuracy.index.get_level_values("per_class"), runs.features["distance"]
    compared = (
        ("images a class", measured.per_class, sizes, ".0f"),
        ("domain distance", measured.distance, distances, ".3f"),
    )
    return [
        f"{name}: {value:{digits}} lies outside the record's {seen.min():{digits}} to "
        f"{seen.max():{digits}}"
        for name, value, seen, digits in compared
        if not seen.min() <= value <= seen.max()
    ]


def _probing(measured: Measured) -> list[str]:
    found = []
    if measured.untested:
        labels = ", ".join(map(str, measured.untested))
        found.append(
            f"class {labels} cannot be tested: a fold without its images has none to learn from"
        )
    if not measured.grouped:
        found.append(
            "nobody said which images show one animal, place or patient; where some do, the probe "
            "is flattered"
        )
    if measured.per_class < MIN_PER_CLASS:
        found.append(
            f"{measured.per_class:.0f} images a class measure an accuracy only to "
            f"± {100 / np.sqrt(measured.images):.0f} points"
        )
    return found
