from .basis import Basis, basis_of
from .choosing import Advice, advise, choose
from .coverage import interval_coverage
from .expecting import CLOSE, errors_saved, fit_expectation, promised
from .following import follow
from .measurements import FAR, LARGE, Measured, measure, transfer_scores
from .records import ADVISED, STAGE_PROBE, load_records, runs_of
from .regret import regrets, score
from .rules import CS231N_MATRIX, RULES, SOURCES_MATRIX
from .strategies import STRATEGIES, Strategy, strategy_named
from .strategy_training import train
from .sweeps import read_results, sweep
from .tasks import Task, make_task
from .variants import source_of

__all__ = [
    "ADVISED",
    "Advice",
    "Basis",
    "CLOSE",
    "CS231N_MATRIX",
    "FAR",
    "LARGE",
    "Measured",
    "RULES",
    "SOURCES_MATRIX",
    "STAGE_PROBE",
    "STRATEGIES",
    "Strategy",
    "Task",
    "advise",
    "basis_of",
    "choose",
    "errors_saved",
    "fit_expectation",
    "follow",
    "interval_coverage",
    "load_records",
    "make_task",
    "measure",
    "promised",
    "read_results",
    "regrets",
    "runs_of",
    "score",
    "source_of",
    "strategy_named",
    "sweep",
    "train",
    "transfer_scores",
]
