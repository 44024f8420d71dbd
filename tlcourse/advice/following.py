"""Following a strategy: its rate is chosen on validation, then it is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pandas as pd

from tlcourse.advice.rates import train_at_best
from tlcourse.advice.strategies import TUNING_STEPS, Strategy
from tlcourse.advice.strategy_training import Trained, start, train
from tlcourse.networks.backbones import Backbone
from tlcourse.networks.features import extract_features
from tlcourse.shapes import Data, OtherData
from tlcourse.tuning.probing import as_linear, fit_probe
from tlcourse.tuning.training import evaluate


def follow(
    backbone: Backbone,
    strategy: Strategy,
    train_data: Data,
    validation_data: OtherData,
    *,
    num_classes: int,
    steps: float,
    seed: int,
    cache: Literal["default"] | None = "default",
    checkpoint: Path | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> Trained:
    """What the record has of a strategy, on other images: choose its rate, then train.

    A strategy without phases is a logistic regression on the frozen last features, whose penalty is
    chosen on validation; its history has one row.

    Parameters
    ----------
    backbone, strategy, train_data, num_classes, steps, seed, cache
        As for ``train``.
    validation_data : pair of tensors
        Images and labels by which rate, epoch and penalty are chosen.
    checkpoint : Path, optional
        A folder in which every training keeps its epochs; an interrupted call goes on from there.
    on_epoch : callable, optional
        Gets the history of the full training after each of its epochs.
    """
    if not strategy.lrs:
        network = start(backbone, strategy, num_classes=num_classes, seed=seed)
        return _fit_head(network, train_data, validation_data, cache)

    def train_at(lr: float, steps: float, validate: bool) -> Trained:
        return train(
            backbone,
            strategy,
            train_data,
            validation_data if validate else None,
            lr=lr,
            num_classes=num_classes,
            steps=steps,
            seed=seed,
            cache=cache,
            checkpoint=checkpoint and checkpoint / f"{lr:g} {'full' if validate else 'short'}",
            on_epoch=on_epoch if validate else None,
        )

    return train_at_best(
        train_at,
        validation_data,
        strategy.lrs,
        steps=steps,
        tuning_steps=TUNING_STEPS,
        num_classes=num_classes,
    ).trained


def _fit_head(
    network: Backbone,
    train_data: Data,
    validation_data: OtherData,
    cache: Literal["default"] | None,
) -> Trained:
    features = [
        (extract_features(network, images, cache=cache), labels)
        for images, labels in (train_data, validation_data)
    ]
    data = ((x.numpy(), y.numpy()) for x, y in features)
    probe = fit_probe(*data, intercept=network.head.bias is not None)
    network.head.load_state_dict(as_linear(probe.classifier).state_dict())
    row: dict[str, float] = {"epoch": 0, "phase": 0, "best": True}
    for name, part in zip(("train", "validation"), features, strict=True):
        row[f"{name}_loss"], row[f"{name}_accuracy"] = evaluate(network.head, part)
    return Trained(network, pd.DataFrame([row]))
