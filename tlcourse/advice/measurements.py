"""What can be measured of a data set before anything is trained: size, domain, probe, cost."""

from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from tlcourse.advice.strategies import BATCH_SIZE, EPOCHS, Strategy
from tlcourse.datasets import load_dataset
from tlcourse.diagnosis.mmd import mmd
from tlcourse.diagnosis.transferability import (
    frechet_distance,
    h_score,
    leep,
    log_me,
    nearest_centroid_accuracy,
    probe_accuracy,
)
from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.features import extract_features
from tlcourse.runtime import device, mixed_precision, seconds_of
from tlcourse.shapes import Data
from tlcourse.tuning.training import predict

# From here on a domain counts as far and a set as large. The distance lies between those of scenes
# (0.05) and of solar cells (0.12) at 64 px; the size is a convention. Advice does not use them.
FAR = 0.08
LARGE = 100
REPEATS = 3  # timed rounds, after one that warms up
SAMPLE = 600  # images for the domain distance, whose cost grows with their square


@dataclass(frozen=True)
class Costs:
    """Seconds an image takes: forward through all stages, through the first half, in training."""

    forward: float
    half: float
    training: float

    def of(self, strategy: Strategy, images: int, *, steps: int) -> float:
        """Seconds for a strategy's whole recipe on so many images, batches of 16."""
        seconds = images * self.forward if strategy.kept else 0.0
        for phase in strategy.phases:
            learning = 1.0 - {0.0: 0.0, 0.5: self.half / self.forward, 1.0: 1.0}[phase.frozen]
            seen = max(images, steps / EPOCHS * min(BATCH_SIZE, images))
            seconds += phase.epochs * seen * learning * self.training
        return seconds


@dataclass(frozen=True)
class Measured:
    """What the advisor knows of a data set.

    ``per_class`` is the mean number of training images of a class; ``distance`` the unbiased MMD²
    between the features of the course's cutouts and the training images, about 0 for pictures like
    ImageNet's; ``probe`` and ``centroid`` are cross-validated accuracies on frozen features;
    ``costs`` are this machine's, None where nobody measured them.
    """

    images: int
    classes: int
    per_class: float
    distance: float
    probe: float
    centroid: float
    costs: Costs | None = None

    @property
    def quadrant(self) -> tuple[str, str]:
        """Small or large, similar or far."""
        size = "large" if self.per_class >= LARGE else "small"
        return size, "far" if self.distance >= FAR else "similar"


def measure(train: Data, network: Backbone, *, seed: int, costs: bool = True) -> Measured:
    """Measure a training set, uint8 images (N, 3, S, S) and labels, with a pretrained network.

    Only training images are looked at: a choice made with the others in view would flatter them.
    """
    images, labels = train
    features = extract_features(network, images)
    reference, some = _samples(features, images.shape[-1], network, seed)
    classes = len(labels.unique())
    return Measured(
        images=len(images),
        classes=classes,
        per_class=len(images) / classes,
        distance=mmd(reference, some).item(),
        probe=probe_accuracy(features, labels, seed=seed),
        centroid=nearest_centroid_accuracy(features, labels, seed=seed),
        costs=measure_costs(network.name, images) if costs else None,
    )


def transfer_scores(train: Data, network: Backbone, *, seed: int) -> dict[str, float]:
    """All scores of ``transferability`` for a training set, from one pass of a pretrained network.

    ``network`` has the head of its source's classes, for LEEP. The two distances are those to the
    course's cutouts; Fréchet's is between samples of equal size.
    """
    images, labels = train
    features = extract_features(network, images)
    source_logits = predict(network.head, features)
    reference, some = _samples(features, images.shape[-1], network, seed)
    equal = min(len(reference), len(some))
    return {
        "LogME": log_me(features, labels),
        "LEEP": leep(source_logits, labels),
        "H-score": h_score(features, labels),
        "nearest centroid": nearest_centroid_accuracy(features, labels, seed=seed),
        "linear probe": probe_accuracy(features, labels, seed=seed),
        "MMD²": mmd(reference, some).item(),
        "Fréchet": frechet_distance(reference[:equal], some[:equal]),
    }


def _samples(
    features: Tensor, image_size: int, network: Backbone, seed: int
) -> tuple[Tensor, Tensor]:
    """Features of the cutouts in a drawn order, and of as many images as the distances take."""
    generator = torch.Generator().manual_seed(seed)
    cutouts, _ = load_dataset("cutouts").tensors("all", image_size)
    reference = extract_features(network, cutouts)
    some = torch.randperm(len(features), generator=generator)[:SAMPLE]
    return reference[torch.randperm(len(reference), generator=generator)], features[some]


def measure_costs(backbone: str, images: Tensor) -> Costs:
    """Time a network of that name on a batch of the images: medians of rounds, after a warm-up.

    The first half never counts as slower than the whole, whatever the noise.
    """
    batch = images[torch.arange(BATCH_SIZE) % len(images)].to(device())
    network = load_backbone(backbone, pretrained=False, num_classes=2).to(device())
    middle = network.stage_names[len(network.stage_names[:-1]) // 2 - 1]

    def step() -> None:
        network.train()
        with mixed_precision():
            loss = network(batch).square().mean()
        loss.backward()

    def forward(up_to: str) -> None:
        with torch.inference_mode(), evaluating(network), mixed_precision():
            network.features(batch, up_to=up_to)

    runs = (lambda: forward("neck"), lambda: forward(middle), step)
    _, *rounds = [[seconds_of(run) / BATCH_SIZE for run in runs] for _ in range(1 + REPEATS)]
    whole, half, training = map(median, zip(*rounds, strict=True))
    return Costs(forward=whole, half=min(half, whole), training=training)
