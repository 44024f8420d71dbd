"""The study ``transfer_race``: which way to transfer wins where, and is that certain?"""

from dataclasses import replace
from typing import Any

from tlcourse.advice.strategies import ADAPTING, STRATEGIES, key_of
from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.arms import arm_named
from tlcourse.studies.race import PROBE, race
from tlcourse.studies.study import Comparison, Study

FIXED: Settings = {
    "backbone": BACKBONE,
    "image_size": 128,
    "batch_size": 8,
    "steps": 300,
    "tuning_steps": 50,
}
OVERLAP = 1 / 3  # a quarter of each set is tested on, the rest is drawn from
MATTERS = 0.03  # three points of accuracy
# The pilot's paired differences had an sd of 1.2 points on digits, 3.7 on solar cells and 4.8 on
# scenes. By Nadeau and Bengio's interval ten splits see 2.4, 8 and 10 points, twenty hardly less
# (2.1, 7 and 9), since what splits share stays; over splits and images intervals are narrower.
SPLITS = range(10)
# Amended on 2026-11-30, after 84 cells, most of split 0, whose results had been seen. No verdict
# was computed; the reasons are training losses and what was chosen on validation:
# - Two trainings of one_rate (five digits, twenty solar cells a class) had blown up at a rate that
#   their 50 steps survived, which is no verdict on one rate for all. Such a training is repeated at
#   the next lower rate now, in every arm (see ``train_at_best``). These two were run again; no
#   other would have come out otherwise.
# - Where pretrained statistics adapt, all four sets chose the highest rate, 1e-3; by_depth chose
#   the lowest, 1e-4, in two of four. The range of the one was moved up, of the other down; these
#   eight cells were run anew.


def columns(arm: str, *, batchnorm: str = "", augmentation: str = "none") -> dict[str, Any]:
    """What chooses an arm; its policy of BatchNorm is its own where none is given."""
    usual = arm_named(arm).batchnorm
    return {"arm": arm, "batchnorm": batchnorm or usual, "augmentation": augmentation}


def cell(dataset: str, per_class: int, split: int, arm: dict[str, Any], **others: Any) -> Settings:
    """The settings of a cell."""
    strategy = replace(arm_named(arm["arm"]), batchnorm=arm["batchnorm"])
    if strategy.batchnorm in ("train", "affine_frozen"):  # adapting statistics bear higher rates
        strategy = replace(strategy, lrs=ADAPTING)
    task = {"dataset": dataset, "per_class": per_class, "split": split}
    return {**FIXED, **task, **arm, **key_of(strategy), **others}


TRAIN_BATCHNORM = columns("one_rate", batchnorm="train")
IN_FULL = {"scenes": 20, "elpv": 80, "digits": 20, "rendered_digits": 20}  # with every arm
ARMS_IN_FULL = (
    *map(columns, STRATEGIES),
    TRAIN_BATCHNORM,
    *(columns(arm, augmentation="light") for arm in (PROBE, "one_rate", "scratch")),
)
SIZES = {"scenes": (5, 80), "elpv": (20, 320), "digits": (5, 80)}  # with the arms below
ARMS_BY_SIZE = tuple(map(columns, (PROBE, "one_rate", "head_first", "scratch")))


def _cells() -> tuple[Settings, ...]:
    """Split by split, so that what has been run is balanced whenever it stops."""
    places = [(dataset, size, ARMS_IN_FULL) for dataset, size in IN_FULL.items()]
    places += [(dataset, k, ARMS_BY_SIZE) for dataset, sizes in SIZES.items() for k in sizes]
    return tuple(
        cell(dataset, per_class, split, arm)
        for split in SPLITS
        for dataset, per_class, arms in places
        for arm in arms
    )


ONE_RATE, HEAD_FIRST, SCRATCH = columns("one_rate"), columns("head_first"), columns("scratch")
FAR = {"dataset": ("elpv", "digits", "rendered_digits")}
SIMILAR = {"dataset": ("scenes",)}
LARGEST = {"per_class": (80, 320)}

