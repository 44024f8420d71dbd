"""Recorded studies: their declarations, how they are run, read, reported and checked live."""

from tlcourse.errors import StudyError
from tlcourse.studies.augmented_features import AUGMENTED_FEATURES
from tlcourse.studies.batchnorm import BATCHNORM
from tlcourse.studies.biased_scenes import BIASED_SCENES
from tlcourse.studies.checking import spot_check
from tlcourse.studies.few_images import FEW_IMAGES
from tlcourse.studies.findings import Finding, findings, paired
from tlcourse.studies.forests import forest
from tlcourse.studies.frozen_features import FROZEN_FEATURES
from tlcourse.studies.head_training import FeatureTask, Training, feature_task, train_head
from tlcourse.studies.heads import HEADS
from tlcourse.studies.race_tasks import RACE_TASKS
from tlcourse.studies.recorded_families import family_effects, family_points, recorded_family
from tlcourse.studies.regularisation import REGULARISATION
from tlcourse.studies.report import as_table, as_text, provenance
from tlcourse.studies.scaled_init import SCALED_INIT
from tlcourse.studies.sizing import detectable_by_splits
from tlcourse.studies.study import Comparison, Study, read_study, run_study
from tlcourse.studies.thawing import THAWING
from tlcourse.studies.transfer_race import TRANSFER_RACE
from tlcourse.studies.transfer_race_full import FULL
from tlcourse.studies.transfer_race_pilot import PILOT
from tlcourse.studies.transfer_race_variants import VARIANTS
from tlcourse.suggestions import look_up

STUDIES = {
    study.name: study
    for study in (
        PILOT,
        TRANSFER_RACE,
        VARIANTS,
        FULL,
        RACE_TASKS,
        BATCHNORM,
        THAWING,
        FROZEN_FEATURES,
        FEW_IMAGES,
        BIASED_SCENES,
        HEADS,
        SCALED_INIT,
        AUGMENTED_FEATURES,
        REGULARISATION,
    )
}

__all__ = [
    "Comparison",
    "Finding",
    "STUDIES",
    "Study",
    "as_table",
    "as_text",
    "detectable_by_splits",
    "findings",
    "forest",
    "paired",
    "provenance",
    "read_study",
    "run_study",
    "spot_check",
    "FeatureTask",
    "Training",
    "family_effects",
    "family_points",
    "feature_task",
    "recorded_family",
    "train_head",
    "study_named",
]


def study_named(name: str) -> Study:
    """A study by name; raises StudyError that lists them for an unknown one.

    Examples
    --------
    >>> study_named("frozen_features").over
    'split'
    """
    return look_up(name, STUDIES, "study", StudyError)
