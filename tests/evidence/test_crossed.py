"""Intervals over splits and images: against statsmodels' clusters of two kinds, and by hand."""

import numpy as np
import pytest
import scipy.stats
from statsmodels.api import OLS
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

from tlcourse.evidence import crossed_interval, decide_crossed, mean_interval


def drawn(seed: int, *, shared: float) -> tuple[list[list[float]], list[list[int]]]:
    """Six splits that each test 20 of 60 images, some of which are hard in every split."""
    rng = np.random.default_rng(seed)
    hardness = shared * rng.normal(size=60)
    images = [rng.permutation(60)[:20] for _ in range(6)]
    outcomes = [hardness[rows] + rng.normal(size=20) + 0.3 * rng.normal() for rows in images]
    return [o.tolist() for o in outcomes], [rows.tolist() for rows in images]


def test_the_standard_error_is_that_of_two_way_clusters():
    outcomes, images = drawn(0, shared=1.0)
    x, by_image = np.concatenate(outcomes), np.concatenate(images)
    by_split = np.repeat(np.arange(6), 20)
    fitted = OLS(x, np.ones((120, 1))).fit()
    both, of_splits, of_images = (c.item() for c in cov_cluster_2groups(fitted, by_split, by_image))
    of = crossed_interval(outcomes, images)
    assert both > of_splits  # images matter in this draw
    assert of.error == pytest.approx(both**0.5)
    shared = both - of_splits
    assert of.df == pytest.approx(
        both**2 / (of_splits**2 / 5 + shared**2 / (len(set(by_image)) - 1))
    )
    assert of.high - of.mean == pytest.approx(scipy.stats.t.ppf(0.975, of.df) * of.error)
    assert of_splits == pytest.approx(cov_cluster(fitted, by_split).item())
    assert of_images > 0


def test_splits_that_share_no_image_are_independent_runs():
    outcomes, _ = drawn(1, shared=0.0)
    apart = [[20 * s + i for i in range(20)] for s in range(6)]
    of, alone = crossed_interval(outcomes, apart), mean_interval([np.mean(o) for o in outcomes])
    assert (of.mean, of.low, of.df) == pytest.approx((alone.mean, alone.low, alone.df))
    assert of.overlap == pytest.approx(0, abs=1e-9)


def test_what_is_hard_in_every_split_widens_the_interval():
    widths = [
        np.mean(
            [of.high - of.low for of in (crossed_interval(*drawn(s, shared=h)) for s in range(9))]
        )
        for h in (0.0, 2.0)
    ]
    assert widths[1] > 1.5 * widths[0]


def test_animals_in_several_images_count_once():
    _, images = drawn(2, shared=2.0)
    animals = [[f"animal {image // 6}" for image in split] for split in images]
    hard = [[float(image // 6 % 2) for image in split] for split in images]
    by_image, by_animal = crossed_interval(hard, images), crossed_interval(hard, animals)
    assert by_animal.error > by_image.error


def test_p_is_one_in_twenty_where_the_interval_ends():
    """Both by Satterthwaite's degrees of freedom."""
    outcomes, images = drawn(0, shared=1.0)
    end = crossed_interval(outcomes, images).low
    assert decide_crossed(outcomes, images, matters=0.1, than=end).p == pytest.approx(0.05)


def test_what_cannot_be_decided_is_said():
    same = [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    names = [[0, 1], [1, 2], [2, 3]]
    assert not crossed_interval(same, names).is_known
    assert decide_crossed(same, names, matters=0.1).verdict == "undecided"
    assert not crossed_interval([[1.0, float("nan")], *same[1:]], names).is_known
    with pytest.raises(ValueError, match="2 splits give no interval"):
        crossed_interval(same[:2], names[:2])
    with pytest.raises(ValueError, match="expected one name an outcome"):
        crossed_interval(same, [[0], *names[1:]])
