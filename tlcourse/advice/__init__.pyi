from .basis import Basis, basis_of
from .choosing import Advice, advise, choose
from .coverage import interval_coverage
from .expecting import CLOSE, errors_saved, fit_expectation, promised
from .laboratory import MATRICES, cells, run_cell, run_matrix
from .measurements import FAR, LARGE, Measured, measure, transfer_scores
from .records import RECORD, load_records, runs_of
from .regret import regrets, score
from .rules import RULES, SOURCES_MATRIX
from .strategies import QUADRANTS, QUADRANTS_SOURCE, STRATEGIES, Strategy, strategy_named
from .strategy_training import train
from .sweeps import read_results, sweep
from .tasks import Task, make_task
from .variants import source_of

__all__ = [
    "Advice",
    "Basis",
    "CLOSE",
    "FAR",
    "LARGE",
    "MATRICES",
    "Measured",
    "QUADRANTS",
    "QUADRANTS_SOURCE",
    "RECORD",
    "RULES",
    "SOURCES_MATRIX",
    "STRATEGIES",
    "Strategy",
    "Task",
    "advise",
    "basis_of",
    "cells",
    "choose",
    "errors_saved",
    "fit_expectation",
    "interval_coverage",
    "load_records",
    "make_task",
    "measure",
    "promised",
    "read_results",
    "regrets",
    "run_cell",
    "run_matrix",
    "runs_of",
    "score",
    "source_of",
    "strategy_named",
    "sweep",
    "train",
    "transfer_scores",
]
