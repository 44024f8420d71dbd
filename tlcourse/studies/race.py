"""A cell of ``transfer_race``: one arm on one split, its rate chosen on validation, then tested."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from tlcourse.advice.strategies import key_of
from tlcourse.advice.strategy_training import Trained, train, views
from tlcourse.advice.tasks import Task, make_task
from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.runtime import seed_everything
from tlcourse.studies.arms import Augmentation, arm_named, augment
from tlcourse.studies.measuring import all_tests, choose_and_test, forgetting, scored, together
from tlcourse.tuning.batchnorm import Policy
from tlcourse.tuning.probing import fit_probe

PROBE = "probe"


def race(
    *,
    dataset: str,
    per_class: int,
    split: int,
    arm: str,
    recipe: str,
    lrs: str,
    batchnorm: Policy,
    augmentation: Augmentation,
    backbone: str,
    image_size: int,
    batch_size: int,
    steps: int,
    tuning_steps: int,
) -> dict[str, Any]:
    """Choose an arm's rate by short trainings, train with it, and test once.

    Parameters
    ----------
    dataset, per_class, split, image_size
        The task, see ``make_task``; ``split`` is its seed, and that of the training.
    arm : str
        Of ``STRATEGIES``.
    recipe : str
        The arm's ``fingerprint``, so that a changed recipe is another cell.
    lrs : str
        The rates to choose from, with spaces between them.
    batchnorm : str
        The policy of the stages that learn, see ``set_policy``.
    augmentation : {"none", "light"}
    backbone : str
    batch_size, steps : int
        Of the training that is tested.
    tuning_steps : int
        Of the one for each rate, on its own falling schedule.

    Returns
    -------
    dict
        What ``choose_and_test`` gives and, where all stages were pretrained, ``forgetting``.

    Raises
    ------
    StudyError
        For an unknown arm, and for a recipe that is not today's.
    """
    strategy = replace(arm_named(arm), batchnorm=batchnorm)
    today = key_of(strategy)["recipe"]
    if recipe != today:
        raise StudyError(f"{arm} has another recipe now ({today}, not {recipe})")
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=split)
    augmenting = augment(augmentation, dataset, image_size)
    made = {"commit": environment()["commit"]}
    network = load_backbone(backbone)
    if arm == PROBE:
        return _probe(network, task, augmenting, split) | made

    def train_at(lr: float, steps: float, validate: bool) -> Trained:
        return train(
            network,
            strategy,
            task.train,
            task.validation if validate else None,
            lr=lr,
            num_classes=task.num_classes,
            steps=steps,
            seed=split,
            batch_size=batch_size,
            augment=augmenting,
            cache=None,
        )

    tuned, result = choose_and_test(train_at, task, lrs=lrs, steps=steps, tuning_steps=tuning_steps)
    old = forgetting(tuned, dataset, backbone, image_size) if strategy.kept == 1 else {}
    return together(result, old) | made


def _probe(
    network: Backbone, task: Task, augmenting: nn.Module | None, seed: int
) -> dict[str, Any]:
    seed_everything(seed)
    tests = all_tests(task)
    shown = task.train if augmenting is None else views(task.train, augmenting)
    data = {"train": shown, "validation": task.validation}
    data |= {name: (test.images, test.labels) for name, test in tests.items()}
    features = {name: pooled_stages(network, images) for name, (images, _) in data.items()}
    labels = {name: y.numpy() for name, (_, y) in data.items()}
    probes = {
        stage: fit_probe(*((features[s][stage], labels[s]) for s in ("train", "validation")))
        for stage in features["train"]
    }
    best = max(probes, key=lambda stage: probes[stage].validation.rank)

    def answers(stage: str, test: str) -> np.ndarray:
        return probes[stage].classifier.predict(features[test][stage])

    return {
        **scored({test: answers(best, test) for test in tests}, tests),
        "stage": best,
        "c": probes[best].c,
        "by_stage": {
            stage: round(float((answers(stage, "plain") == labels["plain"]).mean()), 4)
            for stage in probes
        },
        "train_accuracy": float((answers(best, "train") == labels["train"]).mean()),
    }
