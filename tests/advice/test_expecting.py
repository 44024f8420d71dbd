"""The jackknife+ by its definition, its coverage by simulation, and ridge against scikit-learn."""

import math

import numpy as np
import pandas as pd
import pytest
from made_records import made_records
from sklearn.linear_model import Ridge

from tlcourse.advice.expecting import (
    errors_saved,
    fit_expectation,
    fit_gains,
    jackknife_plus,
    promised,
)
from tlcourse.advice.records import ADVISED, PLACE, load_records, runs_of
from tlcourse.studies import read_study
from tlcourse.studies.transfer_race import TRANSFER_RACE, columns
from tlcourse.studies.transfer_race_variants import VARIANTS


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_with_one_run_a_source_it_is_the_jackknife_plus_of_barber(level):
    """Their order statistics: the ⌈level (n + 1)⌉-th smallest above, the ⌊α (n + 1)⌋-th below."""
    generator = np.random.default_rng(0)
    n = 19
    centres, errors = generator.normal(size=n), abs(generator.normal(size=n))
    low, high = jackknife_plus(list(centres), [np.array([e]) for e in errors], level)
    above, below = np.sort(centres + errors), np.sort(centres - errors)
    assert high == above[math.ceil(level * (n + 1) - 1e-9) - 1]
    assert low == below[math.floor((1 - level) * (n + 1) + 1e-9) - 1]


def test_beyond_what_so_many_sources_promise_there_is_no_bound():
    errors = [np.array([0.1, 0.2])] * 4
    assert jackknife_plus([0.0] * 4, errors, 0.81) == (-math.inf, math.inf)
    assert jackknife_plus([0.0] * 4, errors, promised(4)) == (-0.2, 0.2)
    assert [promised(k) for k in (1, 2, 9)] == [0.0, 2 / 3, 0.9]


def test_a_source_with_many_runs_weighs_as_much_as_one_with_few():
    few, many = np.array([0.1]), np.full(1000, 0.3)
    low, high = jackknife_plus([0.0] * 3, [few, few, many], 0.5)
    assert (low, high) == (-0.1, 0.1)


def test_the_interval_holds_what_it_promises_on_sources_it_never_saw():
    """Sources differ by 10 points, runs by 2; nine sources and 90 %: Barber's proof gives 80 %."""
    generator = np.random.default_rng(1)
    held = []
    for _ in range(600):
        level = generator.normal(0, 0.1, 10)
        runs = [m + generator.normal(0, 0.02, 6) for m in level]
        *known, new = runs
        centres = [np.mean([x.mean() for x in known if x is not y]) for y in known]
        errors = [abs(y - c) for y, c in zip(known, centres, strict=True)]
        low, high = jackknife_plus(centres, errors, 0.9)
        held.append(np.mean((low <= new) & (new <= high)))
    assert 0.86 < np.mean(held) < 0.96


def test_gains_are_means_over_sources_whatever_their_number_of_runs():
    table = made_records({"a": {"one_rate": 0.2}, "b": {"one_rate": 0.0}}, noise=0.0)
    table = table[(table["source"] == "a") | (table["per_class"] == 10)]
    gains = fit_gains(runs_of(table))
    assert gains.model is None and gains.mean["one_rate"] == pytest.approx(0.1)


def test_a_ridge_is_fitted_where_it_is_shown_better_and_weighs_sources_alike():
    gains = {f"s{i}": {"one_rate": 0.05 * i} for i in range(8)}
    table = made_records(gains, noise=0.001)
    table = table[(table["source"] != "s0") | (table["split"] == 0)]
    runs = runs_of(table)
    fitted = fit_gains(runs)
    assert fitted.model is not None
    x, y = runs.features.to_numpy(), runs.accuracy["one_rate"] - runs.probe
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    weight = 1 / runs.sources.value_counts().loc[runs.sources].to_numpy()
    weight = weight / weight.mean()
    expected = Ridge(alpha=1.0).fit(x, y, sample_weight=weight).predict(x)
    found = fitted.predict(runs.features)["one_rate"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    flat = made_records({f"s{i}": {"one_rate": 0.2} for i in range(8)}, noise=0.02)
    assert fit_gains(runs_of(flat)).model is None


def test_what_features_save_is_positive_where_they_foretell_and_not_where_they_mislead():
    rising = {f"s{i}": {"one_rate": 0.05 * i} for i in range(6)}
    saved = errors_saved(runs_of(made_records(rising, noise=0.0)))
    assert saved[["s1", "s2", "s3", "s4"]].median() > 0
    odd = rising | {"s5": {"one_rate": -0.3}}  # the farthest, where the trend breaks
    assert errors_saved(runs_of(made_records(odd, noise=0.0)))["s5"] < 0
    assert errors_saved(runs_of(made_records({"a": {}}))).empty


def test_a_level_that_is_no_share_is_named():
    with pytest.raises(ValueError, match="level is 90; expected a share"):
        fit_expectation(runs_of(load_records()), level=90)


def test_every_recorded_run_was_measured_and_names_its_source():
    usual = pd.DataFrame([columns(arm) for arm in ADVISED])
    begun = [study for study in (TRANSFER_RACE, VARIANTS) if study.path.is_file()]
    trained = pd.concat([read_study(study).merge(usual) for study in begun])
    place = ["dataset", "per_class", "split"]
    arms = trained.groupby(place)["arm"].nunique()
    whole = set(arms[arms == len(ADVISED)].index)
    records = load_records()
    assert whole <= set(records[place].itertuples(index=False, name=None))  # none was forgotten
    assert not records[[*PLACE, "arm", "plain", "distance"]].isna().any(axis=None)
    runs = runs_of(records)
    assert runs.sources.nunique() == 4 and list(runs.accuracy) == list(ADVISED)
    assert np.isfinite(runs.features.to_numpy()).all()
    # Grouped folds: the probe is a fair forecast of a recorded one, not 30 points above it.
    above = (runs.probe - runs.accuracy["probe"]).groupby(level="source").mean()
    assert above.abs().max() < 0.12
