"""Recorded studies: their declarations, how they are run, read, reported and checked live."""

from tlcourse.studies.heads import HEADS
from tlcourse.studies.scaled_init import SCALED_INIT
from tlcourse.studies.study import Comparison, Study, read_study, run_study
from tlcourse.studies.transfer_race import PILOT

STUDIES = {study.name: study for study in (PILOT, HEADS, SCALED_INIT)}

__all__ = ["Comparison", "STUDIES", "Study", "read_study", "run_study"]
