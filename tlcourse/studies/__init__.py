"""Recorded studies: their declarations, how they are run, read, reported and checked live."""

from tlcourse.studies.frozen_features import FROZEN_FEATURES
from tlcourse.studies.study import Comparison, Study, read_study, run_study
from tlcourse.studies.transfer_race import PILOT

STUDIES = {study.name: study for study in (FROZEN_FEATURES, PILOT)}

__all__ = ["Comparison", "STUDIES", "Study", "read_study", "run_study"]
