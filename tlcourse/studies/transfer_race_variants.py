"""The study ``transfer_race_variants``: the race on other tasks made of the same images."""

from dataclasses import replace

from tlcourse.studies.transfer_race import ANSWERED_BY_SIZE, ARMS_BY_SIZE, TRANSFER_RACE, cell

# Declared on 2026-11-30, while transfer_race was being run. They are no new sources, see
# ``source_of``, so three splits: what the advisor expects of a source shall not hang on one task.
PER_CLASS, SPLITS = 20, range(3)
DATASETS = (
    "scenes_checks",
    "scenes_tinted",
    "scenes_animals",
    "scenes_plants",
    "scenes_kingdoms",
    "elpv_mono",
    "elpv_poly",
)

VARIANTS = replace(
    TRANSFER_RACE,
    name="transfer_race_variants",
    question="Do the race's answers hold on other tasks made of the same images?",
    cells=tuple(
        cell(dataset, PER_CLASS, split, arm)
        for split in SPLITS
        for dataset in DATASETS
        for arm in ARMS_BY_SIZE
    ),
    comparisons=ANSWERED_BY_SIZE,
    left_out="Other sizes, arms and policies of BatchNorm; more splits than three.",
)
