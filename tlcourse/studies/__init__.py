"""Recorded studies: their declarations, how they are run, read, reported and checked live."""

from tlcourse.studies.batchnorm import BATCHNORM
from tlcourse.studies.study import Comparison, Study, read_study, run_study
from tlcourse.studies.thawing import THAWING
from tlcourse.studies.transfer_race import TRANSFER_RACE
from tlcourse.studies.transfer_race_pilot import PILOT

STUDIES = {study.name: study for study in (PILOT, TRANSFER_RACE, BATCHNORM, THAWING)}

__all__ = ["Comparison", "STUDIES", "Study", "read_study", "run_study"]
