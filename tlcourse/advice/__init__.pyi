from .advisor import Advice, advise, load_records
from .advisor_score import losses, score
from .laboratory import MATRICES, cells, run_cell, run_matrix
from .measurements import FAR, LARGE, Measured, measure, transfer_scores
from .strategies import QUADRANTS, QUADRANTS_SOURCE, STRATEGIES, Strategy, strategy_named
from .strategy_training import train
from .sweeps import read_results, sweep
from .tasks import Task, make_task

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
    "losses",
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
