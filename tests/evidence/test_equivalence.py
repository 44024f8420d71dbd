"""How many images a gain is worth: by hand, against ``mean_interval``, and on planted curves."""

import math

import numpy as np
import pytest

from tlcourse.evidence import equivalent_size, mean_interval


def planted(rng, *, gain: float, slope: float, splits: int = 10):
    """Gains and slopes of splits whose errors go together, as those of one test do."""
    noise = rng.multivariate_normal([0, 0], [[4e-4, 1e-4], [1e-4, 2e-4]], size=splits)
    return (gain + noise[:, 0]).tolist(), (slope + noise[:, 1]).tolist()


@pytest.mark.parametrize("overlap", [0.0, 1 / 3])
def test_at_its_ends_gain_and_worth_cannot_quite_be_told_apart(overlap):
    gains, slopes = planted(np.random.default_rng(0), gain=0.05, slope=0.05)
    worth = equivalent_size(gains, slopes, overlap=overlap)
    assert worth.factor == pytest.approx(2 ** (np.mean(gains) / np.mean(slopes)))
    for end, side in ((worth.low, "low"), (worth.high, "high")):
        of = mean_interval(
            [g - math.log2(end) * s for g, s in zip(gains, slopes, strict=True)], overlap=overlap
        )
        assert getattr(of, side) == pytest.approx(0, abs=1e-9)
    assert 1 < worth.low < worth.factor < worth.high < math.inf


def test_by_hand_for_a_slope_that_is_known():
    """With no spread of the slope, doublings are the gain's interval over it."""
    gains, slope = [0.02, 0.04, 0.06, 0.08], 0.05
    of, worth = mean_interval(gains), equivalent_size(gains, [slope] * 4)
    assert worth.low == pytest.approx(2 ** (of.low / slope))
    assert worth.high == pytest.approx(2 ** (of.high / slope))


@pytest.mark.parametrize("doublings", [-1.0, 0.0, 1.5])
def test_the_interval_holds_what_was_planted(doublings):
    """Of 2,000 draws 95 % should; the error of that share is half a point."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        worth = equivalent_size(*planted(rng, gain=0.03 * doublings, slope=0.03))
        held += worth.low <= 2**doublings <= worth.high
    assert 0.935 < held / 2000 < 0.97


def test_a_loss_is_worth_fewer_images():
    gains, slopes = planted(np.random.default_rng(2), gain=-0.05, slope=0.05)
    assert equivalent_size(gains, slopes).high < 1


def test_nothing_is_told_where_more_images_may_not_have_helped():
    worth = equivalent_size(*planted(np.random.default_rng(3), gain=0.05, slope=0.0))
    assert (worth.low, worth.high, worth.is_bounded) == (0, math.inf, False)
    assert not equivalent_size([0.1] * 3, [0.1] * 3).is_bounded  # all alike


@pytest.mark.parametrize(
    ("gains", "slopes", "overlap", "message"),
    [
        ([0.1, 0.2], [0.1, 0.2], 0, "expected as many, 3 or more"),
        ([0.1, 0.2, 0.3], [0.1, 0.2], 0, "3 gains and 2 slopes"),
        ([0.1, 0.2, math.nan], [0.1, 0.2, 0.3], 0, "must be finite"),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], -1, "overlap is -1"),
    ],
)
def test_wrong_runs_are_refused(gains, slopes, overlap, message):
    with pytest.raises(ValueError, match=message):
        equivalent_size(gains, slopes, overlap=overlap)
