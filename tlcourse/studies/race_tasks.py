"""The record ``race_tasks``: what is known of the tasks of the race before anything is trained."""

from typing import Any

from tlcourse.advice.measurements import measure
from tlcourse.advice.records import TASK
from tlcourse.advice.sweeps import Settings
from tlcourse.advice.tasks import make_task
from tlcourse.environment import environment
from tlcourse.networks.backbones import load_backbone
from tlcourse.studies.study import Study
from tlcourse.studies.transfer_race import MATTERS, OVERLAP, TRANSFER_RACE
from tlcourse.studies.transfer_race_variants import VARIANTS


def measure_task(
    *, dataset: str, per_class: int, split: int, backbone: str, image_size: int
) -> dict[str, Any]:
    """``measure`` of a task's training images; its costs, which are a machine's, are left out.

    Parameters
    ----------
    dataset, per_class, split, image_size
        The task, see ``make_task``; ``split`` is its seed, and that of the folds.
    backbone : str

    Returns
    -------
    dict
        classes, distance, probes (an accuracy by stage) and the labels that are untested.
    """
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=split)
    measured = measure(
        load_backbone(backbone), task.train, seed=split, groups=task.train_groups, costs=False
    )
    return {
        "classes": measured.classes,
        "distance": measured.distance,
        "probes": dict(measured.probes),
        "untested": list(measured.untested),
        "commit": environment()["commit"],
    }


def _cells() -> tuple[Settings, ...]:
    """Each task once, whatever the arms that were trained on it."""
    cells = (*TRANSFER_RACE.cells, *VARIANTS.cells)
    tasks = dict.fromkeys(tuple(cell[name] for name in TASK) for cell in cells)
    return tuple(dict(zip(TASK, task, strict=True)) for task in tasks)


RACE_TASKS = Study(
    name="race_tasks",
    question="What is known of each task of transfer_race before anything is trained?",
    run=measure_task,
    cells=_cells(),
    setting=("dataset", "per_class"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=(),
    left_out="It compares nothing: the advisor reads it beside what the arms reached.",
)
