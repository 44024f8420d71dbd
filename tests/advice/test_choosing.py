"""Advice on constructed records, whose right answer is known."""

import numpy as np
import pytest
from made_records import COSTS, made_records, made_set

from tlcourse.advice.choosing import advise
from tlcourse.advice.records import ADVISED, STAGE_PROBE

ALIKE = {name: {"one_rate": 0.2} for name in "abcd"}


def test_the_best_fixed_rule_is_advised_and_called_that():
    advice = advise(made_set(), made_records(ALIKE))
    assert advice.strategy == "one_rate" and advice.fixed
    assert "best fixed rule, the same for all data sets" in str(advice)
    row = advice.table.loc["one_rate"]
    assert row["expected"] == pytest.approx(0.8, abs=0.01)
    assert row["low"] < 0.8 < row["high"] and row["high"] - row["low"] < 0.02
    assert advice.level == 0.8 and "made for 80% of new data sets" in str(advice)
    assert set(advice.table["verdict"]) == {"equal", "behind"}  # one_rate is itself, others behind
    (doubt,) = advice.doubts
    assert "nine sources or more; 4 give 80%" in doubt


def test_nine_sources_promise_nine_in_ten_and_leave_no_doubt():
    advice = advise(made_set(), made_records({f"s{i}": {"one_rate": 0.2} for i in range(9)}))
    assert advice.level == 0.9 and not advice.doubts


def test_features_choose_where_they_are_shown_to_foretell_what_is_gained():
    """The farther the domain, the less a probe gains and the more fine-tuning does."""
    gains = {f"s{i}": {"probe": 0.2 - 0.05 * i, "one_rate": 0.05 * i} for i in range(8)}
    table = made_records(gains)
    near, far = (advise(made_set(distance), table) for distance in (0.02, 0.33))
    assert (near.strategy, far.strategy) == ("probe", "one_rate")
    assert not near.fixed and not far.fixed and "fixed rule" not in str(near)
    elsewhere = advise(made_set(0.02, image_size=224), table)
    assert elsewhere.fixed  # what holds of 64 px is not told of 224


def test_of_arms_that_are_equal_within_a_point_the_cheapest_is_advised():
    gains = {"one_rate": 0.203, "head_first": 0.2}
    advice = advise(made_set(costs=COSTS), made_records(dict.fromkeys("abcd", gains)))
    assert advice.strategy == "head_first"
    assert advice.table.loc["head_first", "verdict"] == "equal"
    why = "head_first and one_rate are equal within a point there, and head_first is cheaper"
    assert why in str(advice)
    assert "s on this machine" in str(advice) and "one_rate would take about" in str(advice)


def test_what_is_near_on_average_and_not_shown_equal_is_not_called_that():
    leads = {"a": 0.09, "b": -0.08, "c": 0.08, "d": -0.07}
    gains = {source: {"one_rate": 0.2 + lead, "head_first": 0.2} for source, lead in leads.items()}
    advice = advise(made_set(), made_records(gains))
    row = advice.table.loc["head_first"]
    assert row["behind"] < 0.01 and row["verdict"] == "undecided" and row["error"] > 0.05
    assert advice.strategy == "one_rate" and "are equal" not in str(advice)
    assert any(
        "4 sources do not decide how far one_rate leads head_first" in d for d in advice.doubts
    )


def test_of_another_network_or_size_no_accuracy_is_told():
    table = made_records(ALIKE)
    for other in ({"image_size": 224}, {"backbone": "resnet18"}):
        advice = advise(made_set(**other), table)
        assert advice.table[["expected", "low", "high"]].isna().all(axis=None)
        assert "no expected accuracy" in str(advice) and advice.strategy == "one_rate"
        assert any("the record is of net at 64 px" in doubt for doubt in advice.doubts)


@pytest.mark.parametrize(
    ("others", "doubt"),
    [
        ({"distance": 0.9}, "domain distance: 0.900 lies outside the record's 0.000 to 0.150"),
        ({"per_class": 5.0}, "5 images a class measure an accuracy only to ± 22 points"),
        ({"per_class": 500.0}, "images a class: 500 lies outside the record's 10 to 160"),
        ({"grouped": False}, "the probe is flattered"),
        ({"untested": (2,)}, "class 2 cannot be tested"),
    ],
)
def test_a_doubt_is_told(others, doubt):
    assert any(doubt in told for told in advise(made_set(**others), made_records(ALIKE)).doubts)


def test_a_probe_that_could_not_be_tested_lets_expect_nothing():
    unknown = made_set(probes={"neck": float("nan")}, untested=(0, 1, 2, 3))
    advice = advise(unknown, made_records(ALIKE))
    assert advice.strategy == "one_rate" and np.isnan(advice.table["low"]).all()
    assert "no expected accuracy" in str(advice) and "nan" not in str(advice)


def test_one_source_promises_nothing_and_none_is_an_error():
    table = made_records({"a": {"one_rate": 0.2}})
    advice = advise(made_set(), table)
    assert advice.strategy == "one_rate" and advice.level == 0
    assert "no expected accuracy" in str(advice)
    with pytest.raises(ValueError, match="no recorded cells"):
        advise(made_set(), table[:0])
    with pytest.raises(ValueError, match="no recorded runs of all arms"):
        advise(made_set(), table[table["arm"] == "one_rate"].assign(plain=np.nan))


def test_what_takes_too_long_is_not_advised_unless_all_does():
    gains = {"one_rate": 0.2, "head_first": 0.1, "probe": 0.05}
    table = made_records(dict.fromkeys("abc", gains))
    seconds = advise(made_set(costs=COSTS), table).table["seconds"]

    def within(limit: float) -> str:
        return advise(made_set(costs=COSTS), table, minutes=limit / 60).strategy

    assert within(seconds["one_rate"] + 0.01) == "one_rate"
    assert within(seconds["one_rate"] - 0.01) == "head_first"
    assert within(0.0) == "probe"
    uncounted = advise(made_set(), table, minutes=0.0)  # nobody knows how long it takes
    assert uncounted.strategy == "one_rate" and uncounted.table["seconds"].isna().all()
    assert "on this machine" not in str(uncounted)


def test_what_is_recorded_and_cannot_be_followed_is_not_advised():
    gains = {"one_rate": 0.1, STAGE_PROBE: 0.3}  # an arm of the record, no strategy of the course
    table = made_records(dict.fromkeys("abc", gains), arms=(*ADVISED, STAGE_PROBE))
    advice = advise(made_set(), table)
    assert advice.strategy == "one_rate" and set(advice.table.index) == set(ADVISED)
