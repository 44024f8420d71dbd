"""Studies: questions that two minutes cannot decide, declared first, then measured and kept."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tlcourse.advice.pools import Backend
from tlcourse.advice.sweeps import Report, Result, Settings, read_results, sweep
from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.files import replacing
from tlcourse.runtime import DATA_DIR
from tlcourse.suggestions import look_up

RESULTS = DATA_DIR / "results"


@dataclass(frozen=True)
class Comparison:
    """A statement that a study decides: in each setting, ``measure`` of ``a`` less that of ``b``.

    ``a`` and ``b`` are values of columns that choose an arm (or a size, or the pixels: what they
    name is no part of a comparison's settings), ``where`` those that choose settings;
    comparisons of one ``family`` share their errors (Holm). ``measure_b`` is that of ``b`` where it
    is another one, as a shifted test against the plain one.
    """

    id: str
    family: str
    statement: str
    source: str
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    measure: str = "plain"
    where: Mapping[str, tuple[Any, ...]] | None = None
    measure_b: str | None = None


@dataclass(frozen=True)
class Study:
    """A question, what is run to answer it, and how the answer is read off.

    Attributes
    ----------
    name, question
        ``name`` is also the folder of its record.
    run
        Called with the settings of a cell; gives what is kept of it.
    cells
        The settings, in the order in which they are run.
    setting
        Columns that make a task: verdicts are given for each of their values.
    matters
        The smallest difference that would change what one does, in the measure's unit.
    overlap
        Of the splits, as ``interval`` of ``tlcourse.evidence`` takes it.
    comparisons
        The analysis, declared before there are results.
    left_out
        What was not run, and why.
    over
        The column whose values are the runs of a cell: splits or seeds.
    folder
        Of its record; None is the one that comes with the course.
    """

    name: str
    question: str
    run: Callable[..., Result]
    cells: tuple[Settings, ...]
    setting: tuple[str, ...]
    matters: float
    overlap: float
    comparisons: tuple[Comparison, ...]
    left_out: str = ""
    over: str = "split"
    folder: Path | None = None

    def only(self, family: str) -> "Study":
        """The same with the comparisons of one family; StudyError names them for an unknown one."""
        families: dict[str, list[Comparison]] = {}
        for comparison in self.comparisons:
            families.setdefault(comparison.family, []).append(comparison)
        return replace(self, comparisons=tuple(look_up(family, families, "family", StudyError)))

    @property
    def declared(self) -> pd.DataFrame:
        """The settings of its cells, a row each."""
        return pd.DataFrame([dict(cell) for cell in self.cells])

    @property
    def path(self) -> Path:
        """The file of its record."""
        return (self.folder or RESULTS / self.name) / "cells.sqlite"


def run_study(
    study: Study,
    *,
    workers: int = 2,
    backend: Backend = "processes",
    address: str | None = None,
) -> Report:
    """Run what is missing of a study, resumably; see ``sweep``.

    The environment of each call is added to ``environment.json`` beside the record.
    """
    study.path.parent.mkdir(parents=True, exist_ok=True)
    _note_environment(study.path.with_name("environment.json"))
    return sweep(
        study.run, study.cells, study.path, workers=workers, backend=backend, address=address
    )


def read_study(study: Study) -> pd.DataFrame:
    """The cells of a study that are done, one row each: settings and results as columns.

    Cells of earlier declarations, which the study no longer lists, are left out. Raises
    FileNotFoundError when nothing has been recorded.
    """
    table = read_results(study.path)
    if table.empty:  # begun, and no cell is done
        return study.declared[:0]
    return study.declared.merge(table, on=list(study.cells[0]), how="inner")


def progress_of(study: Study) -> tuple[int, int]:
    """How many cells of a study are done, and how many there are."""
    done = len(read_study(study)) if study.path.is_file() else 0
    return done, len(study.cells)


def copy_record(source: Path, target: Path) -> None:
    """Copy a record while a sweep may be writing to it: all that was done, and nothing by half."""
    with (
        replacing(target) as temporary,
        closing(sqlite3.connect(source)) as old,
        closing(sqlite3.connect(temporary)) as new,
    ):
        old.backup(new)


def _note_environment(path: Path) -> None:
    calls = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    calls.append(environment())
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(calls, indent=1) + "\n", encoding="utf-8")
