"""Spot checks notice a record that was changed, and pass one that was not."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from tlcourse import cli, studies
from tlcourse.errors import StudyError
from tlcourse.studies import Comparison, Study, read_study, run_study, spot_check
from tlcourse.studies import study as study_module
from tlcourse.studies.checking import one_more
from tlcourse.studies.study import progress_of

SPLITS = 8


def measured(*, task: str, arm: str, split: int) -> dict[str, float]:
    """One arm is five points better; splits differ by some points."""
    drawn = np.random.default_rng([split, len(task), len(arm)]).normal(0, 0.02)
    return {"plain": 0.8 + 0.05 * (arm == "better") + drawn, "commit": "0123456"}


STUDY = Study(
    name="small",
    question="Is the better arm better?",
    run=measured,
    cells=tuple(
        {"task": task, "arm": arm, "split": split}
        for split in range(SPLITS)
        for task in ("near", "farther")
        for arm in ("usual", "better")
    ),
    setting=("task",),
    matters=0.03,
    overlap=0.0,
    comparisons=(
        Comparison("better", "all", "better is better", "us", {"arm": "better"}, {"arm": "usual"}),
    ),
)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "RESULTS", tmp_path)
    run_study(STUDY, workers=1)
    monkeypatch.setattr(studies, "STUDIES", {"small": STUDY})
    return STUDY


def change(study, *, by, **settings):
    """Add something to one recorded value."""
    key = json.dumps(settings, sort_keys=True)
    with sqlite3.connect(study.path) as database:
        ((result,),) = database.execute("SELECT result FROM cells WHERE key = ?", (key,))
        result = json.loads(result)
        result["plain"] += by
        database.execute("UPDATE cells SET result = ? WHERE key = ?", (json.dumps(result), key))


def test_an_honest_record_holds_in_every_cell(recorded):
    table = spot_check(recorded, len(STUDY.cells), 0)
    assert table["holds"].all() and (table["difference"] == 0).all()
    assert set(table["arm"]) == {"usual", "better"}


@pytest.mark.parametrize("by", [0.04, -0.04])
def test_a_changed_number_is_noticed_and_no_other(recorded, by):
    change(recorded, by=by, task="near", arm="usual", split=3)
    table = spot_check(recorded, len(STUDY.cells), 0)
    (row,) = table[~table["holds"]].itertuples()
    assert (row.task, row.arm, row.split) == ("near", "usual", 3)
    assert row.difference == pytest.approx(-by)


def test_a_machine_that_gives_other_numbers_is_noticed(recorded):
    drifted = replace(
        recorded,
        run=lambda **cell: {"plain": measured(**cell)["plain"] + 0.03 * (cell["arm"] == "usual")},
    )
    table = spot_check(drifted, len(STUDY.cells), 0)
    assert set(table.loc[~table["holds"], "arm"]) == {"usual"}


def test_a_cell_unlike_its_neighbours_is_noticed_even_where_it_is_found_again(recorded):
    odd = {"task": "near", "arm": "usual"}
    far = replace(
        recorded,
        run=lambda **cell: {"plain": 0.3 if cell == odd | {"split": 40} else 0.8},
        cells=tuple(odd | {"split": split} for split in range(41)),
        name="odd",
    )
    for split in range(41):
        assert far.run(**odd, split=split)["plain"] in (0.3, 0.8)
    # A local function cannot be sent to a worker: write the record as a sweep would.
    far.path.parent.mkdir()
    far.path.write_bytes(recorded.path.read_bytes())
    with sqlite3.connect(far.path) as database:
        database.execute("DELETE FROM cells")
        database.executemany(
            "INSERT INTO cells VALUES (?, 'done', 1, ?, NULL)",
            [(json.dumps(c, sort_keys=True), json.dumps(far.run(**c))) for c in far.cells],
        )
    table = spot_check(far, 41, 0)
    assert (table["difference"] == 0).all()
    assert table.loc[~table["holds"], "split"].tolist() == [40]


def test_cells_are_drawn_by_seed_from_those_asked_for(recorded):
    where = {"arm": ("better",), "task": ("near",)}
    drawn = [spot_check(recorded, 3, seed, where=where)["split"].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0] == sorted(drawn[0])


def test_what_cannot_be_checked_is_named(recorded):
    with pytest.raises(StudyError, match="9 cells were asked for; the record has 8"):
        spot_check(recorded, 9, 0, where={"arm": ("better",), "task": ("near",)})
    with pytest.raises(StudyError, match="did you mean plain"):
        spot_check(recorded, 1, 0, measure="plane")
    with pytest.raises(FileNotFoundError):
        spot_check(replace(STUDY, name="other"), 1, 0)


def test_the_interval_holds_one_more_of_99_in_100():
    draws = np.random.default_rng(0).normal(size=(4000, 6))
    inside = [low <= row[5] <= high for row in draws for low, high in [one_more(row[:5])]]
    assert 0.985 < np.mean(inside) < 0.995
    assert scipy.stats.norm.ppf(0.995) < one_more(np.tile([-1.0, 1.0], 500))[1] < 2.6


def test_a_record_that_was_only_begun_is_empty(recorded):
    with sqlite3.connect(recorded.path) as database:
        database.execute("UPDATE cells SET state = 'started'")
    assert read_study(recorded).empty and progress_of(recorded) == (0, len(STUDY.cells))


def test_the_command_lists_runs_checks_and_reports(recorded, capsys, tmp_path):
    assert cli.main(["study"]) == 0
    assert "small: 32 of 32 cells" in capsys.readouterr().out
    assert cli.main(["study", "small", "--workers", "1"]) == 0
    assert "0 cells now, 32 before" in capsys.readouterr().out
    assert cli.main(["study", "small", "--check", "32"]) == 0
    assert "32 of 32 cells fall where the record says" in capsys.readouterr().out
    change(recorded, by=0.1, task="near", arm="usual", split=3)
    assert cli.main(["study", "small", "--check", "32"]) == 1
    assert "31 of 32 cells fall" in capsys.readouterr().out
    figure = tmp_path / "forest.png"
    assert cli.main(["study", "small", "--report", "--figure", str(figure)]) == 0
    assert figure.is_file() and "better is better" in capsys.readouterr().out


def test_the_command_runs_one_cell_prints_it_and_records_nothing(recorded, capsys, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    assert cli.main(["study", "small", "--cell", "5", "--folder", str(elsewhere)]) == 0
    cell = STUDY.cells[5]
    assert json.loads(capsys.readouterr().out) == {**cell, **measured(**cell)}
    assert not elsewhere.exists()
    for number in ("32", "-1"):
        assert cli.main(["study", "small", "--cell", number]) == 1
        assert f"small has cells 0 to 31, no {number}" in capsys.readouterr().err


def test_the_command_runs_and_checks_a_record_in_a_folder_of_ones_own(recorded, capsys, tmp_path):
    change(recorded, by=0.1, task="near", arm="usual", split=3)  # in that of the course
    mine = ["study", "small", "--folder", str(tmp_path / "mine")]
    assert cli.main([*mine, "--workers", "1"]) == 0
    assert "32 cells now, 0 before" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "mine").glob("[!.]*")} == {
        "cells.sqlite",
        "environment.json",
    }
    assert cli.main([*mine, "--check", "32"]) == 0
    assert cli.main(["study", "small", "--check", "32"]) == 1


def test_the_command_names_what_is_near(recorded, capsys):
    assert cli.main(["study", "smal"]) == 1
    assert "did you mean small?" in capsys.readouterr().err
    assert cli.main(["study", "small", "--figure", "x.png"]) == 1
    assert "add --report" in capsys.readouterr().err
