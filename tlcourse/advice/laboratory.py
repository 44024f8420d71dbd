"""One cell of the matrix: a strategy on a data set of a size, trained and tested."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcourse.advice.measurements import measure
from tlcourse.advice.strategies import STEPS, STRATEGIES, enough_steps, strategy_named
from tlcourse.advice.strategy_training import train
from tlcourse.advice.sweeps import Report, Result, Settings, sweep
from tlcourse.advice.tasks import MAX_TEST, make_task
from tlcourse.advice.variants import SCENES
from tlcourse.environment import environment
from tlcourse.files import replacing
from tlcourse.networks.backbones import BACKBONE, load_backbone
from tlcourse.tuning.training import evaluate


@dataclass(frozen=True)
class Matrix:
    """Data sets with their sizes in images per class, and how each cell is trained."""

    sizes: dict[str, tuple[int, ...]]
    seeds: int
    image_size: int
    steps: int = STEPS
    max_test: int = MAX_TEST
    backbones: tuple[str, ...] = (BACKBONE,)


_LAPTOP = {
    "scenes": (5, 20, 80, 160),
    "elpv": (5, 20, 80, 320),
    "digits": (5, 20, 80),
    "rendered_digits": (5, 20, 50),
}
_FURTHER = {  # made of the laptop's images: measured, not trained on yet
    **dict.fromkeys(set(SCENES) - {"scenes"}, (5, 20, 80)),
    "elpv_mono": (5, 20, 80),
    "elpv_poly": (5, 20, 80),
}
MATRICES = {
    "quick": Matrix(
        {"scenes": (5,), "elpv": (20,)}, seeds=3, image_size=48, steps=30, max_test=100
    ),
    "laptop": Matrix(_LAPTOP, seeds=5, image_size=64),
    "further": Matrix(dict(sorted(_FURTHER.items())), seeds=5, image_size=64),
    # The last four are downloaded beforehand, see the README.
    "full": Matrix(
        {
            "scenes": (5, 20, 80, 320, 1280),
            "elpv": (5, 20, 80, 320),
            "eurosat": (5, 20, 80, 320, 1280),
            "pcam": (5, 20, 80, 320, 1280),
            "flowers102": (5, 10),
            "oxford_iiit_pet": (5, 20, 50),
        },
        seeds=5,
        image_size=224,
        steps=500,
    ),
}


def cells(matrix: Matrix) -> list[Settings]:
    """Settings of ``run_cell`` for the whole matrix, those of the first seed first.

    Examples
    --------
    >>> len(cells(MATRICES["laptop"]))
    350
    """
    return [
        {**task, "strategy": strategy, "steps": matrix.steps, "max_test": matrix.max_test}
        for task in tasks(matrix)
        for strategy in STRATEGIES
    ]


def tasks(matrix: Matrix) -> list[Settings]:
    """Settings of ``measure_cell``: what is trained on, whatever the strategy."""
    return [
        {
            "dataset": dataset,
            "per_class": per_class,
            "seed": seed,
            "backbone": backbone,
            "image_size": matrix.image_size,
        }
        for seed in range(matrix.seeds)
        for backbone in matrix.backbones
        for dataset, counts in matrix.sizes.items()
        for per_class in counts
    ]


def run_matrix(folder: Path, name: str, **options: Any) -> list[Report]:
    """Measure and train every cell of a matrix into ``folder``, resumably; see ``sweep``.

    Parameters
    ----------
    folder : Path
        ``strategies.sqlite`` has the trained cells, ``measurements.sqlite`` what the advisor knows
        of their tasks, ``environment.json`` the device, versions and date of the last call.
    name : str
        Of ``MATRICES``.
    options
        workers, backend and address of ``sweep``.

    Returns
    -------
    list of Report
        Of the tasks that were measured, and of the cells.
    """
    matrix = MATRICES[name]
    reports = [
        sweep(measure_cell, tasks(matrix), folder / "measurements.sqlite", **options),
        sweep(run_cell, cells(matrix), folder / "strategies.sqlite", **options),
    ]
    with replacing(folder / "environment.json") as temporary:
        temporary.write_text(json.dumps({"matrix": name, **environment()}, indent=2) + "\n")
    return reports


def run_cell(
    *,
    dataset: str,
    per_class: int,
    seed: int,
    strategy: str,
    backbone: str,
    image_size: int,
    steps: int,
    max_test: int = MAX_TEST,
) -> dict[str, object]:
    """Train one network and test it: accuracies in [0, 1], the validation curve, and seconds.

    Parameters
    ----------
    dataset, per_class, image_size, seed, max_test
        The task, see ``make_task``.
    strategy, backbone : str
        Their names.
    steps : int
        Of training, at least so many.

    Returns
    -------
    dict
        ``plain`` is the accuracy on test images as they are, other names are shifts; ``curve`` are
        the validation accuracies after ``curve_steps``; ``seconds`` those of the training.
    """
    task = make_task(
        dataset, per_class=per_class, image_size=image_size, seed=seed, max_test=max_test
    )
    started = time.perf_counter()
    trained = train(
        load_backbone(backbone),
        strategy_named(strategy),
        task.train,
        task.validation,
        num_classes=task.num_classes,
        steps=enough_steps(len(task.train[0]), steps),
        seed=seed,
        cache=None,  # a cell's seconds do not depend on the cells before it
    )
    seconds = time.perf_counter() - started
    return {
        **{name: evaluate(trained.network, data).accuracy for name, data in task.test.items()},
        "curve": trained.history["validation_accuracy"].round(4).tolist(),
        "curve_steps": trained.history["steps"].tolist(),
        "seconds": seconds,
    }


def measure_cell(
    *, dataset: str, per_class: int, seed: int, backbone: str, image_size: int
) -> Result:
    """``measure`` for a cell of a sweep: what the advisor would have known of its task."""
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=seed)
    measured = measure(
        load_backbone(backbone), task.train, seed=seed, groups=task.train_groups, costs=False
    )
    return {
        "classes": measured.classes,
        "distance": measured.distance,
        "probes": dict(measured.probes),
        "untested": list(measured.untested),
        "commit": environment()["commit"],
    }