COMPARISONS = (
    Comparison(
        "one-tenth-rate",
        "rates",
        "pretrained layers that learn at a tenth of the head's rate beat one rate for all",
        "widespread",
        columns("one_tenth"),
        ONE_RATE,
    ),
    Comparison(
        "discriminative",
        "rates",
        "a tenth, a third and all of the rate, by depth, beat one rate for all",
        "widespread",
        columns("by_depth"),
        ONE_RATE,
    ),
    Comparison(
        "two-phase",
        "phases",
        "the head first, then all, beats all at once",
        "Kumar et al. 2022; Chollet 2020",
        HEAD_FIRST,
        ONE_RATE,
    ),
    Comparison(
        "gradual",
        "phases",
        "thawing one stage after another beats all at once, at the same rates",
        "Howard & Ruder 2018",
        columns("gradual"),
        columns("one_tenth"),
    ),
    *(
        Comparison(
            f"two-phase-{shift}",
            "shift",
            f"under a shift of the test images ({shift}) the head first beats all at once",
            "Kumar et al. 2022",
            HEAD_FIRST,
            ONE_RATE,
            measure=shift,
        )
        for shift in ("blur", "tint", "noise")
    ),
    Comparison(
        "bn-similar-freeze",
        "batchnorm",
        "in a similar domain, frozen BatchNorm statistics beat adapting ones",
        "textbook",
        ONE_RATE,
        TRAIN_BATCHNORM,
        where=SIMILAR,
    ),
    Comparison(
        "bn-dissimilar-adapt",
        "batchnorm",
        "in a far domain, adapting BatchNorm statistics beat frozen ones",
        "textbook",
        TRAIN_BATCHNORM,
        ONE_RATE,
        where=FAR,
    ),
    Comparison(
        "size-thresholds",
        "size",
        "with fewer than 1,000 images, extraction beats fine-tuning",
        "widespread",
        columns(PROBE),
        ONE_RATE,
    ),
    Comparison(
        "pretrained-start",
        "start",
        "fine-tuning beats training from scratch",
        "widespread",
        ONE_RATE,
        SCRATCH,
    ),
    Comparison(
        "scratch-catches-up",
        "start",
        "at the largest size, training from scratch is as good as fine-tuning, or better",
        "He et al. 2019",
        SCRATCH,
        ONE_RATE,
        where=LARGEST,
    ),
    Comparison(
        "early-layers",
        "early",
        "early layers alone, the others new, beat training from scratch",
        "Raghu et al. 2019",
        columns("early_only"),
        SCRATCH,
    ),
    Comparison(
        "late-layers",
        "early",
        "pretrained late layers beat new ones on pretrained early layers",
        "Yosinski et al. 2014",
        ONE_RATE,
        columns("early_only"),
    ),
    Comparison(
        "freeze-early",
        "freeze",
        "frozen up to stage3 beats fine-tuning all",
        "widespread",
        columns("to_stage3"),
        ONE_RATE,
    ),
    *(
        Comparison(
            f"forgetting-{name}",
            "forgetting",
            f"{text} keeps more of an old task than fine-tuning all at one rate",
            "widespread",
            columns(arm),
            ONE_RATE,
            measure="old_after",
        )
        for arm, name, text in (
            ("one_tenth", "one-tenth", "a tenth of the rate"),
            ("by_depth", "by-depth", "rates by depth"),
            ("gradual", "gradual", "gradual unfreezing"),
            ("head_first", "two-phase", "the head first"),
        )
    ),
    *(
        Comparison(
            f"augmentation-{name}",
            "augmentation",
            f"crop and mirror help {text}",
            "widespread",
            columns(arm, augmentation="light"),
            columns(arm),
        )
        for arm, name, text in (
            (PROBE, "extraction", "extraction, as features of eight views"),
            ("one_rate", "fine-tuning", "fine-tuning"),
            ("scratch", "scratch", "training from scratch"),
        )
    ),
)

# What the arms at every size can answer, wherever they are run.
ANSWERED_BY_SIZE = tuple(
    comparison
    for comparison in COMPARISONS
    if comparison.id in ("two-phase", "size-thresholds", "pretrained-start")
)

TRANSFER_RACE = Study(
    name="transfer_race",
    question="Should one fine-tune, how, and is that certain?",
    run=race,
    cells=_cells(),
    setting=("dataset", "per_class"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=COMPARISONS,
    left_out=(
        "Crossed with BatchNorm's mode and augmentation is one size of each set, and the arm "
        "one_rate (augmentation: scratch and extraction, too). Other sizes have four arms. "
        "Cutouts have 48 test images, on which no difference of three points can be seen; "
        "extraction from them is in the study frozen_features."
    ),
)
