"""Scores at the edge of what numbers are: a right value in its range, or an error in our words."""

import math
import warnings

import pytest
import torch
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.diagnosis import (
    calibration_error,
    fit_temperature,
    frechet_distance,
    h_score,
    leep,
    linear_cka,
    log_me,
    mmd,
    nearest_centroid_accuracy,
    probe_accuracy,
)
from tlcourse.tuning.importance import most_important

SCALES = st.sampled_from([1e-30, 1e-8, 1.0, 1e8, 1e18])
ROUNDING = 1e-6


@st.composite
def edge_features(draw: st.DrawFn, rows: int | None = None) -> torch.Tensor:
    """Constant, empty, single, of rank one, tiny or huge, with NaN or infinity somewhere."""
    n = draw(st.integers(0, 12)) if rows is None else rows
    d = draw(st.integers(0, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randn(
        n, d, generator=generator, dtype=draw(st.sampled_from([torch.float32, torch.float64]))
    )
    kind = draw(st.sampled_from(["random", "random", "zeros", "constant", "rank one", "planted"]))
    if kind == "zeros":
        x = torch.zeros_like(x)
    elif kind == "constant":
        x = torch.ones_like(x)
    elif kind == "rank one":
        x = x[:, :1] * torch.ones_like(x)
    elif kind == "planted" and x.numel():
        x.view(-1)[draw(st.integers(0, x.numel() - 1))] = draw(
            st.sampled_from([math.nan, math.inf, -math.inf])
        )
    return x * draw(SCALES)


def labels_of(draw: st.DrawFn, n: int, classes: int) -> torch.Tensor:
    return torch.tensor(draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))).long()


@st.composite
def labelled(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    features = draw(edge_features())
    return features, labels_of(draw, len(features), draw(st.integers(1, 3)))


@st.composite
def classified(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    logits = draw(edge_features())
    return logits, labels_of(draw, len(logits), max(1, logits.shape[1]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    x = draw(edge_features())
    return x, draw(edge_features(draw(st.sampled_from([None, len(x)]))))


def check(score, low, high, *arguments, **options):
    """The score lies in its range, or is refused in words; it warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            value = float(score(*arguments, **options))
        except ValueError as error:
            assert str(error).strip()
            return
    assert math.isfinite(value), score.__name__
    slack = ROUNDING * max(1.0, abs(value))
    assert low - slack <= value <= high + slack, (score.__name__, value)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("score", "low", "high", "inputs"),
    [
        (log_me, -math.inf, math.inf, labelled()),
        (leep, -math.inf, 0, labelled()),
        (h_score, 0, 2, labelled()),
        (nearest_centroid_accuracy, 0, 1, labelled()),
        (probe_accuracy, 0, 1, labelled()),
        (calibration_error, 0, 1, classified()),
        (fit_temperature, 1e-6, math.inf, classified()),
        (frechet_distance, 0, math.inf, pairs()),
        (mmd, -math.inf, math.inf, pairs()),
        (linear_cka, -math.inf, 1, pairs()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_scores_are_right_or_refused(score, low, high, inputs):
    seeded = {"seed": 0} if score in (nearest_centroid_accuracy, probe_accuracy) else {}

    @fuzz
    @given(inputs)
    def run(two):
        check(score, low, high, *two, **seeded)

    run()


@fuzz
@given(edge_features(), st.floats(0, 1))
def test_the_most_important_share(values, share):
    try:
        (mask,) = most_important({"w": values}, share=share).values()
    except ValueError as error:
        assert str(error)
        return
    assert mask.shape == values.shape and mask.sum() == max(1, round(share * values.numel()))
