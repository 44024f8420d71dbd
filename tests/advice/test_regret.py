"""Rules scored on constructed records; no rule sees the source that it is asked about."""

import numpy as np
import pytest
from made_records import made_records, made_set

from tlcourse.advice.basis import basis_of
from tlcourse.advice.coverage import interval_coverage
from tlcourse.advice.measurements import FAR, LARGE
from tlcourse.advice.records import load_records
from tlcourse.advice.regret import regrets, score
from tlcourse.advice.rules import RULES, SOURCES_MATRIX
from tlcourse.advice.strategies import QUADRANTS, STRATEGIES
from tlcourse.evidence import mean_interval


def test_a_rule_is_scored_without_the_records_of_the_source_it_is_asked_about():
    table = score(made_records({"near": {"extraction": 0.2}, "far": {"gradual": 0.2}}))
    # The only other source says the opposite of what is right.
    assert table.loc["advisor", "within_one_point"] == 0
    assert table.loc["advisor", "regret"] == pytest.approx(30, abs=1)
    assert table.loc["always extract", "within_one_point"] == 0.5
    assert table.loc["head first (LP-FT)", "within_one_point"] == 0
    assert set(table.index) == set(RULES)


def test_tasks_of_one_source_are_left_out_together():
    records = made_records({"a": {"gradual": 0.2}, "b": {"gradual": 0.2}, "c": {"hybrid": 0.2}})
    records["source"] = records["source"].replace("b", "a")
    seen = []

    def spy(measured, basis):
        seen.append(set(basis.runs.sources))
        return "gradual"

    regrets(records, {"spy": spy})
    assert seen == [{"c"}] * 6 + [{"a"}] * 3


def test_regret_is_by_source_with_students_interval_and_a_missing_arm_has_none():
    gains = {"a": 0.03, "b": 0.06, "c": 0.0, "d": 0.05}
    made = {s: {"gradual": 0.2, "two_phase": 0.2 - g} for s, g in gains.items()}
    table = score(made_records(made, noise=0.0))
    row = table.loc["head first (LP-FT)"]
    expected = mean_interval([100 * gain for gain in gains.values()])
    assert row["regret"] == pytest.approx(3.5) and row["worst"] == pytest.approx(6)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["within_one_point"] == 0.25
    assert table.loc["always fine-tune"].isna().all()  # no such arm among these
    assert table.loc["best fixed rule", "regret"] == pytest.approx(0, abs=1e-9)


def test_a_point_is_a_point():
    for behind, within in ((0.0099, 1), (0.0101, 0)):
        gains = {"gradual": 0.1 + behind, "two_phase": 0.1}
        table = score(made_records({"one": gains, "other": gains}, noise=0.0))
        assert table.loc["head first (LP-FT)", "within_one_point"] == within


def test_matrices_have_an_arm_for_each_quadrant_and_a_quadrant_begins_at_its_border():
    assert set(SOURCES_MATRIX) == set(QUADRANTS)
    assert set(SOURCES_MATRIX.values()) <= set(STRATEGIES)
    assert made_set(FAR, LARGE).quadrant == ("large", "far")
    below = made_set(np.nextafter(FAR, 0), np.nextafter(LARGE, 0))
    assert below.quadrant == ("small", "similar")
    basis = basis_of(made_records({"a": {}, "b": {}}))
    assert RULES["the sources' matrix"](made_set(FAR, LARGE), basis) == "hybrid"


def test_an_interval_is_judged_on_runs_of_a_source_it_never_saw():
    alike = {name: {"gradual": 0.2} for name in "abcd"}
    found = interval_coverage(made_records(alike, noise=0.01))
    assert set(found["arm"]) == {"gradual"} and set(found["level"]) == {0.75}
    assert 0.6 < found["holds"].mean() < 1.01
    odd = interval_coverage(made_records(alike | {"d": {"gradual": 0.5}}, noise=0.0))
    held = odd["holds"].groupby(level="source").mean()
    assert held["d"] == 0  # the odd one lies where nothing lay


def test_records_of_too_few_sources_are_refused():
    one = made_records({"a": {"gradual": 0.2}})
    with pytest.raises(ValueError, match="1 source; a rule is scored"):
        regrets(one)
    with pytest.raises(ValueError, match="2 sources; an interval takes two"):
        interval_coverage(made_records({"a": {}, "b": {}}))


def test_the_record_scores_every_rule_that_it_has_the_arm_of():
    table = score(load_records())
    scored = table.dropna()
    assert set(table.index) - set(scored.index) == {"always fine-tune"}
    assert (scored["low"] <= scored["regret"]).all() and (scored["regret"] >= 0).all()
