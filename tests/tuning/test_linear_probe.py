"""The probe against scikit-learn's logistic regression, and what it may not look at."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tlcourse.datasets import load_dataset
from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.linear_probe import linear_probe, probe_features


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def pixels(digits):
    images, _ = digits.tensors("all", 8)
    return images[:, 0].flatten(1).float() / 255


def test_it_is_as_accurate_as_logistic_regression(digits, pixels):
    probe = probe_features(pixels, digits, seed=0, epochs=100)  # raw pixels take long
    train = np.concatenate([digits.splits["train"], digits.splits["validation"]])
    test = digits.splits["test"]
    reference = LogisticRegression(max_iter=1000).fit(pixels[train], digits.labels[train])
    expected = reference.score(pixels[test], digits.labels[test])
    assert probe.test_accuracy == pytest.approx(expected, abs=0.02)
    hits = probe.head(pixels[test]).argmax(dim=1).numpy() == digits.labels[test]
    assert hits.mean() == pytest.approx(probe.test_accuracy)


def test_labels_of_the_test_split_change_nothing_but_its_score(digits, pixels):
    labels = digits.labels.copy()
    labels[digits.splits["test"]] = (labels[digits.splits["test"]] + 1) % 10
    probe = probe_features(pixels, digits, seed=0, epochs=3)
    blind = probe_features(pixels, replace(digits, labels=labels), seed=0, epochs=3)
    assert torch.equal(probe.head.weight, blind.head.weight)
    assert blind.test_accuracy < 0.1 < probe.test_accuracy


def test_one_call_does_all_and_rows_must_fit(digits, pixels):
    backbone = load_backbone("resnet18", pretrained=False, num_classes=10)
    few = {part: rows[:20] for part, rows in digits.splits.items()}
    probe = linear_probe(backbone, replace(digits, splits=few), image_size=32, seed=0)
    assert probe.head.weight.shape == (10, backbone.feature_size)
    assert 0 <= probe.test_accuracy <= 1
    with pytest.raises(ValueError, match="5 rows of features for the 1797 images of digits"):
        probe_features(pixels[:5], digits, seed=0)
