"""Scores against their definitions, computed directly and slowly, and against scipy and sklearn."""

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats
import torch

from tlcourse.diagnosis.transferability import (
    frechet_distance,
    h_score,
    leep,
    log_me,
    nearest_centroid_accuracy,
    probe_accuracy,
)


def task(n: int, d: int, *, separation: float, classes: int = 3, seed: int = 0):
    """Features of classes whose means lie ``separation`` standard deviations from the middle."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    means = torch.randn(classes, d, generator=generator)
    noise = torch.randn(n, d, generator=generator)
    return noise + separation * means[labels], labels


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 50)])  # also more features than images
def test_log_me_is_the_largest_evidence_that_scipy_finds(n, d):
    features, labels = task(n, d, separation=0.5)
    gram = (features @ features.T).double().numpy()

    def evidence(y: np.ndarray) -> float:
        def negative(log_precisions: np.ndarray) -> float:
            alpha, beta = np.exp(log_precisions)
            covariance = np.eye(n) / beta + gram / alpha
            return -scipy.stats.multivariate_normal(np.zeros(n), covariance).logpdf(y)

        starts = [(-2, 2), (2, 2), (5, 1)]
        found = [scipy.optimize.minimize(negative, s, method="Nelder-Mead").fun for s in starts]
        return -min(found) / n

    slow = np.mean([evidence((labels == c).double().numpy()) for c in range(3)])
    assert log_me(features, labels) == pytest.approx(slow, abs=1e-3)


def test_leep_is_its_definition_also_with_a_source_class_that_is_never_seen():
    logits = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    logits[:, 3] = -1e9  # softmax gives it exactly 0
    labels = torch.arange(12) % 3
    theta = logits.double().softmax(1)
    total = 0.0
    for i in range(12):
        p = 0.0
        for z in range(3):
            joint = sum(theta[j, z] for j in range(12) if labels[j] == labels[i]) / 12
            p += joint / (theta[:, z].sum() / 12) * theta[i, z]
        total += float(torch.log(p))
    assert leep(logits, labels) == pytest.approx(total / 12)


def test_h_score_is_its_definition_with_the_shrunk_covariance():
    from sklearn.covariance import LedoitWolf

    features, labels = task(90, 6, separation=1)
    x, y = features.double().numpy(), labels.numpy()
    estimate = LedoitWolf().fit(x)
    means = np.array([x[y == y[i]].mean(0) for i in range(len(x))])
    between = np.cov(means.T, bias=True)
    slow = np.trace(np.linalg.inv(estimate.covariance_) @ between) * (1 - estimate.shrinkage_)
    assert h_score(features, labels) == pytest.approx(slow)
    plain = np.trace(np.linalg.inv(np.cov(x.T, bias=True)) @ between)
    assert h_score(features, labels) == pytest.approx(plain, rel=0.1)  # many images: little shrunk


@pytest.mark.parametrize("score", [log_me, h_score, lambda f, y: leep(4 * f[:, :5], y)])
@pytest.mark.parametrize(("n", "d"), [(120, 10), (60, 200)])
def test_scores_rise_with_the_separation_of_the_classes(score, n, d):
    values = [score(*task(n, d, separation=s)) for s in (0, 0.3, 1, 3)]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_h_score_does_not_saturate_with_more_features_than_images():
    features, labels = task(50, 200, separation=0)
    assert h_score(features, labels) < 1  # unregularised it is C − 1 = 2, for random labels


def test_accuracies_of_separable_classes_and_of_random_labels():
    features, labels = task(150, 20, separation=3)
    shuffled = labels[torch.randperm(150, generator=torch.Generator().manual_seed(1))]
    for accuracy in (nearest_centroid_accuracy, probe_accuracy):
        assert accuracy(features, labels, seed=0) > 0.97
        assert 0.2 < accuracy(features, shuffled, seed=0) < 0.47


def test_two_images_a_class_are_enough_for_an_accuracy_and_one_is_not():
    features = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    assert nearest_centroid_accuracy(features, torch.tensor([0, 0, 1, 1]), seed=0) == 1
    with pytest.raises(ValueError, match="a class has one image"):
        nearest_centroid_accuracy(features, torch.tensor([0, 0, 0, 1]), seed=0)


def test_frechet_distance_is_that_by_the_matrix_root():
    x, _ = task(40, 6, separation=1)
    y = 2 * task(30, 6, separation=0, seed=1)[0] + 1
    a, b = x.double().numpy(), y.double().numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    slow = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(slow)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    shift = torch.full((6,), 2.0)
    assert frechet_distance(x, x + shift) == pytest.approx(24, rel=1e-5)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("x", "y"),
    [((1, 3), (4, 3)), ((4, 3), (1, 3)), ((4, 3, 2), (4, 3, 2)), ((4, 3), (4, 2))],
)
def test_frechet_distance_names_samples_that_it_cannot_compare(x, y):
    with pytest.raises(ValueError, match="expected \\(N, D\\) and \\(M, D\\)"):
        frechet_distance(torch.rand(x), torch.rand(y))


@pytest.mark.parametrize("d", [1, 3, 50])
def test_features_that_say_nothing_and_those_that_say_all(d):
    labels = torch.tensor([0, 1, 1, 1] * 5)
    # Each indicator is noise about 0, of variance 1/4 or 3/4: the largest likelihood of a normal.
    noise = [scipy.stats.norm(0, v**0.5).logpdf([1] * k + [0] * (20 - k)).mean()
             for k, v in ((5, 0.25), (15, 0.75))]  # fmt: skip
    assert log_me(torch.zeros(20, d), labels) == pytest.approx(np.mean(noise))
    # One and the same value may bear the mean of the indicators, so that it says more.
    assert log_me(torch.full((20, d), 2.0), labels) > np.mean(noise) + 0.1
    for value in (0.0, 2.0):
        same = torch.full((20, d), value)
        assert h_score(same, labels) == 0
        assert probe_accuracy(same, labels, seed=0) == 0.75
        with pytest.raises(ValueError, match="the same for every image"):
            nearest_centroid_accuracy(same, labels, seed=0)
    halves = torch.arange(20) % 2  # for which the covariance is singular, and not shrunk
    assert h_score(torch.eye(2).repeat(1, d)[halves], halves) == pytest.approx(1)  # C - 1


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (torch.zeros(4, 2, 2), torch.tensor([0, 1, 0, 1])),
        (torch.zeros(4, 2), torch.tensor([0, 1, 0])),
        (torch.zeros(4, 0), torch.tensor([0, 1, 0, 1])),
        (torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)),
        (torch.full((4, 2), torch.nan), torch.tensor([0, 1, 0, 1])),
    ],
)
def test_inputs_that_do_not_fit_are_named(features, labels):
    with pytest.raises(ValueError, match="expected|finite"):
        log_me(features, labels)
    with pytest.raises(ValueError, match="expected|finite"):
        probe_accuracy(features, labels, seed=0)
