"""A cell of ``heads``: a head on one split, rate and decay chosen on validation, then tested."""

import itertools
from typing import Any

import torch
from torch import nn

from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.networks.heads import linear_layers
from tlcourse.studies.head_arms import STARTS, head_arm, head_recipe
from tlcourse.studies.head_training import FeatureTask, Training, feature_task, train_head
from tlcourse.studies.outcomes import packed
from tlcourse.tuning.param_groups import count_trainable
from tlcourse.tuning.probing import fit_probe
from tlcourse.tuning.training import evaluate, predict

LOGISTIC = "logistic"


def head_cell(
    *,
    dataset: str,
    per_class: int,
    pool: int,
    split: int,
    arm: str,
    recipe: str,
    lrs: str,
    decays: str,
    backbone: str,
    image_size: int,
    batch_size: int,
    steps: int,
) -> dict[str, Any]:
    """Choose a head's learning rate, then its weight decay, on validation; test what was chosen.

    Parameters
    ----------
    dataset, per_class, pool, split, backbone, image_size
        See ``feature_task``; ``split`` is also the seed of start and training.
    arm : str
        Of ``HEAD_ARMS``, or ``logistic``: penalised logistic regression on standardised features.
    recipe : str
        The arm's ``head_recipe``, so that a changed recipe is another cell.
    lrs, decays : str
        To choose from, with spaces between them: all rates at the first decay, then all decays at
        the best rate.
    batch_size, steps : int
        Of every training.

    Returns
    -------
    dict
        ``plain``, ``train`` and ``validation`` accuracy, ``gap`` (train − plain), ``outcomes`` of
        the test (see ``packed``), the ``norm`` of all weights, the ``lr`` and ``decay`` that were
        chosen, ``first_loss`` and ``first_accuracy`` (test) before training, ``fall`` (how far
        validation accuracy ever fell below its best so far), ``taken`` steps and ``parameters``.

    Raises
    ------
    StudyError
        For an unknown arm, and for a recipe that is not today's.
    """
    if arm != LOGISTIC and recipe != head_recipe(arm):
        raise StudyError(f"{arm} has another recipe now ({head_recipe(arm)}, not {recipe})")
    task = feature_task(
        dataset,
        per_class=per_class,
        pool=pool,
        split=split,
        backbone=backbone,
        image_size=image_size,
    )
    made = {"commit": environment()["commit"]}
    if arm == LOGISTIC:
        return _logistic(task) | made
    if best := head_arm(arm).best:
        task = task.only(best)

    def trained(lr: float, decay: float) -> Training:
        return train_head(
            _start(arm, task, split),
            task.train,
            task.validation,
            lr=lr,
            weight_decay=decay,
            steps=steps,
            batch_size=batch_size,
            seed=split,
            patience=head_arm(arm).patience,
        )

    first, *others = (float(decay) for decay in decays.split())
    tried = {(float(lr), first): trained(float(lr), first) for lr in lrs.split()}
    lr, _ = best_of(tried)
    tried |= {(lr, decay): trained(lr, decay) for decay in others}
    lr, decay = best_of(tried)
    final = tried[lr, decay]
    right = (predict(final.head, task.test[0]).argmax(1) == task.test[1]).numpy()
    plain, train = float(right.mean()), evaluate(final.head, task.train).accuracy
    return {
        "plain": plain,
        "outcomes": {"plain": packed(right, task.test_groups)},
        "train": train,
        "validation": final.validation.accuracy,
        "gap": round(train - plain, 6),
        "norm": round(_norm(final.head), 4),
        "lr": lr,
        "decay": decay,
        "first_loss": round(final.first_loss, 4),
        "first_accuracy": evaluate(_start(arm, task, split), task.test).accuracy,
        "fall": round(_fall(final.curve), 6),
        "taken": final.steps,
        "parameters": count_trainable(final.head),
    } | made


def best_of(tried: dict[tuple[float, float], Training]) -> tuple[float, float]:
    """The rate and decay of the highest validation accuracy, then of the lowest loss."""
    return max(tried, key=lambda k: tried[k].validation.rank)


def _start(arm: str, task: FeatureTask, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    head = head_arm(arm).make(task.train[0].shape[1], task.num_classes)
    STARTS[head_arm(arm).start](head, task.train)
    return head


def _norm(head: nn.Module) -> float:
    return torch.cat([linear.weight.flatten() for linear in linear_layers(head)]).norm().item()


def _fall(curve: tuple[float, ...]) -> float:
    best_so_far = itertools.accumulate(curve, max)
    return max(best - now for best, now in zip(best_so_far, curve, strict=True))


def _logistic(task: FeatureTask) -> dict[str, Any]:
    train, validation, test = (
        (x.numpy(), y.numpy()) for x, y in (task.train, task.validation, task.test)
    )
    probe = fit_probe(train, validation)
    right = probe.classifier.predict(test[0]) == test[1]
    plain, fitted = float(right.mean()), float(probe.classifier.score(*train))
    return {
        "plain": plain,
        "outcomes": {"plain": packed(right, task.test_groups)},
        "train": fitted,
        "validation": probe.validation.accuracy,
        "gap": round(fitted - plain, 6),
        "c": probe.c,
    }
