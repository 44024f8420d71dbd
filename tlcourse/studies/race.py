"""A cell of ``transfer_race``: one arm on one split, its rate chosen on validation, then tested."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tlcourse.advice.strategy_training import train, views
from tlcourse.advice.tasks import Task, make_task
from tlcourse.datasets import noise
from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.networks.backbones import load_backbone
from tlcourse.runtime import seed_everything
from tlcourse.shapes import Data
from tlcourse.studies.arms import Augmentation, arm_named, augment, fingerprint
from tlcourse.studies.probing import fit_probe, pooled_stages
from tlcourse.tuning.batchnorm import Policy
from tlcourse.tuning.training import evaluate, predict

PROBE = "probe"
MAX_SHIFTED = 200  # test images under each shift


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
        Of ``ARMS``, or ``probe``.
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
        ``plain``, ``blur``, ``tint``, ``noise`` and, for scenes, ``background``: accuracies on test
        images; ``right``: which of the plain ones were, as bits in hexadecimal; the rate that was
        chosen, and what each gave on validation; the ``curve`` over validation; how well the
        training images were fitted.

    Raises
    ------
    StudyError
        For an unknown arm, and for a recipe that is not today's.
    """
    if arm != PROBE and recipe != fingerprint(arm):
        raise StudyError(f"{arm} has another recipe now ({fingerprint(arm)}, not {recipe})")
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=split)
    tests = _tests(task)
    augmenting = augment(augmentation, dataset, image_size)
    made = {"commit": environment()["commit"]}
    network = load_backbone(backbone)
    if arm == PROBE:
        return _probe(network, task, tests, augmenting, split) | made

    def trained(lr: float, steps: int, *, validate: bool) -> Any:
        return train(
            network,
            arm_named(arm).strategy(arm, lr, batchnorm),
            task.train,
            task.validation if validate else None,
            num_classes=task.num_classes,
            steps=steps,
            seed=split,
            batch_size=batch_size,
            augment=augmenting,
            cache=None,
        )

    rates = [float(lr) for lr in lrs.split()]
    scores = [
        evaluate(trained(lr, tuning_steps, validate=False).network, task.validation) for lr in rates
    ]
    best = max(range(len(rates)), key=lambda i: (scores[i].accuracy, -scores[i].loss))
    final = trained(rates[best], steps, validate=True)
    history = final.history
    answers = {name: predict(final.network, x).argmax(1).numpy() for name, (x, _) in tests.items()}
    return {
        **_scored(answers, tests),
        "lr": rates[best],
        "tuning": [round(score.accuracy, 4) for score in scores],
        "tuning_loss": [round(score.loss, 4) for score in scores],
        "curve": history["validation_accuracy"].round(4).tolist(),
        "train_accuracy": float(history["train_accuracy"].iloc[-1]),
        "train_loss": float(history["train_loss"].iloc[-1]),
    } | made


def _tests(task: Task) -> Mapping[str, Data]:
    """The plain test, and as many images of each class under each shift."""
    images, labels = task.test["plain"]
    few = torch.from_numpy(_evenly(labels.numpy(), MAX_SHIFTED))
    tests = {name: (x[few], y[few]) for name, (x, y) in task.test.items() if name != "plain"}
    tests["noise"] = noise(images[few]), labels[few]
    return {"plain": (images, labels), **tests}


def _evenly(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of about ``count`` labels, as many of each class."""
    per_class = count // len(np.unique(labels))
    return np.sort(
        np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)])
    )


def _probe(
    network: Any, task: Task, tests: Mapping[str, Data], augmenting: Any, seed: int
) -> dict[str, Any]:
    seed_everything(seed)
    shown = task.train if augmenting is None else views(task.train, augmenting)
    data = {"train": shown, "validation": task.validation, **tests}
    features = {name: pooled_stages(network, images) for name, (images, _) in data.items()}
    labels = {name: y.numpy() for name, (_, y) in data.items()}
    probes = {
        stage: fit_probe(*((features[s][stage], labels[s]) for s in ("train", "validation")))
        for stage in features["train"]
    }
    best = max(probes, key=lambda stage: (probes[stage].accuracy, -probes[stage].loss))

    def answers(stage: str, test: str) -> np.ndarray:
        return probes[stage].classifier.predict(features[test][stage])

    return {
        **_scored({test: answers(best, test) for test in tests}, tests),
        "stage": best,
        "c": probes[best].c,
        "by_stage": {
            stage: round(float((answers(stage, "plain") == labels["plain"]).mean()), 4)
            for stage in probes
        },
        "train_accuracy": float((answers(best, "train") == labels["train"]).mean()),
    }


def _scored(answers: Mapping[str, np.ndarray], tests: Mapping[str, Data]) -> dict[str, Any]:
    """The accuracy in each test, and which of the plain test's images were named rightly."""
    right = {name: answers[name] == labels.numpy() for name, (_, labels) in tests.items()}
    accuracies = {name: float(hits.mean()) for name, hits in right.items()}
    return {**accuracies, "right": np.packbits(right["plain"]).tobytes().hex()}
