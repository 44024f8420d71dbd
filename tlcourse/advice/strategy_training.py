"""Training by a strategy at a rate: from a pretrained network to one that was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd
import torch
from torch import nn
from torch.optim import AdamW

from tlcourse.advice.strategies import (
    BATCH_SIZE,
    EPOCHS,
    WEIGHT_DECAY,
    Phase,
    Strategy,
    first_stages,
)
from tlcourse.networks.backbones import OWN, Backbone, load_backbone, replace_head
from tlcourse.networks.features import extract_features
from tlcourse.networks.own_module import drawn_anew
from tlcourse.runtime import seed_everything
from tlcourse.shapes import Data, OtherData
from tlcourse.tuning.batchnorm import has_batchnorm, set_policy
from tlcourse.tuning.freezing import freeze, unfreeze
from tlcourse.tuning.param_groups import by_depth, param_groups, pretrained_factor
from tlcourse.tuning.training import epoch_length, fit
from tlcourse.tuning.unfreezing import GradualUnfreezing, one_by_one

VIEWS = 8  # augmented copies of an image behind frozen stages, computed once


class Trained(NamedTuple):
    """A trained network, and one row for each of its epochs, with ``phase`` and ``steps`` so far.

    The network has the weights of the best epoch of the last phase.
    """

    network: Backbone
    history: pd.DataFrame


def train(
    backbone: Backbone,
    strategy: Strategy,
    train_data: Data,
    validation_data: OtherData | None,
    *,
    lr: float,
    num_classes: int,
    steps: float,
    seed: int,
    batch_size: int = BATCH_SIZE,
    augment: nn.Module | None = None,
    cache: Literal["default"] | None = "default",
    checkpoint: Path | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> Trained:
    """Follow a strategy's phases at a rate, from a pretrained network that stays as it is.

    What is frozen through a phase runs once, before it, over each image once, and not at all where
    the cache of features has it, from another phase, another strategy or ``measure``.

    Parameters
    ----------
    backbone : Backbone
        Whose weights are transferred, as far as the strategy keeps them.
    strategy : Strategy
        See ``STRATEGIES``.
    train_data, validation_data : pair of tensors
        Images, uint8 (N, 3, H, W), and labels, int64 (N,); without validation (None) the last
        weights are kept.
    lr : float
        What the strategy's ``phases`` make of it.
    num_classes : int
        Logits of the new head.
    steps : float
        Of the whole training; an epoch is a tenth of them, see ``fit`` and ``enough_steps``.
    seed, batch_size : int
        The seed is that of new weights, order and augmentation.
    augment : Module, optional
        Applied to each training image anew; what is frozen through a phase sees ``VIEWS`` of each.
    cache : "default" or None
        Where what frozen stages gave is kept and found, see ``extract_features``; None computes it
        anew, as a stopwatch needs.
    checkpoint : Path, optional
        A folder in which every phase keeps its epochs; an interrupted training goes on from there.
    on_epoch : callable, optional
        Gets the history so far after each epoch.

    Returns
    -------
    Trained
        The network and its history.

    Raises
    ------
    ValueError
        For a strategy without phases, see ``follow``.
    """
    phases = strategy.phases(lr)
    if not phases:
        raise ValueError(f"{strategy.name} has no phases to train in; ``follow`` fits its head")
    network = start(backbone, strategy, num_classes=num_classes, seed=seed)
    seed_everything(seed)  # of augmented copies; ``fit`` seeds its epochs itself
    _, steps_an_epoch = epoch_length(len(train_data[0]), batch_size, steps / EPOCHS)
    histories: list[pd.DataFrame] = []

    def so_far(*more: pd.DataFrame) -> pd.DataFrame:
        history = pd.concat([*histories, *more], ignore_index=True)
        history["epoch"] = history.index
        history["steps"] = (history.index + 1) * steps_an_epoch
        return history

    for number, phase in enumerate(phases):
        unfreezing = _set_trainable(network, strategy, phase)
        factors = (
            by_depth(network, phase.by_depth)
            if phase.by_depth
            else pretrained_factor(network, phase.factor)
        )
        groups = param_groups(network, lr=phase.lr, weight_decay=WEIGHT_DECAY, factors=factors)
        model, inputs, held_out = _behind_frozen(
            network, phase, train_data, validation_data, augment, cache
        )
        history = fit(
            model,
            inputs,
            held_out,
            AdamW(groups, fused=True),
            epochs=phase.epochs,
            seed=seed + number,
            batch_size=batch_size,
            steps_per_epoch=steps / EPOCHS,
            augment=augment if inputs is train_data else None,
            unfreezing=unfreezing,
            checkpoint=checkpoint and checkpoint / f"phase{number}.pt",
            on_epoch=on_epoch and (lambda history: on_epoch(so_far(history))),
        )
        histories.append(history.assign(phase=number))
    return Trained(network, so_far())


def start(backbone: Backbone, strategy: Strategy, *, num_classes: int, seed: int) -> Backbone:
    """The network with which a strategy begins: a copy of what it keeps, and new weights."""
    kept = first_stages(backbone, strategy.kept)
    if backbone.name.startswith(f"{OWN}/"):
        network = drawn_anew(backbone, backbone.stage_names[len(kept) : -1], seed=seed)
        replace_head(network, num_classes, seed=seed)
    else:
        network = load_backbone(backbone.name, pretrained=False, num_classes=num_classes, seed=seed)
    network.preprocessing = backbone.preprocessing
    for stage in kept:
        network.get_submodule(stage).load_state_dict(backbone.get_submodule(stage).state_dict())
    if kept:
        network.provenance = f"{kept[0]} to {kept[-1]}: {backbone.provenance}"
    return network


def _set_trainable(network: Backbone, strategy: Strategy, phase: Phase) -> GradualUnfreezing | None:
    """Freeze what the phase freezes, and nothing else."""
    unfreeze(network)
    if has_batchnorm(network):  # other norms keep no statistics, so there is nothing to decide
        set_policy(network, strategy.batchnorm)
    if phase.gradual:
        plan = one_by_one(network)
        return GradualUnfreezing(
            network, plan, lr=phase.lr * phase.factor, weight_decay=WEIGHT_DECAY
        )
    if phase.frozen:
        freeze(network, only=first_stages(network, phase.frozen))
    return None


def _behind_frozen(
    network: Backbone,
    phase: Phase,
    train_data: Data,
    validation_data: OtherData | None,
    augment: nn.Module | None,
    cache: Literal["default"] | None,
) -> tuple[nn.Module, Data, OtherData | None]:
    """What is left to train, and its inputs: the images, or what the frozen stages make of them."""
    if phase.gradual or not phase.frozen:
        return network, train_data, validation_data
    last = first_stages(network, phase.frozen)[-1]

    def through(data: Data) -> Data:
        return extract_features(network, data[0], up_to=last, cache=cache), data[1]

    seen = train_data if augment is None else views(train_data, augment)
    return network.after(last), through(seen), validation_data and through(validation_data)


def views(data: Data, augment: nn.Module) -> OtherData:
    """``VIEWS`` augmented copies of each image: (VIEWS · N, 3, H, W), and their labels."""
    images, labels = data
    copies = [augment(image) for image in images.repeat(VIEWS, 1, 1, 1)]
    return torch.stack(copies), labels.repeat(VIEWS)
