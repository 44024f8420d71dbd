"""Heads trained on frozen features: the same number of steps for all, the rest by validation."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn.functional import cross_entropy

from tlcourse.advice.tasks import make_task
from tlcourse.datasets import few
from tlcourse.modes import evaluating
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.features import extract_features
from tlcourse.runtime import device
from tlcourse.shapes import Data, OtherData
from tlcourse.tuning.optim import cosine
from tlcourse.tuning.training import Evaluation, evaluate

CHECK_EVERY = 10  # steps between two looks at validation


@dataclass(frozen=True)
class FeatureTask:
    """Frozen features (N, D) and labels (N,), to train on, to choose by and to test on.

    ``test_groups`` are those of ``Task``.
    """

    train: Data
    validation: OtherData
    test: tuple[torch.Tensor, torch.Tensor]
    num_classes: int
    test_groups: np.ndarray

    def only(self, best: int) -> "FeatureTask":
        """The ``best`` features by the F-test on the training set, in all three parts."""
        varying = VarianceThreshold()  # the F of what never varies is 0 / 0
        chosen = make_pipeline(varying, SelectKBest(f_classif, k=best))
        chosen.fit(self.train[0].numpy(), self.train[1].numpy())
        places = torch.arange(self.train[0].shape[1])[None].numpy()
        columns = torch.from_numpy(chosen.transform(places)[0])
        train, validation, test = (
            (x[:, columns], y) for x, y in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)


@dataclass(frozen=True)
class Training:
    """A trained head, its first loss, validation accuracy as it went, and the steps it took."""

    head: nn.Module
    first_loss: float
    curve: tuple[float, ...]
    steps: int
    validation: Evaluation


def feature_task(
    dataset: str, *, per_class: int, pool: int, split: int, backbone: str, image_size: int
) -> FeatureTask:
    """Features behind the neck for a task of ``make_task``, ``per_class`` of ``pool`` to train on.

    All sizes of one split are drawn from the same ``pool`` images of each class, the smaller from
    within the larger; validation and test are the same for all.
    """
    whole = _features(dataset, pool, split, backbone, image_size)
    features, labels = whole.train
    rows = torch.from_numpy(few(labels.numpy(), per_class, seed=split))
    return replace(whole, train=(features[rows], labels[rows]))


@lru_cache(maxsize=1)
def _features(dataset: str, pool: int, split: int, backbone: str, image_size: int) -> FeatureTask:
    task = make_task(dataset, per_class=pool, image_size=image_size, seed=split)
    network = load_backbone(backbone)
    train, validation, test = (
        (extract_features(network, images), labels)
        for images, labels in (task.train, task.validation, task.test["plain"])
    )
    return FeatureTask(train, validation, test, task.num_classes, task.test_groups)


def train_head(
    head: nn.Module,
    train: Data,
    validation: OtherData,
    *,
    lr: float,
    weight_decay: float,
    steps: int,
    batch_size: int,
    seed: int,
    patience: int | None = None,
) -> Training:
    """AdamW on a falling rate for exactly ``steps`` steps, whatever the head and the data.

    Every ten steps it looks at validation. With ``patience`` it stops after so many looks in a row
    without a higher accuracy or, at the same one, a lower loss, and takes the best weights back;
    without, nothing is chosen.
    """
    head.to(device())
    features, labels = (part.to(device()) for part in train)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout has no generator of its own
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    schedule = cosine(optimizer, steps)
    with evaluating(head), torch.inference_mode():
        first_loss = cross_entropy(head(features), labels).item()
    curve: list[float] = []
    best, waited, kept = (-1.0, 0.0), 0, {}
    for step in range(1, steps + 1):
        batch = torch.randperm(len(features), generator=generator)[:batch_size]
        loss = cross_entropy(head.train()(features[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % CHECK_EVERY == 0:
            score = evaluate(head, validation)
            curve.append(score.accuracy)
            if score.rank > best:
                best, waited = score.rank, 0
                kept = {name: tensor.clone() for name, tensor in head.state_dict().items()}
            else:
                waited += 1
            if patience is not None and waited >= patience:
                break
    if patience is not None:
        head.load_state_dict(kept)
    head.eval()
    return Training(head, first_loss, tuple(curve), step, evaluate(head, validation))
