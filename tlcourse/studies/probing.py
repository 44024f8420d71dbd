"""Logistic regression on frozen features: the stage and its penalty are chosen on validation."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone
from tlcourse.runtime import device
from tlcourse.shapes import Images

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)  # scikit-learn's C, the inverse of the penalty
Arrays = tuple[np.ndarray, np.ndarray]


class Probe(NamedTuple):
    """A classifier that was chosen, its C, and its accuracy and log loss on validation."""

    classifier: Pipeline
    c: float
    accuracy: float
    loss: float


def pooled_stages(
    backbone: Backbone, images: Images, *, batch_size: int = 32
) -> dict[str, np.ndarray]:
    """The mean over the map of every stage before the head, (N, channels) each, in one pass."""
    backbone.to(device()).to(memory_format=torch.channels_last)
    pooled: dict[str, list[np.ndarray]] = {stage: [] for stage in backbone.stage_names[:-1]}
    with evaluating(backbone), torch.inference_mode():
        for batch in images.split(batch_size):
            outputs = backbone.stage_outputs(batch.to(device()))
            for stage, kept in pooled.items():
                kept.append(
                    outputs[stage].flatten(2).mean(2).cpu().numpy()
                    if outputs[stage].ndim == 4
                    else outputs[stage].cpu().numpy()
                )
    return {stage: np.concatenate(kept) for stage, kept in pooled.items()}


def fit_probe(train: Arrays, validation: Arrays) -> Probe:
    """Standardised, L2-penalised logistic regression; C is the best on validation.

    Best is the highest accuracy, then the lowest log loss.
    """
    probes = []
    for c in PENALTIES:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
        classifier.fit(*train)
        features, labels = validation
        loss = log_loss(labels, classifier.predict_proba(features), labels=classifier.classes_)
        probes.append(Probe(classifier, c, classifier.score(features, labels), loss))
    return max(probes, key=lambda probe: (probe.accuracy, -probe.loss))
