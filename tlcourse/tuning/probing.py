"""Logistic regression on frozen features, its penalty chosen on validation; and as a layer."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from tlcourse.runtime import one_blas_thread
from tlcourse.tuning.training import Evaluation

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)  # scikit-learn's C, the inverse of the penalty
Arrays = tuple[np.ndarray, np.ndarray]


class Probe(NamedTuple):
    """A classifier that was chosen, its C, and how it does on validation."""

    classifier: Pipeline
    c: float
    validation: Evaluation


def fit_probe(train: Arrays, validation: Arrays, *, intercept: bool = True) -> Probe:
    """Standardised, L2-penalised logistic regression; C is the best on validation.

    Best is the highest accuracy, then the lowest log loss. Without ``intercept`` features are
    scaled and not centred: for a layer that has no bias.
    """
    features, labels = validation
    probes = []
    with one_blas_thread():
        for c in PENALTIES:
            classifier = make_pipeline(
                StandardScaler(with_mean=intercept),
                LogisticRegression(C=c, max_iter=1000, fit_intercept=intercept),
            )
            classifier.fit(*train)
            loss = log_loss(labels, classifier.predict_proba(features), labels=classifier.classes_)
            score = Evaluation(float(loss), float(classifier.score(features, labels)))
            probes.append(Probe(classifier, c, score))
    return max(probes, key=lambda probe: probe.validation.rank)


def as_linear(classifier: Pipeline) -> nn.Linear:
    """The layer that gives the same probabilities, from features that are not standardised.

    With two classes scikit-learn has one logit z for the second; the layer's are -z/2 and z/2.

    Parameters
    ----------
    classifier : Pipeline
        From ``fit_probe``.

    Examples
    --------
    >>> data = np.eye(3), np.arange(3)
    >>> as_linear(fit_probe(data, data).classifier)
    Linear(in_features=3, out_features=3, bias=True)
    """
    scaler, regression = classifier[0], classifier[-1]
    parts = {"weight": regression.coef_ / scaler.scale_}
    if scaler.with_mean:
        parts["bias"] = regression.intercept_ - parts["weight"] @ scaler.mean_
    if len(regression.coef_) == 1:
        parts = {name: np.concatenate([-part, part]) / 2 for name, part in parts.items()}
    outputs, inputs = parts["weight"].shape
    layer = nn.Linear(inputs, outputs, bias=scaler.with_mean)
    layer.load_state_dict({name: torch.from_numpy(part) for name, part in parts.items()})
    return layer
