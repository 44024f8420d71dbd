"""Transferability: how well features will serve a task, estimated without training the network.

All scores take what one pass of the pretrained network gave: features (N, D) or logits (N, Z) of
the source's classes, and labels int64 (N,) of the new task. Higher is better, but for the distance.
"""

import warnings

import numpy as np
import torch
from jaxtyping import Float
from sklearn.covariance import ledoit_wolf
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from tlcourse.diagnosis.grouped_probe import FOLDS, linear_classifier
from tlcourse.diagnosis.samples import check_finite, check_samples
from tlcourse.runtime import one_blas_thread
from tlcourse.shapes import Features, Labels, Logits

ITERATIONS = 200
TOLERANCE = 1e-6


def log_me(features: Features, labels: Labels) -> float:
    """Log of the maximum evidence, in nats per image and class.

    The evidence of a linear model of each class's indicator, with a prior on its weights (precision
    α) and noise (precision β) that make the labels most likely. The directions in which the
    features do not vary count, too: without their part, (D − k)/2 · ln α, the score is wrong
    wherever D > N. Raises ValueError for inputs that do not fit.

    References
    ----------
    You et al. 2021, LogME: Practical Assessment of Pre-trained Models

    Examples
    --------
    >>> labels = torch.arange(20) % 2
    >>> noise = torch.rand(20, 3)
    >>> log_me(labels[:, None] + 0.1 * noise, labels) > log_me(noise, labels)
    True
    """
    x, y = _checked(features, labels)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    if not s.any():  # features that are 0 say as much as none: what is left is noise
        u, s = u[:, :0], s[:0]
    s = s / s.max(initial=1e-300)  # α takes up any scale of the features
    return float(np.mean([_log_evidence(u, s**2, (y == c).astype(float)) for c in np.unique(y)]))


def _log_evidence(u: np.ndarray, spectrum: np.ndarray, y: np.ndarray) -> float:
    """Per image, of targets y (N,); ``u`` and ``spectrum`` are of the features' Gram matrix."""
    n = len(y)
    along = (u.T @ y) ** 2
    beyond = max(y @ y - along.sum(), 0.0)  # the part of y that no weights can reach
    alpha = beta = 1.0
    for _ in range(ITERATIONS):  # MacKay's fixed point
        ratio = beta * spectrum / (alpha + beta * spectrum)
        gamma = ratio.sum()
        squared_weights = (spectrum * along / (spectrum + alpha / beta) ** 2).sum()
        squared_error = ((1 - ratio) ** 2 * along).sum() + beyond
        noise = max(n - gamma, 1e-12) / max(squared_error, 1e-12)
        new = gamma / max(squared_weights, 1e-12), noise
        settled = np.allclose((alpha, beta), new, rtol=TOLERANCE)
        alpha, beta = new
        if settled:
            break
    # y is normal with covariance I/β + F Fᵀ/α: its eigenvalues are those of F Fᵀ, or none.
    variances = 1 / beta + spectrum / alpha
    log_det = np.log(variances).sum() + (n - len(spectrum)) * np.log(1 / beta)
    distance = (along / variances).sum() + beta * beyond
    return float(-(n * np.log(2 * np.pi) + log_det + distance) / 2 / n)


def leep(source_logits: Logits, labels: Labels) -> float:
    """Mean log-likelihood of the labels, in nats, read off the source's classes.

    Each source class predicts the new classes with which it was seen. A source class that is never
    seen (probability 0 everywhere) predicts nothing, rather than NaN. Raises ValueError for inputs
    that do not fit.

    References
    ----------
    Nguyen et al. 2020, LEEP: A New Measure to Evaluate Transferability

    Examples
    --------
    >>> sure_of_pairs = 99.0 * torch.eye(4)[torch.tensor([0, 1, 2, 3])]
    >>> round(leep(sure_of_pairs, torch.tensor([0, 0, 1, 1])), 4) + 0  # each source class tells
    0.0
    """
    _checked(source_logits, labels)
    theta = source_logits.double().softmax(dim=1)
    indicator = torch.nn.functional.one_hot(labels).double()
    joint = indicator.T @ theta / len(theta)  # (classes, source classes)
    seen = joint.sum(dim=0) > 0
    conditional = joint[:, seen] / joint[:, seen].sum(dim=0)
    likelihood = (theta[:, seen] @ conditional.T).gather(1, labels[:, None])
    return likelihood.log().mean().item()


