"""Feature extraction in one call: a linear head on a frozen backbone, tested once."""

from dataclasses import dataclass

import torch
from torch import nn

from tlcourse.datasets import ImageDataset
from tlcourse.networks.backbones import Backbone
from tlcourse.networks.features import extract_features
from tlcourse.runtime import seed_everything
from tlcourse.shapes import Data, Features
from tlcourse.tuning.training import evaluate, fit

LEARNING_RATES = (1e-3, 3e-3, 1e-2)


@dataclass(frozen=True)
class LinearProbe:
    """A trained head (feature_size → classes), how it was chosen, and its test accuracy."""

    head: nn.Linear
    lr: float
    validation_accuracy: float
    test_accuracy: float


def linear_probe(
    backbone: Backbone, dataset: ImageDataset, *, image_size: int, seed: int
) -> LinearProbe:
    """Accuracy that a linear head reaches on the backbone's features, by the data set's splits.

    Parameters
    ----------
    backbone : Backbone
    dataset : ImageDataset
    image_size : int
        Side of the square images in pixels.
    seed : int
    """
    images, _ = dataset.tensors("all", image_size)
    return probe_features(extract_features(backbone, images), dataset, seed=seed)


def probe_features(
    features: Features, dataset: ImageDataset, *, seed: int, epochs: int = 30
) -> LinearProbe:
    """As ``linear_probe``, from the features (N, D) of all images, for several splits of one set.

    The learning rate is chosen on the validation split; the head is then trained anew on train
    and validation together, and tested once.

    Parameters
    ----------
    features : Tensor (N, D)
        One row for each image of the data set, in its order.
    dataset : ImageDataset
    seed : int
    epochs : int
        Of each training.

    Raises
    ------
    ValueError
        Unless there is one row an image.

    Examples
    --------
    >>> from tlcourse.datasets import load_dataset
    >>> digits = load_dataset("digits")
    >>> probe = probe_features(torch.zeros(len(digits), 4), digits, seed=0, epochs=1)
    >>> probe.head
    Linear(in_features=4, out_features=10, bias=True)
    """
    if len(features) != len(dataset):
        raise ValueError(
            f"{len(features)} rows of features for the {len(dataset)} images of {dataset.name}; "
            'extract them from dataset.tensors("all", image_size)'
        )
    labels = torch.from_numpy(dataset.labels)

    def split(*names: str) -> Data:
        rows = torch.cat([torch.from_numpy(dataset.indices(name)) for name in names])
        return features[rows], labels[rows]

    def train_head(train: Data, lr: float) -> nn.Linear:
        seed_everything(seed)
        head = nn.Linear(features.shape[1], dataset.num_classes)
        optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=0.01, fused=True)
        fit(head, train, None, optimizer, epochs=epochs, seed=seed, batch_size=128)
        return head

    train, validation = split("train"), split("validation")
    scores = {lr: evaluate(train_head(train, lr), validation) for lr in LEARNING_RATES}
    lr = max(LEARNING_RATES, key=lambda rate: scores[rate].rank)
    head = train_head(split("train", "validation"), lr)
    test_accuracy = evaluate(head, split("test")).accuracy
    return LinearProbe(head, lr, scores[lr].accuracy, test_accuracy)
