"""The pilot of ``transfer_race``: how many splits, steps, pixels does it need, which rates?"""

from dataclasses import replace

from tlcourse.advice.sweeps import Settings
from tlcourse.studies.race import PROBE, race
from tlcourse.studies.study import Comparison, Study
from tlcourse.studies.transfer_race import COMPARISONS, MATTERS, OVERLAP, cell, columns

PILOT_SETS = {"scenes": 20, "elpv": 80, "digits": 20}
LONGER = ("scenes", "elpv")  # sets on which more steps and more pixels are tried
PILOT_SPLITS = (100, 101, 102)  # none of the study's
WIDE = "3e-05 0.0001 0.0003 0.001 0.003"
WIDE_HEAD = "0.0003 0.001 0.003 0.01 0.03"


def _pilot() -> tuple[Settings, ...]:
    """Spread over splits, grid of rates, longer training, larger images."""
    return tuple(
        cell(dataset, per_class, split, columns(arm), **others)
        for split in PILOT_SPLITS
        for dataset, per_class in PILOT_SETS.items()
        for arm, others in (
            (PROBE, {}),
            ("one_rate", {"lrs": WIDE}),
            ("one_tenth", {"lrs": WIDE_HEAD}),
            ("one_rate", {"lrs": "0.0003", "steps": 600}),
            ("one_rate", {"lrs": "0.0003", "image_size": 160}),
            ("scratch", {"lrs": WIDE_HEAD}),
        )
        if dataset in LONGER or not {"steps", "image_size"} & set(others)
        if split == PILOT_SPLITS[0] or arm != "scratch"
    )


_USUAL = {**columns("one_rate"), "lrs": WIDE}
_FIXED_RATE = {**columns("one_rate"), "lrs": "0.0003"}

PILOT = Study(
    name="transfer_race_pilot",
    question="How many splits, steps and pixels does transfer_race need, and which rates?",
    run=race,
    cells=_pilot(),
    setting=("dataset", "per_class"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=(
        *(
            replace(comparison, b=_USUAL)  # the study's own, against the wider grid
            for comparison in COMPARISONS
            if comparison.id in ("one-tenth-rate", "size-thresholds")
        ),
        Comparison(
            "more-steps",
            "budget",
            "600 steps beat 300",
            "this course",
            {**_FIXED_RATE, "steps": 600},
            _USUAL,
            where={"dataset": LONGER},
        ),
        Comparison(
            "more-pixels",
            "budget",
            "images of 160 px beat those of 128 px",
            "this course",
            {**_FIXED_RATE, "image_size": 160},
            _USUAL,
            where={"dataset": LONGER},
        ),
    ),
    left_out="Every arm but four, every size but one a data set; scratch beyond the first split.",
)
