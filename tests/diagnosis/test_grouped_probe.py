"""Probes in folds that tear no group, against scikit-learn's own loop and constructed leaks."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlcourse.diagnosis.grouped_probe import grouped_probe, linear_classifier


def things(count: int, each: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of ``count`` things that look alike for being the same, whatever their class."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), each)
    looks = generator.normal(size=(count, 50))[groups]
    return looks + 0.1 * generator.normal(size=looks.shape), groups % 2, groups


def test_it_is_the_accuracy_of_scikit_learns_own_loop():
    x, y, groups = things(20, 4)
    model = make_pipeline(StandardScaler(), linear_classifier())
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=3)
    expected = (cross_val_predict(model, x, y, groups=groups, cv=folds) == y).mean()
    assert grouped_probe(x, y, groups, seed=3).accuracy == pytest.approx(expected)


def test_a_torn_thing_is_recognised_and_a_whole_one_is_not():
    apart = [grouped_probe(*things(30, 6, seed=s), seed=0).accuracy for s in range(8)]
    torn = [
        grouped_probe(x, y, np.arange(len(y)), seed=0).accuracy
        for x, y, _ in (things(30, 6, seed=s) for s in range(8))
    ]
    assert np.mean(torn) > 0.9 and 0.35 < np.mean(apart) < 0.65


def test_a_class_of_one_thing_is_learnt_from_and_not_tested():
    x, y, groups = things(10, 4)
    x, y, groups = np.r_[x, x[:3] + 9], np.r_[y, [2] * 3], np.r_[groups, [99] * 3]
    found = grouped_probe(x, y, groups, seed=0)
    assert found.untested == (2,) and found.tested == 40 and np.isfinite(found.accuracy)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [([0, 0, 1, 1], [0, 0, 0, 0]), ([0, 0, 1, 1], [0, 0, 1, 1]), ([0, 1], [0, 1])],
)
def test_where_nothing_can_be_tested_there_is_no_accuracy(labels, groups):
    x = np.eye(len(labels))
    found = grouped_probe(x, np.array(labels), np.array(groups), seed=0)
    assert np.isnan(found.accuracy) and found.tested == 0 and found.untested == (0, 1)


def test_inputs_that_do_not_fit_are_named():
    x, y, groups = things(4, 2)
    with pytest.raises(ValueError, match="7 groups; expected"):
        grouped_probe(x, y, groups[:7], seed=0)
    with pytest.raises(ValueError, match="two classes or more"):
        grouped_probe(x, 0 * y, groups, seed=0)
    with pytest.raises(ValueError, match="not all finite"):
        grouped_probe(x * np.nan, y, groups, seed=0)
