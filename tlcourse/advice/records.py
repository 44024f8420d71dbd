"""The record behind the advice: which one it is, and its cells as the advisor reads them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlcourse.advice.sweeps import read_results
from tlcourse.advice.variants import source_of
from tlcourse.runtime import DATA_DIR

RESULTS = DATA_DIR / "results"
PLACE = ["source", "dataset", "per_class", "split"]  # of one run: as many rows as there are arms


@dataclass(frozen=True)
class Record:
    """A recorded matrix: its folder, the file of its cells, and what it calls arm and split."""

    folder: str
    cells: str
    arm: str
    split: str


RECORD = Record("laptop", "strategies.sqlite", arm="strategy", split="seed")


class Runs(NamedTuple):
    """A record by run, a row each: a data set, images a class and split (see ``PLACE``).

    ``features`` are what the advisor knows before anything is trained, ``probe`` the accuracy of
    the last stage's probe, ``accuracy`` the test accuracy by arm, a column each, in [0, 1].
    """

    features: pd.DataFrame
    probe: pd.Series
    accuracy: pd.DataFrame

    @property
    def sources(self) -> pd.Index:
        """The source of each run."""
        return self.accuracy.index.get_level_values("source")

    @property
    def by_source(self) -> pd.DataFrame:
        """The mean accuracy of each arm (columns) in each source (rows)."""
        return self.accuracy.groupby(level="source").mean()

    def at(self, chosen: np.ndarray) -> "Runs":
        """Some of the runs, by a mask (N,)."""
        return Runs(*(table[chosen] for table in self))


def load_records(record: Record = RECORD) -> pd.DataFrame:
    """Recorded cells, one row each: the arm's test accuracies beside what was measured.

    To the record's own columns come ``arm``, ``split`` and ``source`` (see ``source_of``), whatever
    the record calls the first two.

    Parameters
    ----------
    record : Record
        By default the one that the advice is made from.

    Examples
    --------
    >>> records = load_records()
    >>> len(records), sorted(records["source"].unique())
    (350, ['cutouts', 'digits', 'elpv', 'rendered_digits'])
    """
    folder = RESULTS / record.folder
    cells = read_results(folder / record.cells)
    cells = cells.assign(
        arm=cells[record.arm],
        split=cells[record.split],
        source=cells["dataset"].map(source_of),
    )
    measured = read_results(folder / "measurements.sqlite").drop(columns="commit")
    measured["split"] = measured.pop("seed")
    on = ["dataset", "per_class", "split", "backbone", "image_size"]
    return cells.merge(measured, on=on, validate="many_to_one")


def runs_of(records: pd.DataFrame) -> Runs:
    """The records run by run; runs that lack an arm are left out, since arms are compared in them.

    Raises ValueError where no run has all arms.

    Examples
    --------
    >>> runs = runs_of(load_records())
    >>> runs.accuracy.shape, list(runs.features.columns[:3])
    ((70, 5), ['log_size', 'log_classes', 'distance'])
    """
    accuracy = records.pivot(index=PLACE, columns="arm", values="plain").dropna()
    if accuracy.empty:
        raise ValueError("there are no recorded runs of all arms to go by; run a sweep first")
    first = records.drop_duplicates(PLACE).set_index(PLACE).loc[accuracy.index]
    columns = first.reset_index()[["per_class", "classes", "distance", "probes"]]
    rows = [features_of(*row) for row in columns.itertuples(index=False)]
    features = pd.DataFrame(rows, index=accuracy.index)
    return Runs(features, features.iloc[:, -1], accuracy)


def features_of(
    per_class: float, classes: int, distance: float, probes: Mapping[str, float]
) -> dict[str, float]:
    """What a choice may go by: size and classes (log₂), domain distance, the probe of each stage.

    Examples
    --------
    >>> features_of(8, 2, 0.1, {"stem": 0.5, "neck": 0.75})
    {'log_size': 3.0, 'log_classes': 1.0, 'distance': 0.1, 'stem': 0.5, 'neck': 0.75}
    """
    sizes = {"log_size": math.log2(per_class), "log_classes": math.log2(classes)}
    return {**sizes, "distance": distance, **probes}
