"""Which strategy for which data: recipes, recorded trainings, and what they advise."""

from tlcourse.advice.advisor import Advice, advise, load_records
from tlcourse.advice.advisor_score import score
from tlcourse.advice.laboratory import MATRICES, cells, run_cell, run_matrix
from tlcourse.advice.measurements import FAR, LARGE, Measured, measure, transfer_scores
from tlcourse.advice.strategies import (
    QUADRANTS,
    QUADRANTS_SOURCE,
    STRATEGIES,
    Strategy,
    strategy_named,
    train,
)
from tlcourse.advice.sweeps import read_results, sweep
from tlcourse.advice.tasks import Task, make_task

__all__ = [
    "Advice",
    "FAR",
    "LARGE",
    "MATRICES",
    "Measured",
    "QUADRANTS",
    "QUADRANTS_SOURCE",
    "STRATEGIES",
    "Strategy",
    "Task",
    "advise",
    "cells",
    "load_records",
    "make_task",
    "measure",
    "read_results",
    "run_cell",
    "run_matrix",
    "score",
    "strategy_named",
    "sweep",
    "train",
    "transfer_scores",
]
