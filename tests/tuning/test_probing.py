"""Logistic regression as a layer, against scikit-learn's own probabilities."""

import numpy as np
import pytest
import torch

from tlcourse.tuning import probing
from tlcourse.tuning.probing import as_linear, fit_probe


def split(classes: int, *, images: int = 60, dim: int = 7, seed: int = 0):
    """Features on scales from 1 to 1,000, off their origin, and one that is constant."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    features = generator.normal(size=(images, dim)) + 3 * np.eye(classes, dim)[labels]
    features = (features + 2) * np.logspace(0, 3, dim)
    features[:, dim // 2] = 0.37
    return features.astype(np.float32), labels


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_layer_gives_the_probabilities_of_the_regression(classes, intercept):
    probe = fit_probe(split(classes), split(classes, seed=1), intercept=intercept)
    layer = as_linear(probe.classifier)
    assert (layer.bias is not None) == intercept
    features, _ = split(classes, seed=2)
    with torch.inference_mode():
        found = layer(torch.from_numpy(features)).softmax(1).numpy()
    expected = probe.classifier.predict_proba(features)
    assert expected.std() > 0.1  # they say something
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_probes_penalty_is_the_best_on_validation(monkeypatch):
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.normal(size=(60, 200)) + labels[:, None] * (np.arange(200) < 3) * 2
    split = (features[:20], labels[:20]), (features[20:], labels[20:])
    chosen = fit_probe(*split)
    for c in probing.PENALTIES:
        monkeypatch.setattr(probing, "PENALTIES", (c,))
        alone = fit_probe(*split)
        assert alone.validation.rank <= chosen.validation.rank
