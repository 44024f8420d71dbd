"""The study ``transfer_race_variants``: the race on other tasks made of the same images."""

from tlcourse.studies.race import race
from tlcourse.studies.study import Study
from tlcourse.studies.transfer_race import ARMS_BY_SIZE, COMPARISONS, MATTERS, OVERLAP, cell

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

VARIANTS = Study(
    name="transfer_race_variants",
    question="Do the race's answers hold on other tasks made of the same images?",
    run=race,
    cells=tuple(
        cell(dataset, PER_CLASS, split, arm)
        for split in SPLITS
        for dataset in DATASETS
        for arm in ARMS_BY_SIZE
    ),
    setting=("dataset", "per_class"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=tuple(
        comparison
        for comparison in COMPARISONS
        if comparison.id in ("two-phase", "size-thresholds", "pretrained-start")
    ),
    left_out="Other sizes, arms and policies of BatchNorm; more splits than three.",
)
