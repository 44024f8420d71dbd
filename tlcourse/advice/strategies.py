"""Strategies: from training anew to a new head, each a short recipe over parts of the package."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from torch import nn
from torch.optim import AdamW

from tlcourse.networks.backbones import OWN, Backbone, load_backbone, replace_head
from tlcourse.networks.features import extract_features
from tlcourse.networks.own_module import drawn_anew
from tlcourse.shapes import Data, OtherData
from tlcourse.suggestions import did_you_mean
from tlcourse.tuning.batchnorm import Policy, has_batchnorm, set_policy
from tlcourse.tuning.freezing import freeze, unfreeze
from tlcourse.tuning.param_groups import param_groups, pretrained_factor
from tlcourse.tuning.training import epoch_length, fit
from tlcourse.tuning.unfreezing import GradualUnfreezing, one_by_one

EPOCHS = 10  # validation is looked at this often, however few images there are
STEPS = 120  # at least so many in a training
BATCH_SIZE = 16
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: ``epochs`` of the 10, and what learns in them at which rate.

    ``frozen`` is the share of the stages before the head that stand still, from the input on: 0 is
    none, 1 all. ``lr`` is the head's rate, ``factor`` times it that of all other stages.
    ``gradual`` starts with the head alone and thaws one more stage each epoch.
    """

    epochs: int
    lr: float
    frozen: float = 0.0
    factor: float = 1.0
    gradual: bool = False


@dataclass(frozen=True)
class Strategy:
    """How to get from a pretrained network to a classifier of new images.

    ``kept`` is the share of the stages before the head that start from the pretrained weights, from
    the input on; the others start at random. ``batchnorm`` is the policy of the stages that learn.
    ``source`` says whose recipe it is.
    """

    name: str
    summary: str
    source: str
    phases: tuple[Phase, ...]
    kept: float = 1.0
    batchnorm: Policy = "train"


_ALL = (
    Strategy(
        "scratch",
        "nothing is transferred: all weights start at random",
        "the control of He et al. 2019 (Rethinking ImageNet pre-training)",
        (Phase(EPOCHS, lr=2e-3),),
        kept=0.0,
    ),
    Strategy(
        "extraction",
        "the pretrained stages are frozen; a linear head learns on their features",
        "Donahue et al. 2014 (DeCAF); Sharif Razavian et al. 2014",
        (Phase(EPOCHS, lr=3e-3, frozen=1.0),),
    ),
    Strategy(
        "hybrid",
        "the early half of the stages is kept and frozen, the late half starts at random",
        "Yosinski et al. 2014 (BnB and AnB); Raghu et al. 2019 (weight transfusion)",
        (Phase(EPOCHS, lr=2e-3, frozen=0.5),),
        kept=0.5,
    ),
    Strategy(
        "two_phase",
        "the head first, on frozen features; then everything, the pretrained stages ten times "
        "slower",
        "Kumar et al. 2022 (LP-FT); Chollet 2020 (Keras guide)",
        (Phase(4, lr=3e-3, frozen=1.0), Phase(6, lr=1e-3, factor=0.1)),
        batchnorm="statistics_only",
    ),
    Strategy(
        "gradual",
        "the head first; then one more stage joins at a time, the last first",
        "Howard & Ruder 2018 (ULMFiT)",
        (Phase(EPOCHS, lr=3e-3, factor=0.1, gradual=True),),
        batchnorm="statistics_only",
    ),
)
STRATEGIES = {strategy.name: strategy for strategy in _ALL}

# The course's matrix: which strategy for which quadrant of data size and domain. CS231n's notes
# differ: small and far, a linear classifier on earlier activations; large, fine-tuning throughout.
QUADRANTS = {
    ("small", "similar"): "extraction",
    ("small", "far"): "hybrid",
    ("large", "similar"): "gradual",
    ("large", "far"): "two_phase",
}
QUADRANTS_SOURCE = "this course, loosely after Karpathy's CS231n notes and Yosinski et al. 2014"


@dataclass(frozen=True)
class Trained:
    """A trained network, and one row for each of its epochs, with ``phase`` and ``steps`` so far.

    The network has the weights of the best epoch of the last phase.
    """

    network: Backbone
    history: pd.DataFrame


def strategy_named(name: str) -> Strategy:
    """A strategy by name; raises ValueError that lists them for an unknown one.

    Examples
    --------
    >>> strategy_named("hybrid").kept
    0.5
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"no strategy {name!r}; strategies are {', '.join(STRATEGIES)}"
            f"{did_you_mean(name, STRATEGIES)}"
        )
    return STRATEGIES[name]


def train(
    backbone: Backbone,
    strategy: Strategy,
    train_data: Data,
    validation_data: OtherData | None,
    *,
    num_classes: int,
    steps: int,
    seed: int,
    batch_size: int = BATCH_SIZE,
    cache: Literal["default"] | None = "default",
    checkpoint: Path | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> Trained:
    """Follow a strategy's recipe, from a pretrained network that stays as it is.

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
    num_classes : int
        Logits of the new head.
    steps : int
        An epoch is a pass over the images; where these are so few that ten passes are fewer than
        ``steps`` steps, it is as many passes as make a tenth of them.
    seed, batch_size : int
        The seed is that of new weights, order and augmentation.
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
    """
    network = start(backbone, strategy, num_classes=num_classes, seed=seed)
    _, steps_an_epoch = epoch_length(len(train_data[0]), batch_size, steps / EPOCHS)
    histories: list[pd.DataFrame] = []

    def so_far(*more: pd.DataFrame) -> pd.DataFrame:
        history = pd.concat([*histories, *more], ignore_index=True)
        history["epoch"] = history.index
        history["steps"] = (history.index + 1) * steps_an_epoch
        return history

    for number, phase in enumerate(strategy.phases):
        unfreezing = _set_trainable(network, strategy, phase)
        groups = param_groups(
            network,
            lr=phase.lr,
            weight_decay=WEIGHT_DECAY,
            factors=pretrained_factor(network, phase.factor),
        )
        model, inputs, held_out = _behind_frozen(network, phase, train_data, validation_data, cache)
        history = fit(
            model,
            inputs,
            held_out,
            AdamW(groups, fused=True),
            epochs=phase.epochs,
            seed=seed + number,
            batch_size=batch_size,
            steps_per_epoch=steps / EPOCHS,
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


def first_stages(backbone: Backbone, share: float) -> list[str]:
    """The first stages, a share of all before the head; one at least, unless the share is 0."""
    before_head = backbone.stage_names[:-1]
    return list(before_head[: max(round(share * len(before_head)), share > 0)])


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
    cache: Literal["default"] | None,
) -> tuple[nn.Module, Data, OtherData | None]:
    """What is left to train, and its inputs: the images, or what the frozen stages make of them."""
    if phase.gradual or not phase.frozen:
        return network, train_data, validation_data
    last = first_stages(network, phase.frozen)[-1]

    def through(data: Data) -> Data:
        return extract_features(network, data[0], up_to=last, cache=cache), data[1]

    return network.after(last), through(train_data), validation_data and through(validation_data)
