"""The size of a study from its pilot, against statsmodels' power of a paired t-test."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from tlcourse.evidence import decide
from tlcourse.studies import Comparison, Finding
from tlcourse.studies.sizing import detectable_by_splits


def planted(name: str, values: list[float], overlap: float = 0.0) -> Finding:
    comparison = Comparison(name, "race", "a beats b", "us", {"arm": "a"}, {"arm": "b"})
    effect = decide(values, matters=0.03, overlap=overlap)
    return Finding(comparison, {}, tuple(values), effect)


def test_spreads_are_pooled_and_the_effect_is_the_paired_t_tests():
    pilot = [planted("small", [0.01, 0.02, 0.03]), planted("large", [0.0, 0.05, 0.10])]
    table = detectable_by_splits(pilot, family=4, splits=(3, 10))
    sd = np.sqrt((0.01**2 + 0.05**2) / 2)
    assert table.loc["all", "sd"] == pytest.approx(sd)
    for splits in (3, 10):
        size = table.loc["all", splits] / sd
        assert TTestPower().power(size, splits, 0.05 / 4) == pytest.approx(0.8)


def test_what_splits_share_does_not_go_away_with_more_of_them():
    table = detectable_by_splits([planted("a", [0.0, 0.01, 0.02], overlap=0.5)], splits=(10, 1000))
    assert table.loc["all", 1000] > 0.01 * np.sqrt(0.5) * 2.8


def test_a_pilot_without_a_spread_is_refused():
    for pilot in ([], [planted("a", [0.1, 0.1, 0.1])]):
        with pytest.raises(ValueError, match="no comparison of three splits"):
            detectable_by_splits(pilot)
