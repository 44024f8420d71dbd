"""Calibration against cases whose answer is known."""

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

from tlcourse.diagnosis.calibration import calibration_error, fit_temperature, reliability


def test_ten_answers_of_confidence_0_8_of_which_six_are_right_are_off_by_0_2():
    logits = torch.tensor([[0.8, 0.2]]).log().repeat(10, 1)
    labels = torch.tensor([0] * 6 + [1] * 4)
    assert calibration_error(logits, labels) == pytest.approx(0.2)
    (row,) = reliability(logits, labels).itertuples()
    assert (row.confidence, row.accuracy, row.images) == pytest.approx((0.8, 0.6, 10))


def test_bins_are_averaged_by_their_images():
    logits = torch.tensor([[0.95, 0.05]] * 3 + [[0.55, 0.45]]).log()
    labels = torch.tensor([0, 0, 0, 1])
    assert calibration_error(logits, labels) == pytest.approx((3 * 0.05 + 1 * 0.55) / 4)


def test_the_usual_bins_are_ten():
    logits = torch.tensor([[0.902, 0.098], [0.99, 0.01]]).log()  # of eleven, each has its own
    (row,) = reliability(logits, torch.tensor([0, 0])).itertuples()
    assert (row.confidence, row.images) == pytest.approx((0.946, 2))


def test_labels_drawn_from_the_confidence_are_calibrated_and_want_temperature_1():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 4, generator=generator)
    labels = logits.softmax(1).multinomial(1, generator=generator)[:, 0]
    assert calibration_error(logits, labels) < 0.015
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.03)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.1)


def test_the_temperature_is_the_one_that_scipy_finds():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(50, 3, generator=generator), torch.arange(50) % 3
    logits[torch.arange(50), labels] += 1.5
    logits *= 4
    targets = torch.full((50, 3), 1 / 52 / 2, dtype=torch.float64)  # Platt's, for three classes
    targets[torch.arange(50), labels] = 1 - 1 / 52
    by_scipy = minimize_scalar(
        lambda t: cross_entropy(logits.double() / t, targets).item(), bounds=(0.1, 15)
    )
    assert fit_temperature(logits, labels) == pytest.approx(by_scipy.x, rel=1e-3)


def test_few_images_that_are_all_right_do_not_make_the_model_sure_of_everything():
    logits = 5 * torch.eye(2).repeat(10, 1)
    temperature = fit_temperature(logits, torch.arange(20) % 2)
    confidence = (logits / temperature).softmax(1).max(1).values
    assert confidence.numpy() == pytest.approx(1 - 1 / 22, abs=1e-3)