def h_score(features: Features, labels: Labels) -> float:
    """Variance between the classes in units of the whole, tr(Σ⁻¹ Σ_between).

    Σ is shrunk as by Ledoit and Wolf: unregularised, the score is C − 1, its maximum, for any
    labels as soon as D ≥ N. Raises ValueError for inputs that do not fit.

    References
    ----------
    Bao et al. 2019, An Information-Theoretic Approach to Transferability;
    Ibrahim et al. 2021, Newer is not always better

    Examples
    --------
    >>> labels = torch.arange(20) % 2
    >>> noise = torch.rand(20, 3)
    >>> 0 <= h_score(noise, labels) < h_score(labels[:, None] + noise, labels) < 1
    True
    """
    x, y = _checked(features, labels)
    covariance, shrinkage = ledoit_wolf(x)
    means = np.stack([x[y == c].mean(axis=0) for c in y]) - x.mean(axis=0)
    between = means.T @ means / len(x)
    try:
        ratio = np.linalg.solve(covariance, between)
    except np.linalg.LinAlgError:  # no variance in some direction, within or between classes
        ratio = np.linalg.pinv(covariance, hermitian=True) @ between
    return float((1 - shrinkage) * np.trace(ratio))


def nearest_centroid_accuracy(features: Features, labels: Labels, *, seed: int) -> float:
    """Cross-validated accuracy of naming the class whose mean feature is nearest.

    ``seed`` deals the folds. Raises ValueError for inputs that do not fit, for equal features
    and for a class of one image.

    Examples
    --------
    >>> labels = torch.arange(20) % 2
    >>> nearest_centroid_accuracy(labels[:, None] + 0.1 * torch.rand(20, 3), labels, seed=0)
    1.0
    """
    if features.ndim == 2 and len(features) and (features == features[0]).all():
        raise ValueError("the features are the same for every image; no centroid is nearer")
    return _cross_validated(NearestCentroid(), features, labels, seed)


def probe_accuracy(features: Features, labels: Labels, *, seed: int) -> float:
    """Cross-validated accuracy of a linear classifier on standardised features.

    ``seed`` deals the folds. Raises ValueError for inputs that do not fit and for a class of one
    image.

    Examples
    --------
    >>> labels = torch.arange(20) % 2
    >>> probe_accuracy(labels[:, None] + 0.1 * torch.rand(20, 3), labels, seed=0)
    1.0
    """
    return _cross_validated(linear_classifier(), features, labels, seed)


def frechet_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """Squared Fréchet distance between normal distributions fitted to x (N, D) and y (M, D).

    |μx − μy|² + tr(Σx + Σy − 2 (Σx Σy)^½), in squared units of the features. Too large for few
    images: compare only samples of equal sizes. Raises ValueError for fewer than two images, for
    features of different lengths and for such that are not finite.

    References
    ----------
    Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule

    Examples
    --------
    >>> x = torch.rand(10, 3)
    >>> round(frechet_distance(x, x + 2), 3)  # three times 2²
    12.0
    """
    check_samples(x, y)
    a, b = ((t.double() - t.double().mean(0)) / (len(t) - 1) ** 0.5 for t in (x, y))
    # Σx = aᵀa and Σy = bᵀb, so the root of ΣxΣy has the singular values of a bᵀ: no D × D root.
    cross = torch.linalg.svdvals(a @ b.T).sum()
    shift = (x.double().mean(0) - y.double().mean(0)).square().sum()
    distance = shift + a.square().sum() + b.square().sum() - 2 * cross
    return max(distance.item(), 0.0)  # rounding may lead below


def _cross_validated(model: object, features: Tensor, labels: Tensor, seed: int) -> float:
    x, y = _checked(features, labels)
    smallest = np.bincount(y)[np.unique(y)].min()
    if smallest < 2:
        raise ValueError("a class has one image; cross-validation needs 2 or more of each")
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    with warnings.catch_warnings(), one_blas_thread():
        # After ReLU some features are 0 in every image of a class; that is no fault.
        warnings.filterwarnings("ignore", message=".*zero standard deviation")
        warnings.filterwarnings("ignore", message="invalid value encountered in divide")
        scores = cross_val_score(make_pipeline(StandardScaler(), model), x, y, cv=folds)
    return float(scores.mean())


def _checked(features: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    fit = features.ndim == 2 and features.shape[1] > 0 and len(features) == len(labels)
    if not fit or len(labels.unique()) < 2:
        raise ValueError(
            f"features {tuple(features.shape)} and {len(labels)} labels of "
            f"{len(labels.unique())} classes; expected (N, D) with D > 0, N labels and 2 classes "
            "or more"
        )
    check_finite("the features", features)
    return features.double().numpy(), labels.numpy()
