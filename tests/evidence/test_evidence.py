"""Intervals, verdicts, Holm and power against scipy, statsmodels, scikit-learn and baycomp."""

import math

import numpy as np
import pytest
import scipy.stats
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold
from sklearn.svm import SVC
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from tlcourse.evidence import (
    cluster_means,
    decide,
    decide_together,
    detectable_effect,
    effects_table,
    holm,
    mean_interval,
    runs_needed,
    split_overlap,
)

GAIN = [0.03, 0.05, -0.01, 0.04, 0.02, 0.06, 0.01, 0.03, 0.05, 0.00]


def draws(seed: int, mean: float, runs: int = 8) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1, runs).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_independent_runs_are_scipys_one_sample_test(seed: int):
    values = draws(seed, seed / 10)
    effect = decide(values, matters=0.5, than=0.2)
    test = scipy.stats.ttest_1samp(values, 0.2)
    assert effect.p == pytest.approx(test.pvalue)
    assert (effect.low, effect.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    beyond = effect.low > 0.2 or effect.high < 0.2
    assert beyond == (effect.verdict in ("confirmed", "refuted")) == (test.pvalue < 0.05)


@pytest.mark.parametrize("seed", range(20))
def test_equal_is_statsmodels_two_one_sided_tests(seed: int):
    values = draws(seed, 0.0, 12)
    effect = decide(values, matters=0.8)
    p, *_ = ttost_paired(np.array(values), np.zeros(12), -0.8, 0.8)  # each side at 2.5 %
    assert effect.p_equal == pytest.approx(2 * p)
    assert (effect.verdict == "equal") == (2 * p <= 0.05 and effect.p > 0.05)
    assert effect.is_small == (2 * p < 0.05)


def test_the_corrected_test_is_scikit_learns_example_and_baycomps():
    """The first is the example of scikit-learn, "Statistical comparison … using grid search"."""
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    kernels = [{"kernel": ["linear"]}, {"kernel": ["rbf"]}]
    found = GridSearchCV(SVC(), kernels, scoring="roc_auc", cv=folds).fit(x, y).cv_results_
    linear, rbf = (np.array([found[f"split{i}_test_score"][m] for i in range(100)]) for m in (0, 1))
    effect = decide((rbf - linear).tolist(), matters=0.01, overlap=split_overlap(test=10, pool=100))
    assert effect.p / 2 == pytest.approx(0.227, abs=5e-4)
    assert effect.mean / mean_interval(
        (rbf - linear).tolist(), overlap=1 / 9
    ).error == pytest.approx(0.750, abs=5e-4)
    # baycomp: two_on_single(zeros, GAIN, rope, runs); tenfold once, and fivefold twice
    once, twice = (decide(GAIN, matters=0.05, overlap=1 / (folds - 1)) for folds in (10, 5))
    assert once.p / 2 == pytest.approx(0.013241490317769333)
    assert once.p_equal / 2 == pytest.approx(0.03352263658896937, abs=1e-4)  # and the other tail
    assert twice.p / 2 == pytest.approx(0.03485368768477637)


def test_the_side_and_what_is_small():
    below = decide([0.11, 0.12, 0.13], matters=0.05, than=0.2, side="below")
    assert below.verdict == "confirmed" and not below.is_small
    assert decide([0.11, 0.12, 0.13], matters=0.05, than=0.2).verdict == "refuted"
    small = decide([0.011, 0.012, 0.013], matters=0.05)
    assert small.verdict == "confirmed" and small.is_small


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [0.1 + 0.2, 0.3, 0.3], [0, 0, 0]])
def test_runs_that_are_all_alike_are_undecided(values: list[float]):
    effect = decide(values, matters=0.5)
    assert (effect.verdict, effect.mean) == ("undecided", pytest.approx(values[0]))
    assert math.isnan(effect.low) and math.isnan(effect.detectable)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_runs_that_are_not_finite_are_undecided_alone_and_in_a_family(bad: float):
    effect = decide([1, 2, bad], matters=0.5)
    assert effect.verdict == "undecided" and math.isnan(effect.mean)
    fine = decide([1.0, 1.1, 0.9], matters=0.5)
    assert [e.verdict for e in decide_together([effect, fine])] == ["undecided", "confirmed"]


