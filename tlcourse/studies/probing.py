"""Logistic regression on frozen features: the stage and its penalty are chosen on validation."""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tlcourse.runtime import one_blas_thread

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)  # scikit-learn's C, the inverse of the penalty
Arrays = tuple[np.ndarray, np.ndarray]


class Probe(NamedTuple):
    """A classifier that was chosen, its C, and its accuracy and log loss on validation."""

    classifier: Pipeline
    c: float
    accuracy: float
    loss: float


def fit_probe(train: Arrays, validation: Arrays) -> Probe:
    """Standardised, L2-penalised logistic regression; C is the best on validation.

    Best is the highest accuracy, then the lowest log loss.
    """
    features, labels = validation
    probes = []
    with one_blas_thread():
        for c in PENALTIES:
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
            classifier.fit(*train)
            loss = log_loss(labels, classifier.predict_proba(features), labels=classifier.classes_)
            probes.append(Probe(classifier, c, classifier.score(features, labels), loss))
    return max(probes, key=lambda probe: (probe.accuracy, -probe.loss))
