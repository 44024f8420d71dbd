"""A cell of ``regularisation``: fine-tuning under one regulariser, then its tests."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision.transforms import v2

from tlcourse.advice.strategies import EPOCHS, WEIGHT_DECAY
from tlcourse.advice.strategy_training import Trained
from tlcourse.advice.tasks import Task, make_task
from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.studies.arms import WITHOUT_A_MIRROR
from tlcourse.studies.measuring import choose_and_test
from tlcourse.suggestions import look_up
from tlcourse.tuning.augmentation import augmentation as policy
from tlcourse.tuning.batchnorm import Policy, set_policy
from tlcourse.tuning.param_groups import param_groups
from tlcourse.tuning.training import fit

BATCHNORM: Policy = "statistics_only"  # as the race fine-tunes: see chapter 09


@dataclass(frozen=True)
class Regulariser:
    """What is changed of plain fine-tuning; the defaults change nothing."""

    augmentation: str = "none"
    mix: str = ""  # of MIXES
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    dropout: float = 0.0  # of the features, before the head
    weight_decay: float = WEIGHT_DECAY
    patience: int | None = None  # epochs, of ten, without a better validation result


MIXES = {"mixup": v2.MixUp, "cutmix": v2.CutMix}

REGULARISERS: Mapping[str, Regulariser] = {
    "none": Regulariser(),
    "light": Regulariser("light"),
    "heavy": Regulariser("heavy"),
    "mirrored": Regulariser("mirrored"),
    "mixup": Regulariser(mix="mixup"),
    "cutmix": Regulariser(mix="cutmix"),
    "smoothing": Regulariser(label_smoothing=0.1),
    "ema": Regulariser(ema_decay=0.95),
    "dropout": Regulariser(dropout=0.5),
    "decay": Regulariser(weight_decay=1.0),
    "early": Regulariser(patience=2),
}


def regulariser(name: str) -> Regulariser:
    """A regulariser by name; raises StudyError that lists them for an unknown one.

    Examples
    --------
    >>> regulariser("smoothing").label_smoothing
    0.1
    """
    return look_up(name, REGULARISERS, "regulariser", StudyError)


def regulariser_recipe(name: str) -> str:
    """Eight hex digits of a regulariser: another recipe is another cell.

    Examples
    --------
    >>> regulariser_recipe("light") == regulariser_recipe("heavy")
    False
    """
    return hashlib.sha256(repr(regulariser(name)).encode()).hexdigest()[:8]


def regularise(
    *,
    dataset: str,
    per_class: int,
    split: int,
    arm: str,
    recipe: str,
    lrs: str,
    backbone: str,
    image_size: int,
    batch_size: int,
    steps: int,
    tuning_steps: int,
) -> dict[str, Any]:
    """Fine-tune all at one rate, chosen by short trainings, under one regulariser; test once.

    Only early stopping looks at validation while it trains; the others keep their last weights.

    Parameters
    ----------
    dataset, per_class, split, image_size
        The task, see ``make_task``; ``split`` is its seed, and that of the training.
    arm : str
        Of ``REGULARISERS``.
    recipe : str
        Its ``regulariser_recipe``, so that a changed one is another cell.
    lrs, backbone, batch_size, steps, tuning_steps
        As in ``race``.

    Returns
    -------
    dict
        What ``choose_and_test`` gives, and the ``gap`` from training to test accuracy.

    Raises
    ------
    StudyError
        For an unknown arm, and for a recipe that is not today's.
    """
    if recipe != regulariser_recipe(arm):
        raise StudyError(f"{arm} has another recipe now ({regulariser_recipe(arm)}, not {recipe})")
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=split)
    how = regulariser(arm)

    def train_at(lr: float, steps: float, validate: bool) -> Trained:
        return fine_tune(
            start(backbone, how, task.num_classes, seed=split),
            how,
            task,
            mirror=dataset not in WITHOUT_A_MIRROR,
            lr=lr,
            steps=steps,
            batch_size=batch_size,
            seed=split,
        )

    _, result = choose_and_test(train_at, task, lrs=lrs, steps=steps, tuning_steps=tuning_steps)
    gap = round(result["train_accuracy"] - result["plain"], 6)
    return result | {"gap": gap, "commit": environment()["commit"]}


def start(name: str, how: Regulariser, num_classes: int, *, seed: int) -> Backbone:
    """A pretrained network with a new head, behind dropout where that is asked for."""
    network = load_backbone(name, num_classes=num_classes, seed=seed)
    set_policy(network, BATCHNORM)
    if how.dropout:
        network.head = nn.Sequential(nn.Dropout(how.dropout), network.head)
    return network


def fine_tune(
    network: Backbone,
    how: Regulariser,
    task: Task,
    *,
    mirror: bool,
    lr: float,
    steps: float,
    batch_size: int,
    seed: int,
) -> Trained:
    """All stages at one rate under AdamW, which falls along a cosine, in ten epochs of steps."""
    groups = param_groups(network, lr=lr, weight_decay=how.weight_decay)
    history = fit(
        network,
        task.train,
        task.validation if how.patience else None,
        torch.optim.AdamW(groups, fused=True),
        epochs=EPOCHS,
        seed=seed,
        batch_size=batch_size,
        steps_per_epoch=steps / EPOCHS,
        augment=policy(how.augmentation, task.train[0].shape[-1], mirror=mirror),
        mix=MIXES[how.mix](num_classes=task.num_classes) if how.mix else None,
        label_smoothing=how.label_smoothing,
        ema_decay=how.ema_decay,
        patience=how.patience,
    )
    return Trained(network, history)
