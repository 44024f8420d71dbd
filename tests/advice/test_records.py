"""The advisor's record is read from those of studies: which cells, and what beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tlcourse.advice import records
from tlcourse.advice.records import ADVISED, STAGE_PROBE, load_records, runs_of
from tlcourse.advice.sweeps import sweep
from tlcourse.studies.transfer_race import cell, columns

PROBES = {"stem": 0.4, "neck": 0.7}  # neck is the last, by the alphabet it would be the first
STAGES = {"stem": 0.9, "neck": 0.5}


def raced(*, arm: str, split: int, **settings: object) -> Mapping[str, Any]:
    """Arms are told apart by what they reach; a probe chose the stem."""
    if arm == "probe":
        return {"plain": STAGES["stem"], "by_stage": STAGES, "stage": "stem", "commit": "0"}
    return {"plain": ADVISED.index(arm) / 10 + split / 100, "lr": 0.1, "commit": "0"}


def measured(*, dataset: str, split: int, **settings: object) -> Mapping[str, Any]:
    """Splits are told apart by their distance."""
    return {"classes": 10, "distance": split / 10, "probes": PROBES, "commit": "1"}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two splits of digits, and cells that are none of the advised: each alone would differ."""
    usual = [cell("digits", 5, split, columns(arm)) for split in (0, 1) for arm in ADVISED]
    tuned = cell("digits", 5, 0, columns("one_rate"))
    others = [
        cell("digits", 5, 0, columns("one_rate", batchnorm="train")),
        cell("digits", 5, 0, columns("one_rate", augmentation="light")),
        {**tuned, "lrs": "0.1 1"},
        {**tuned, "recipe": "0" * 8},
        {**tuned, "batchnorm": "frozen"},
    ]
    names = ("dataset", "per_class", "split", "backbone", "image_size")
    tasks = [{name: usual[k][name] for name in names} for k in (0, len(ADVISED))]
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    for name, function, cells in (
        ("transfer_race", raced, [*usual, *others]),
        ("race_tasks", measured, tasks),
    ):
        (tmp_path / name).mkdir()
        sweep(function, cells, tmp_path / name / "cells.sqlite", workers=1)
    return tmp_path


@pytest.mark.usefixtures("results")
def test_the_probe_is_that_of_the_last_stage_beside_the_one_that_was_chosen():
    table = load_records()
    assert len(table) == 2 * len((*ADVISED, STAGE_PROBE))  # no other rates, policies, augmentation
    reached = table[table["split"] == 1].set_index("arm")["plain"].to_dict()
    fine_tuned = {arm: ADVISED.index(arm) / 10 + 0.01 for arm in ADVISED if arm != "probe"}
    assert reached == pytest.approx(fine_tuned | {"probe": 0.5, STAGE_PROBE: 0.9})


@pytest.mark.usefixtures("results")
def test_what_was_measured_stands_beside_every_arm_of_its_task():
    table = load_records()
    assert set(table["source"]) == {"digits"} and set(table["classes"]) == {10}
    assert table["distance"].tolist() == pytest.approx((table["split"] / 10).tolist())
    runs = runs_of(table)
    assert list(runs.accuracy) == list(ADVISED) and len(runs.accuracy) == 2
    assert runs.probe.tolist() == [PROBES["neck"]] * 2  # what is known before, not the test's


def test_only_runs_that_are_measured_and_have_every_arm_are_read_from_either_study(results):
    arms = {"elpv_mono": ADVISED, "elpv_poly": ADVISED, "scenes_tinted": ADVISED[:-1]}
    variants = [cell(name, 20, 0, columns(arm)) for name in arms for arm in arms[name]]
    task = {name: variants[0][name] for name in ("per_class", "split", "backbone", "image_size")}
    measured_ones = [{**task, "dataset": name} for name in ("elpv_mono", "scenes_tinted")]
    (results / "transfer_race_variants").mkdir()
    sweep(raced, variants, results / "transfer_race_variants" / "cells.sqlite", workers=1)
    sweep(measured, measured_ones, results / "race_tasks" / "cells.sqlite", workers=1)
    table = load_records()
    assert set(table["dataset"]) == {"digits", "elpv_mono"}
    assert set(table.loc[table["dataset"] == "elpv_mono", "source"]) == {"elpv"}
