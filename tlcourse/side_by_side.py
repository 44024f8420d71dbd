"""Independent computations side by side, one torch thread each: small trainings fill the cores."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import joblib

from tlcourse.runtime import device, progress

MAX_WORKERS = 8  # each holds its own copy of torch and of the data
T = TypeVar("T")


def side_by_side(
    function: Callable[..., T], calls: Iterable[Sequence[object]], *, desc: str = "runs"
) -> list[T]:
    """What ``function(*arguments)`` gives for each of the ``calls``, in their order.

    A small network leaves a second thread little to do, so each call gets one thread of a process
    of its own; the numbers are the same for any number of cores. A GPU is shared by nobody: there
    the calls run one after another.

    Parameters
    ----------
    function : callable
        Seeds itself from its arguments; may be defined in a notebook.
    calls : iterable of tuples
        The arguments of each call.
    desc : str
        What the progress bar counts.

    Returns
    -------
    list
        One result a call. An error in a call is raised here.

    Examples
    --------
    >>> side_by_side(pow, [(2, 3), (3, 2)])
    [8, 9]
    """
    listed = [tuple(arguments) for arguments in calls]
    if device().type == "cuda":
        return [function(*arguments) for arguments in progress(listed, desc=desc)]
    workers = min(joblib.cpu_count(), MAX_WORKERS)
    batch = max(1, len(listed) // (4 * workers))  # a function goes out once a batch, with its data
    pool = joblib.parallel_config(
        "loky", n_jobs=workers, inner_max_num_threads=1, initializer=_without_bars
    )
    with pool, warnings.catch_warnings():
        # A worker whose memory has grown is replaced by a new one; nothing is lost by that.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        results = joblib.Parallel(batch_size=batch, return_as="generator")(
            joblib.delayed(function)(*arguments) for arguments in listed
        )
        return list(progress(results, desc=desc, total=len(listed)))


def _without_bars() -> None:
    os.environ["TLCOURSE_PROGRESS"] = "0"
