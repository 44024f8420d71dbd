"""The study ``scaled_init``: does a head that starts small disturb the backbone less?"""

from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.head_start_cell import OPTIMIZERS, head_start_cell
from tlcourse.studies.study import Comparison, Study

SPLITS = tuple(range(10))
TASKS = {"scenes": (10, 9), "elpv": (30, 32)}  # images a class to train on and to compare
SCALES = ("1", "0.1", "0.01", "0")
RATES = (1e-5, 1e-4, 1e-3)


def _cells() -> tuple[Settings, ...]:
    """Split by split, so that a part of the record is a smaller study of the same kind."""
    return tuple(
        {
            "backbone": BACKBONE,
            "image_size": 128,
            "batch_size": 8,
            "steps": 4,
            "dataset": dataset,
            "per_class": per_class,
            "held_out": held_out,
            "split": split,
            "scale": scale,
            "optimizer": optimizer,
            "lr": lr,
        }
        for split in SPLITS
        for dataset, (per_class, held_out) in TASKS.items()
        for optimizer in OPTIMIZERS
        for lr in RATES
        for scale in SCALES
    )


def _compare(id: str, statement: str, optimizer: str, small: str, measure: str) -> Comparison:
    signed = {"moved": ("1", small), "cka": (small, "1"), "plain": (small, "1")}
    a, b = signed[measure]
    return Comparison(
        id,
        f"{optimizer}-{measure}",
        statement,
        "textbook",
        {"scale": a},
        {"scale": b},
        measure,
        {"optimizer": (optimizer,)},
    )


COMPARISONS = tuple(
    _compare(
        f"scaled-{name}-{measure}-{optimizer.lower()}",
        f"with {optimizer}, four steps from {start} {verb} than from torch's start",
        optimizer,
        small,
        measure,
    )
    for optimizer in OPTIMIZERS
    for small, name, start in (
        ("0.1", "tenth", "a head of a tenth"),
        ("0", "zero", "a head of zeros"),
    )
    for measure, verb in (
        ("moved", "move the features less"),
        ("cka", "keep the features more alike"),
        ("plain", "end at higher accuracy"),
    )
)

SCALED_INIT = Study(
    name="scaled_init",
    question="Does a head that starts small disturb the pretrained features less in the first "
    "steps of fine-tuning, by optimiser and rate?",
    run=head_start_cell,
    cells=_cells(),
    setting=("dataset", "optimizer", "lr"),
    matters=0.03,  # of the features' length, of CKA, or three points of accuracy
    overlap=1 / 3,
    comparisons=COMPARISONS,
    left_out="More than four steps, warm-up, BatchNorm's statistics adapting, other backbones.",
)
