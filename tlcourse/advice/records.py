"""The record behind the advice: cells of the race, beside what was known before training."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlcourse.advice.strategies import STRATEGIES, key_of
from tlcourse.advice.sweeps import read_results
from tlcourse.advice.variants import source_of
from tlcourse.runtime import DATA_DIR

RESULTS = DATA_DIR / "results"
RACES, TASKS = ("transfer_race", "transfer_race_variants"), "race_tasks"  # see tlcourse/studies
ADVISED = ("probe", "one_rate", "head_first", "scratch")  # the arms that were run at every size
STAGE_PROBE = "stage_probe"  # a probe of the stage that did best on validation
TASK = ["dataset", "per_class", "split", "backbone", "image_size"]  # what names a task
PLACE = ["source", "dataset", "per_class", "split"]  # of one run: as many rows as there are arms


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


def load_records() -> pd.DataFrame:
    """Recorded cells of the arms that were run at every size, one row each.

    To the record's own columns come ``source`` (see ``source_of``) and what ``race_tasks`` has of
    the task. The race's probe reads the stage that did best on validation: that is the arm
    ``stage_probe`` here, and ``probe`` is the one of the last stage. Runs that lack one of these
    arms are left out: a mean over other splits is no comparison.

    Examples
    --------
    >>> records = load_records()
    >>> sorted(records["source"].unique())
    ['cutouts', 'digits', 'elpv', 'rendered_digits']
    """
    usual = pd.DataFrame([key_of(STRATEGIES[arm]) for arm in ADVISED]).assign(augmentation="none")
    files = [RESULTS / race / "cells.sqlite" for race in RACES]
    cells = pd.concat([read_results(file) for file in files if file.is_file()])
    cells = cells.merge(usual, on=list(usual)).assign(source=lambda x: x["dataset"].map(source_of))
    probed = cells[cells["arm"] == "probe"]
    last = [list(by_stage.values())[-1] for by_stage in probed["by_stage"]]
    cells = pd.concat([
        cells[cells["arm"] != "probe"],
        probed.assign(plain=last),
        probed.assign(arm=STAGE_PROBE),
    ])  # fmt: skip
    cells = cells[cells.groupby(TASK)["arm"].transform("nunique") == len(ADVISED) + 1]
    tasks = read_results(RESULTS / TASKS / "cells.sqlite").drop(columns="commit")
    return cells.merge(tasks, on=TASK, validate="many_to_one")


def runs_of(records: pd.DataFrame) -> Runs:
    """The records run by run; runs that lack an arm are left out, since arms are compared in them.

    Raises ValueError where no run has all arms.

    Examples
    --------
    >>> runs = runs_of(load_records())
    >>> list(runs.accuracy), list(runs.features.columns[:3])
    (['probe', 'one_rate', 'head_first', 'scratch'], ['log_size', 'log_classes', 'distance'])
    """
    wide = records.pivot(index=PLACE, columns="arm", values="plain")
    accuracy = wide.reindex(columns=list(ADVISED)).dropna()
    if accuracy.empty:
        raise ValueError("there are no recorded runs of all arms to go by; run a study first")
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