@pytest.mark.unchecked
def test_what_cannot_be_decided_is_refused():
    with pytest.raises(ValueError, match="2 runs give no interval worth its name; measure 3"):
        decide([1, 2], matters=1)
    for matters in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="smallest effect that would matter"):
            decide([1, 2, 3], matters=matters)
    with pytest.raises(ValueError, match="side is 'over'"):
        decide([1, 2, 3], matters=1, side="over")
    with pytest.raises(ValueError, match="overlap is -1"):
        decide([1, 2, 3], matters=1, overlap=-1)
    for test in (0, 10):
        with pytest.raises(ValueError, match="expected 0 < test < pool"):
            split_overlap(test=test, pool=10)
    with pytest.raises(ValueError, match="3 values for 2 clusters"):
        cluster_means([1, 2, 3], ["a", "b"])


def test_holm_rejects_one_after_another():
    p = [0.01, 0.02, 0.02, 0.5]
    ranked = [min(1.0, max(sorted(p)[j] * (4 - j) for j in range(i + 1))) for i in range(4)]
    assert holm(p) == pytest.approx(ranked)
    assert holm([]) == []
    alone = [decide(draws(s, 0.9), matters=0.5) for s in range(6)]
    together = decide_together(alone)
    assert {e.family for e in together} == {6}
    assert [e.p for e in together] == pytest.approx(holm([e.p for e in alone]))
    assert sum(e.verdict == "confirmed" for e in together) < sum(
        e.verdict == "confirmed" for e in alone
    )


def test_a_cluster_counts_once():
    values, animals = [1, 2, 3, 10, 20, 0.5], ["cat", "cat", "cat", "dog", "dog", "hen"]
    assert cluster_means(values, animals) == [2, 15, 0.5]


def test_power_is_statsmodels_where_runs_are_independent():
    for runs in (3, 5, 20, 200):
        effect = TTestPower().solve_power(nobs=runs, alpha=0.05, power=0.8)
        assert detectable_effect(2.0, runs) == pytest.approx(2 * effect, rel=1e-3)
    for effect in (0.3, 0.8, 1.5):
        needed = math.ceil(TTestPower().solve_power(effect, alpha=0.05, power=0.8))
        assert runs_needed(2 * effect, 2.0) == needed == runs_needed(-2 * effect, 2.0)


def test_power_of_splits_is_what_simulation_gives():
    """Equicorrelated normal runs, correlation ρ; overlap ρ / (1 − ρ) makes the t-test exact."""
    runs, overlap = 10, 1 / 3
    correlation = overlap / (1 + overlap)
    effect = detectable_effect(math.sqrt(1 - correlation), runs, overlap=overlap)
    rng = np.random.default_rng(0)
    common = rng.normal(0, math.sqrt(correlation), (20_000, 1))
    x = effect + common + rng.normal(0, math.sqrt(1 - correlation), (20_000, runs))
    error = x.std(axis=1, ddof=1) * math.sqrt(1 / runs + overlap)
    found = x.mean(axis=1) > scipy.stats.t.ppf(0.975, runs - 1) * error
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_where_no_number_of_runs_suffices_more_images_do():
    assert runs_needed(0.03, 0.03, overlap=1 / 3) == math.inf
    splits = [0.03 * x for x in range(-7, 8)]
    effect = decide(splits, matters=0.03, overlap=1 / 3)
    sd = effect.sd / effect.images_factor**0.5
    assert detectable_effect(sd, 15, overlap=1 / 3) == pytest.approx(0.03)
    assert decide(splits, matters=3).images_factor == 1
    assert math.isnan(decide([1.0, 1.0, 1.0], matters=0.03).images_factor)
    with pytest.raises(ValueError, match="one that is there to be found"):
        runs_needed(0.0, 1.0)


def test_a_table_of_effects_is_one_family():
    gains = {"a": [0.05, 0.06, 0.07, 0.04], "b": [0.2, -0.1, 0.0, 0.1], "alike": [0.1] * 3}
    table = effects_table({name: decide(g, matters=0.02) for name, g in gains.items()})
    alone = detectable_effect(np.std(gains["b"], ddof=1), 4, alpha=0.05 / 3)
    assert table.loc["b", "detectable"] == pytest.approx(alone)
    assert table.loc["b", "images_factor"] == pytest.approx((alone / 0.02) ** 2)
    needed = int(table.loc["a", "runs_needed"])
    sd = np.std(gains["a"], ddof=1)
    assert detectable_effect(sd, needed, alpha=0.05 / 3) <= 0.02
    assert detectable_effect(sd, needed - 1, alpha=0.05 / 3) > 0.02
    assert table.loc["alike", ["runs_needed", "images_factor"]].isna().all()
