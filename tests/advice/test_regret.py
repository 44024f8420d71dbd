"""Rules scored on constructed records; no rule sees the source that it is asked about."""

import itertools

import numpy as np
import pytest
from made_records import made_records, made_set

from tlcourse.advice.basis import basis_of
from tlcourse.advice.coverage import interval_coverage
from tlcourse.advice.measurements import FAR, LARGE
from tlcourse.advice.records import ADVISED, STAGE_PROBE, load_records
from tlcourse.advice.regret import regrets, score
from tlcourse.advice.rules import CS231N_MATRIX, RULES, SOURCES_MATRIX
from tlcourse.evidence import mean_interval


def test_a_rule_is_scored_without_the_records_of_the_source_it_is_asked_about():
    table = score(made_records({"near": {"probe": 0.2}, "far": {"one_rate": 0.2}}))
    # The only other source says the opposite of what is right.
    assert table.loc["advisor", "within_one_point"] == 0
    assert table.loc["advisor", "regret"] == pytest.approx(30, abs=1)
    assert table.loc["always extract", "within_one_point"] == 0.5
    assert table.loc["head first (LP-FT)", "within_one_point"] == 0
    assert set(table.index) == set(RULES)


def test_tasks_of_one_source_are_left_out_together():
    records = made_records({"a": {"one_rate": 0.2}, "b": {"one_rate": 0.2}, "c": {"scratch": 0.2}})
    records["source"] = records["source"].replace("b", "a")
    seen = []

    def spy(measured, basis):
        seen.append(set(basis.runs.sources))
        return "one_rate"

    regrets(records, {"spy": spy})
    assert seen == [{"c"}] * 6 + [{"a"}] * 3


def test_regret_is_by_source_with_students_interval_and_a_missing_arm_has_none():
    gains = {"a": 0.03, "b": 0.06, "c": 0.0, "d": 0.05}
    made = {s: {"one_rate": 0.2, "head_first": 0.2 - g} for s, g in gains.items()}
    table = score(made_records(made, noise=0.0, sizes=(10, 40)))
    row = table.loc["head first (LP-FT)"]
    expected = mean_interval([100 * gain for gain in gains.values()])
    assert row["regret"] == pytest.approx(3.5) and row["worst"] == pytest.approx(6)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["within_one_point"] == 0.25
    assert table.loc["CS231n's matrix"].isna().all()  # of small, far sets: not here
    assert table.loc["best fixed rule", "regret"] == pytest.approx(0, abs=1e-9)


def test_a_point_is_a_point():
    for behind, within in ((0.0099, 1), (0.0101, 0)):
        gains = {"one_rate": 0.1 + behind, "head_first": 0.1}
        table = score(made_records({"one": gains, "other": gains}, noise=0.0))
        assert table.loc["head first (LP-FT)", "within_one_point"] == within


def test_matrices_have_an_arm_for_each_quadrant_and_a_quadrant_begins_at_its_border():
    quadrants = set(itertools.product(("small", "large"), ("similar", "far")))
    for matrix in (SOURCES_MATRIX, CS231N_MATRIX):
        assert set(matrix) == quadrants and set(matrix.values()) <= {*ADVISED, STAGE_PROBE}
    assert made_set(FAR, LARGE).quadrant == ("large", "far")
    below = made_set(np.nextafter(FAR, 0), np.nextafter(LARGE, 0))
    assert below.quadrant == ("small", "similar")
    basis = basis_of(made_records({"a": {}, "b": {}}))
    assert RULES["the sources' matrix"](made_set(FAR, LARGE), basis) == "scratch"
    assert RULES["CS231n's matrix"](made_set(FAR, np.nextafter(LARGE, 0)), basis) == STAGE_PROBE


def test_an_interval_is_judged_on_runs_of_a_source_it_never_saw():
    alike = {name: {"one_rate": 0.2} for name in "abcd"}
    found = interval_coverage(made_records(alike, noise=0.01))
    assert set(found["arm"]) == {"one_rate"} and set(found["level"]) == {0.75}
    assert 0.6 < found["holds"].mean() < 1.01
    odd = interval_coverage(made_records(alike | {"d": {"one_rate": 0.5}}, noise=0.0))
    held = odd["holds"].groupby(level="source").mean()
    assert held["d"] == 0  # the odd one lies where nothing lay


def test_records_of_too_few_sources_are_refused():
    one = made_records({"a": {"one_rate": 0.2}})
    with pytest.raises(ValueError, match="1 source; a rule is scored"):
        regrets(one)
    with pytest.raises(ValueError, match="2 sources; an interval takes two"):
        interval_coverage(made_records({"a": {}, "b": {}}))


def test_a_rule_may_name_a_recorded_arm_that_is_not_advised():
    arms = (*ADVISED, STAGE_PROBE)
    gains = {"probe": 0.1, STAGE_PROBE: 0.15, "one_rate": 0.1}
    table = score(made_records(dict.fromkeys("abcd", gains), noise=0.0, arms=arms))
    # Of 12 settings the 4 of 10 and 40 images in c and d are small and far: no regret there.
    assert table.loc["CS231n's matrix", "regret"] == pytest.approx(5 * 8 / 12)
    assert table.loc["always extract", "regret"] == pytest.approx(5)


def test_the_record_scores_every_rule():
    table = score(load_records())
    assert set(table.index) == set(RULES) and not table.isna().any(axis=None)
    assert (table["low"] <= table["regret"]).all() and (table["regret"] >= 0).all()


def test_a_rule_whose_arm_is_missing_in_one_setting_has_no_score():
    records = made_records({name: {"one_rate": 0.2} for name in "abc"})
    missing = (records["source"] == "a") & (records["per_class"] == 10)
    table = score(records[~(missing & (records["arm"] == "head_first"))])
    assert table.loc["head first (LP-FT)"].isna().all()
    assert table.loc["always extract"].notna().all()
