"""Logistic regression on frozen features: the stage and its penalty are chosen on validation."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone
from tlcourse.networks.engine import engine_of
from tlcourse.networks.feature_cache import prefix_key
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
    """The mean over the map of every stage before the head, (N, channels) each, in one pass.

    On a CPU by ONNX Runtime, where the images are many enough to pay for the export.
    """
    backbone.to(device()).to(memory_format=torch.channels_last)
    pooled = _Pooled(backbone)
    engine = engine_of(pooled, images, f"pooled {prefix_key(backbone, pooled.stages[-1])}")
    with evaluating(backbone), torch.inference_mode():
        means = torch.cat([engine.run(batch) for batch in images.split(batch_size)]).numpy()
        widths = [mean.shape[1] for mean in pooled.means(images[:1].to(device()))]
    parts = np.split(means, np.cumsum(widths)[:-1], axis=1)
    return dict(zip(pooled.stages, parts, strict=True))


class _Pooled(nn.Module):
    """The pooled maps of all stages side by side, as the module that an engine takes."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.stages = backbone.stage_names[:-1]

    def means(self, images: Tensor) -> list[Tensor]:
        outputs = self.backbone.stage_outputs(images)
        maps = (outputs[stage] for stage in self.stages)
        return [x.flatten(2).mean(2) if x.ndim == 4 else x for x in maps]

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat(self.means(images), dim=1)


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
