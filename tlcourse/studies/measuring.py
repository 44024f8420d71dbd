"""What a study measures of an arm: its rate is chosen on validation, then it is tested once."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from tlcourse.advice.rates import Train, train_at_best
from tlcourse.advice.tasks import Drawn, Task, make_task
from tlcourse.datasets import noise
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.studies.outcomes import packed
from tlcourse.tuning.probing import fit_probe
from tlcourse.tuning.training import predict

NECK = "neck"  # the features behind it are what a head sees
MAX_SHIFTED = 200  # test images under each shift


def choose_and_test(
    train: Train, task: Task, *, lrs: str, steps: int, tuning_steps: int
) -> tuple[Backbone, dict[str, Any]]:
    """Train by ``train_at_best``; the network, and what its tests gave.

    The result has ``plain``, ``blur``, ``tint``, ``noise`` and, for scenes, ``background``:
    accuracies on test images; ``outcomes``: which of them were right, see ``packed``; the rate,
    what each gave on validation, and how many rates ``diverged``; the ``curve`` over validation,
    where there was such; and how well the training images were fitted.

    Parameters
    ----------
    train : callable
        A training at a rate, for so many steps.
    task : Task
    lrs : str
        The rates, rising, with spaces between them.
    steps, tuning_steps : int
        Of the training that is tested, and of the one for each rate.
    """
    chosen = train_at_best(
        train,
        task.validation,
        [float(lr) for lr in lrs.split()],
        steps=steps,
        tuning_steps=tuning_steps,
        num_classes=task.num_classes,
    )
    network, history = chosen.trained
    tests = all_tests(task)
    answers = {name: predict(network, t.images).argmax(1).numpy() for name, t in tests.items()}
    return network, {
        **scored(answers, tests),
        "lr": chosen.lr,
        "diverged": chosen.diverged,
        "tuning": [round(score.accuracy, 4) for score in chosen.scores],
        "tuning_loss": [round(score.loss, 4) for score in chosen.scores],
        "curve": history.get("validation_accuracy", pd.Series([])).round(4).tolist(),
        "train_accuracy": float(history["train_accuracy"].iloc[-1]),
        "train_loss": float(history["train_loss"].iloc[-1]),
    }


def all_tests(task: Task) -> Mapping[str, Drawn]:
    """The plain test, and as many images of each class under each shift."""
    images, labels = task.test["plain"]
    few = _evenly(labels.numpy(), MAX_SHIFTED)
    shifted = {name: x[few] for name, (x, _) in task.test.items() if name != "plain"}
    shifted["noise"] = noise(images[few])
    groups = task.test_groups
    return {
        "plain": Drawn(images, labels, groups),
        **{name: Drawn(x, labels[few], groups[few]) for name, x in shifted.items()},
    }


def _evenly(labels: np.ndarray, count: int) -> np.ndarray:
    """Rows of about ``count`` labels, as many of each class."""
    per_class = count // len(np.unique(labels))
    return np.sort(
        np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)])
    )


class OldTask(NamedTuple):
    """A head on pretrained features, the test images of its task, and its accuracy in it."""

    head: Pipeline
    test: Drawn
    accuracy: float


@lru_cache(maxsize=4)
def old_task(name: str, backbone: str, image_size: int) -> OldTask:
    """What a network could do before it was fine-tuned: a data set's classes, 20 images of each.

    Examples
    --------
    >>> old_task("digits", "efficientnet_lite0", 32).accuracy > 0.3
    True
    """
    task = make_task(name, per_class=20, image_size=image_size, seed=0, max_test=MAX_SHIFTED)
    network = load_backbone(backbone)
    train, validation, test = (
        (pooled_stages(network, images)[NECK], labels.numpy())
        for images, labels in (task.train, task.validation, task.test["plain"])
    )
    head = fit_probe(train, validation).classifier
    return OldTask(head, Drawn(*task.test["plain"], task.test_groups), float(head.score(*test)))


def forgetting(network: Backbone, dataset: str, backbone: str, image_size: int) -> dict[str, Any]:
    """``old_before`` and ``old_after``: accuracies in an old task with the head that it had.

    ``outcomes`` has those of ``old_after``, see ``packed``.
    The old task is scenes or, where the network learned scenes, digits.
    """
    old = old_task("digits" if dataset == "scenes" else "scenes", backbone, image_size)
    answers = old.head.predict(pooled_stages(network, old.test.images)[NECK])
    after = scored({"old_after": answers}, {"old_after": old.test})
    return {"old_before": old.accuracy, **after}


def scored(answers: Mapping[str, np.ndarray], tests: Mapping[str, Drawn]) -> dict[str, Any]:
    """The accuracy in each test, and ``outcomes``: which of its images were named rightly."""
    right = {name: answers[name] == test.labels.numpy() for name, test in tests.items()}
    return {
        **{name: float(hits.mean()) for name, hits in right.items()},
        "outcomes": {name: packed(hits, tests[name].groups) for name, hits in right.items()},
    }


def together(tested: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """One cell's result of its tests and of what is left of an old task."""
    return {**tested, **old, "outcomes": tested["outcomes"] | old.get("outcomes", {})}
