"""Recorded studies: their declarations, how they are run, read, reported and checked live."""

from tlcourse.studies.head_training import FeatureTask, Training, feature_task, train_head
from tlcourse.studies.heads import HEADS
from tlcourse.studies.recorded_families import family_effects, provenance, recorded_family
from tlcourse.studies.scaled_init import SCALED_INIT
from tlcourse.studies.study import Comparison, Study, read_study, run_study
from tlcourse.studies.transfer_race import PILOT, TRANSFER_RACE

STUDIES = {study.name: study for study in (PILOT, TRANSFER_RACE, HEADS, SCALED_INIT)}

__all__ = [
    "STUDIES",
    "Comparison",
    "FeatureTask",
    "Study",
    "Training",
    "family_effects",
    "feature_task",
    "provenance",
    "read_study",
    "recorded_family",
    "run_study",
    "train_head",
]
