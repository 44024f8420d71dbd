"""The study ``transfer_race_full``: the race at 224 px, on more and larger sets; for a GPU."""

from dataclasses import replace

from tlcourse.studies.transfer_race import (
    ANSWERED_BY_SIZE,
    ARMS_BY_SIZE,
    SPLITS,
    TRANSFER_RACE,
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

FULL = replace(
    TRANSFER_RACE,
    name="transfer_race_full",
    question="Do the race's answers hold at 224 px, on further sets and with more images?",
    cells=tuple(
        cell(dataset, per_class, split, arm, **BUDGET)
        for split in SPLITS
        for dataset, sizes in SIZES.items()
        for per_class in sizes
        for arm in ARMS_BY_SIZE
    ),
    comparisons=(*ANSWERED_BY_SIZE, *TRANSFER_RACE.only("shift").comparisons),
    left_out="Other arms, policies of BatchNorm and augmentation; other networks.",
)
