"""The study ``batchnorm``: do frozen or adapting statistics win, by domain and batch size?"""

from tlcourse.advice.sweeps import Settings
from tlcourse.studies.race import race
from tlcourse.studies.study import Comparison, Study
from tlcourse.studies.transfer_race import MATTERS, OVERLAP, SPLITS, cell, columns

SETS = {"scenes": 20, "elpv": 80}
BATCH_SIZES = (2, 8, 32)
USUAL = ("train", "statistics_only")
OTHERS = ("affine_frozen", "frozen")  # at the middle batch size
BUDGET = {"steps": 150, "tuning_steps": 25}  # for every batch size: equal steps, not equal images


def _cells() -> tuple[Settings, ...]:
    return tuple(
        cell(
            dataset,
            per_class,
            split,
            columns("one_rate", batchnorm=policy),
            batch_size=batch_size,
            **BUDGET,
        )
        for split in SPLITS
        for dataset, per_class in SETS.items()
        for batch_size in BATCH_SIZES
        for policy in (
            "train",
            "statistics_only",
            *(OTHERS if batch_size == BATCH_SIZES[1] else ()),
        )
    )


BATCHNORM = Study(
    name="batchnorm",
    question="Should BatchNorm's statistics adapt in fine-tuning, and does the batch decide it?",
    run=race,
    cells=_cells(),
    setting=("dataset", "per_class", "batch_size"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=(
        Comparison(
            "bn-batch-size",
            "statistics",
            "frozen statistics beat adapting ones",
            "textbook; Ioffe 2017 for small batches",
            columns("one_rate"),
            columns("one_rate", batchnorm="train"),
        ),
        Comparison(
            "bn-affine",
            "affine",
            "frozen γ and β beat learning ones, where the statistics are frozen",
            "textbook",
            columns("one_rate", batchnorm="frozen"),
            columns("one_rate"),
            where={"batch_size": BATCH_SIZES[1:2]},
        ),
        Comparison(
            "bn-affine-adapting",
            "affine",
            "frozen γ and β beat learning ones, where the statistics adapt",
            "textbook",
            columns("one_rate", batchnorm="affine_frozen"),
            columns("one_rate", batchnorm="train"),
            where={"batch_size": BATCH_SIZES[1:2]},
        ),
    ),
    left_out="Other arms than one rate for all; digits, on which transfer_race has both policies.",
)
