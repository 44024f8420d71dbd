"""What can be measured of a data set before anything is trained: size, domain, probes, cost."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.advice.strategies import (
    BATCH_SIZE,
    EPOCHS,
    TUNING_STEPS,
    Strategy,
    enough_steps,
    first_stages,
)
from tlcourse.datasets import load_dataset
from tlcourse.diagnosis.grouped_probe import grouped_probe
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
from tlcourse.networks.backbones import Backbone
from tlcourse.networks.features import extract_features
from tlcourse.networks.pooled import pooled_stages
from tlcourse.runtime import device, mixed_precision, seconds_of
from tlcourse.shapes import Data, Features, Images
from tlcourse.tuning.training import predict

# From here on a domain counts as far and a set as large. The distance lies between those of scenes
# (0.01) and of solar cells (0.14) at 128 px; the size is a convention. Advice does not use them.
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
        """Seconds for a strategy on so many images: the short trainings at its rates, and the long.

        The batches are of 8, and what is frozen throughout a phase runs once.
        """
        taken = enough_steps(images, steps) + len(strategy.lrs) * TUNING_STEPS
        seen = taken * min(BATCH_SIZE, images)
        seconds = images * self.forward if strategy.kept else 0.0
        for phase in strategy.phases(1.0):
            share = phase.epochs / EPOCHS * (1 - self.share(phase.frozen))
            seconds += share * seen * self.training
        return seconds

    def share(self, stages: float) -> float:
        """Share of the forward pass that the first so many stages take, linear between the two
        that were measured: the half and the whole."""
        return float(np.interp(stages, (0, 0.5, 1), (0, self.half / self.forward, 1)))


@dataclass(frozen=True)
class Measured:
    """What the advisor knows of a data set.

    ``per_class`` is the mean number of training images of a class; ``distance`` the unbiased MMD²
    between the features of the course's cutouts and the training images, about 0 for pictures like
    ImageNet's; ``probes`` are accuracies of a linear classifier on each frozen stage, from the
    input on, in folds that tear no group (NaN where none could be tested); ``untested`` the labels
    that no fold could test. ``grouped`` says whether it is known which images show one thing.
    ``costs`` are this machine's, None where nobody measured them.
    """

    images: int
    classes: int
    per_class: float
    distance: float
    probes: Mapping[str, float]
    backbone: str
    image_size: int
    grouped: bool
    untested: tuple[int, ...] = ()
    costs: Costs | None = None

    @property
    def probe(self) -> float:
        """Accuracy of the probe on the last stage, which a new head would see."""
        return list(self.probes.values())[-1]

    @property
    def quadrant(self) -> tuple[str, str]:
        """Small or large, similar or far."""
        size = "large" if self.per_class >= LARGE else "small"
        return size, "far" if self.distance >= FAR else "similar"


def measure(
    backbone: Backbone,
    data: Data,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    costs: bool = True,
) -> Measured:
    """Measure a training set with a pretrained network.

    Only training images are looked at: a choice made with the others in view would flatter them.

    Parameters
    ----------
    backbone : Backbone
        Its features are what distance and probes are measured on.
    data : pair of tensors
        Training images, uint8 (N, 3, S, S), and labels, int64 (N,).
    seed : int
        Of the folds of cross-validation and of the images drawn for the distance.
    groups : array, optional
        int64 (N,), equal where images show one animal, module or patient: no fold tears these.
        None: that is unknown, and a probe may be tested on what it has seen.
    costs : bool
        Also time a batch on this machine, which takes seconds.

    Returns
    -------
    Measured
        Size, domain distance, accuracies and costs.

    Raises
    ------
    ValueError
        For groups that are not as many as the images, and for a single class.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=2)
    >>> images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 32, 32)
    >>> measured = measure(backbone, (images, torch.arange(8) % 2), seed=0, costs=False)
    >>> measured.images, measured.per_class, measured.grouped
    (8, 4.0, False)
    """
    images, labels = data
    y, own = labels.numpy(), np.arange(len(labels))
    stages = pooled_stages(backbone, images)
    probes = {
        stage: grouped_probe(x, y, own if groups is None else groups, seed=seed)
        for stage, x in stages.items()
    }
    last = list(stages)[-1]
    features = torch.from_numpy(stages[last])
    reference, some = _samples(backbone, features, images.shape[-1], seed)
    classes = len(labels.unique())
    return Measured(
        images=len(images),
        classes=classes,
        per_class=len(images) / classes,
        distance=mmd(reference, some).item(),
        probes={stage: probe.accuracy for stage, probe in probes.items()},
        backbone=backbone.name,
        image_size=images.shape[-1],
        grouped=groups is not None,
        untested=probes[last].untested,
        costs=measure_costs(backbone, images) if costs else None,
    )


def transfer_scores(backbone: Backbone, data: Data, *, seed: int) -> dict[str, float]:
    """All scores of ``transferability`` for a training set, from one pass of a pretrained network.

    Parameters
    ----------
    backbone : Backbone
        With the head of its source's classes, for LEEP.
    data : pair of tensors
        Training images, uint8 (N, 3, S, S), and labels, int64 (N,).
    seed : int
        Of the folds of cross-validation and of the images drawn for the distances.

    Returns
    -------
    dict
        log_me, leep, h_score, nearest_centroid, linear_probe, higher is better; and the distances
        to the course's cutouts, mmd (MMD²) and frechet, the latter between samples of equal size.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, seed=0)
    >>> images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 32, 32)
    >>> scores = transfer_scores(backbone, (images, torch.arange(8) % 2), seed=0)
    >>> list(scores)
    ['log_me', 'leep', 'h_score', 'nearest_centroid', 'linear_probe', 'mmd', 'frechet']
    """
    images, labels = data
    features = extract_features(backbone, images)
    source_logits = predict(backbone.head, features)
    reference, some = _samples(backbone, features, images.shape[-1], seed)
    equal = min(len(reference), len(some))
    return {
        "log_me": log_me(features, labels),
        "leep": leep(source_logits, labels),
        "h_score": h_score(features, labels),
        "nearest_centroid": nearest_centroid_accuracy(features, labels, seed=seed),
        "linear_probe": probe_accuracy(features, labels, seed=seed),
        "mmd": mmd(reference, some).item(),
        "frechet": frechet_distance(reference[:equal], some[:equal]),
    }


def _samples(
    backbone: Backbone, features: Features, image_size: int, seed: int
) -> tuple[Float[Tensor, "r d"], Float[Tensor, "s d"]]:
    """Features of the cutouts in a drawn order, and of as many images as the distances take."""
    generator = torch.Generator().manual_seed(seed)
    cutouts, _ = load_dataset("cutouts").tensors("all", image_size)
    reference = extract_features(backbone, cutouts)
    some = torch.randperm(len(features), generator=generator)[:SAMPLE]
    return reference[torch.randperm(len(reference), generator=generator)], features[some]


def measure_costs(backbone: Backbone, images: Images) -> Costs:
    """Time a copy of a network on a batch of the images: medians of rounds, after a warm-up.

    The first half never counts as slower than the whole, whatever the noise.
    """
    batch = images[torch.arange(BATCH_SIZE) % len(images)].to(device())
    network = deepcopy(backbone).to(device())  # so that no gradient or statistic stays behind
    network.requires_grad_(True)
    middle, last = first_stages(network, 0.5)[-1], network.stage_names[-2]

    def step() -> None:
        network.train()
        with mixed_precision():
            loss = network(batch).square().mean()
        loss.backward()

    def forward(up_to: str) -> None:
        with torch.inference_mode(), evaluating(network), mixed_precision():
            network.features(batch, up_to=up_to)

    runs = (lambda: forward(last), lambda: forward(middle), step)
    _, *rounds = [[seconds_of(run) / BATCH_SIZE for run in runs] for _ in range(1 + REPEATS)]
    whole, half, training = map(median, zip(*rounds, strict=True))
    return Costs(forward=whole, half=min(half, whole), training=training)
