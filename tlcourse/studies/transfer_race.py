"""The study ``transfer_race``: which way to transfer wins where, and is that certain?"""

from typing import Any

from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.arms import arm_named, fingerprint
from tlcourse.studies.race import PROBE, race
from tlcourse.studies.study import Study

FROZEN = "statistics_only"  # BatchNorm's statistics stand still, γ and β learn: see chapter 09
FIXED: Settings = {
    "backbone": BACKBONE,
    "image_size": 128,
    "batch_size": 8,
    "steps": 300,
    "tuning_steps": 50,
}
OVERLAP = 1 / 3  # a quarter of each set is tested on, the rest is drawn from
MATTERS = 0.03  # three points of accuracy

PILOT_SETS = {"scenes": 20, "elpv": 80, "digits": 20}
LONGER = ("scenes", "elpv")  # sets on which more steps and more pixels are tried
PILOT_SPLITS = (100, 101, 102)  # none of the study's
WIDE = "3e-05 0.0001 0.0003 0.001 0.003"
WIDE_HEAD = "0.0003 0.001 0.003 0.01 0.03"


def cell(dataset: str, per_class: int, split: int, arm: str, lrs: str, **others: Any) -> Settings:
    """The settings of a cell; where stages start at random, BatchNorm has to adapt."""
    if arm == PROBE:
        given: dict[str, Any] = {"recipe": "", "batchnorm": "frozen"}
    else:
        kept = arm_named(arm).kept
        given = {"recipe": fingerprint(arm), "batchnorm": FROZEN if kept == 1 else "train"}
    task = {"dataset": dataset, "per_class": per_class, "split": split, "arm": arm, "lrs": lrs}
    return {**FIXED, "augmentation": "none", **task, **given, **others}


def _pilot() -> tuple[Settings, ...]:
    """Spread over splits, grid of rates, longer training, larger images."""
    return tuple(
        cell(dataset, per_class, split, arm, lrs, **others)
        for split in PILOT_SPLITS
        for dataset, per_class in PILOT_SETS.items()
        for arm, lrs, others in (
            (PROBE, "", {}),
            ("one_rate", WIDE, {}),
            ("one_tenth", WIDE_HEAD, {}),
            ("scratch", WIDE_HEAD, {}),
            ("one_rate", "0.0003", {"steps": 600}),
            ("one_rate", "0.0003", {"image_size": 160}),
        )
        if not others or dataset in LONGER
    )


PILOT = Study(
    name="transfer_race_pilot",
    question="How many splits, steps and pixels does transfer_race need, and which rates?",
    run=race,
    cells=_pilot(),
    setting=("dataset", "per_class"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=(),
    left_out="Every arm but four, every size but one a data set.",
)
