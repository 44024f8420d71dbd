"""The study ``transfer_race_full``: the race at 224 px, on more and larger sets; for a GPU."""

from tlcourse.studies.race import race
from tlcourse.studies.study import Study
from tlcourse.studies.transfer_race import (
    ARMS_BY_SIZE,
    COMPARISONS,
    MATTERS,
    OVERLAP,
    SPLITS,
    cell,
)

# The last four are torchvision's and are downloaded beforehand, see the README: new sources.
SIZES = {
    "scenes": (5, 20, 80, 320),
    "elpv": (20, 80, 320),
    "eurosat": (5, 20, 80, 320, 1280),
    "pcam": (5, 20, 80, 320, 1280),
    "flowers102": (5, 10),
    "oxford_iiit_pet": (5, 20, 50),
}
BUDGET = {"image_size": 224, "steps": 500, "tuning_steps": 80}

FULL = Study(
    name="transfer_race_full",
    question="Do the race's answers hold at 224 px, on further sets and with more images?",
    run=race,
    cells=tuple(
        cell(dataset, per_class, split, arm, **BUDGET)
        for split in SPLITS
        for dataset, sizes in SIZES.items()
        for per_class in sizes
        for arm in ARMS_BY_SIZE
    ),
    setting=("dataset", "per_class"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=tuple(
        comparison
        for comparison in COMPARISONS
        if comparison.id in ("two-phase", "size-thresholds", "pretrained-start")
        or comparison.family == "shift"
    ),
    left_out="Other arms, policies of BatchNorm and augmentation; other networks.",
)
