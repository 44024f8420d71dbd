"""Sweeps: many independent cells, on the cores of one machine or on a cluster, resumable.

The results are one SQLite file, written by one process only. A cell is *started* when it is handed
out and *done* or *failed* when it is back, each in a transaction of its own, so that a sweep killed
at any moment goes on with what is missing and never does anything twice.
"""

import json
import sqlite3
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch

from tlcourse.advice.pools import Backend, Pool, pool
from tlcourse.errors import OutputError, SweepError
from tlcourse.files import locked, writing
from tlcourse.runtime import progress

Settings = Mapping[str, str | int | float]
Result = Mapping[str, Any]
ATTEMPTS = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY,      -- the settings as JSON, their names sorted
    state TEXT NOT NULL,       -- started, done or failed
    started INTEGER NOT NULL,  -- how often it was handed out
    result TEXT,               -- as JSON, once it is done
    error TEXT                 -- the last one
);
CREATE TABLE IF NOT EXISTS sweep (function TEXT NOT NULL);  -- its name
"""


@dataclass(frozen=True)
class Report:
    """What a call of ``sweep`` did: numbers of cells, and the keys of those that came back late.

    ``kept`` were done before, ``done`` now; ``interrupted`` had been started before and never came
    back; ``retried`` failed or were lost with their worker, and were started again now.
    """

    kept: int
    done: int
    interrupted: tuple[str, ...]
    retried: tuple[str, ...]


def sweep(
    function: Callable[..., Result],
    cells: Iterable[Settings],
    path: Path,
    *,
    workers: int = 2,
    backend: Backend = "processes",
    address: str | None = None,
) -> Report:
    """Call ``function(**settings)`` for every cell not yet done, and keep what it returns.

    A cell that raises, or whose worker dies, is tried up to three times, alone after a worker was
    lost; the numbers are the same on any backend.

    Parameters
    ----------
    function : callable
        Importable by the workers; returns what JSON can hold. Torch gets one thread in each worker,
        so that all give the same numbers.
    cells : iterable of mappings
        The settings, each a number or a text.
    path : Path
        The file of results; a sweep there goes on.
    workers : int
        Processes on this machine.
    backend : {"processes", "dask", "ray"}
        The latter are an existing cluster whose workers have one thread each.
    address : str, optional
        The cluster's.

    Returns
    -------
    Report
        Numbers of cells, and which came back late.

    Raises
    ------
    SweepError
        When cells failed for good (the others are done and kept), when the file belongs to another
        function and when the cluster is not there.
    OutputError
        When the file takes no more; what it holds stays, and a sweep there goes on.

    Examples
    --------
    >>> import tempfile
    >>> cells = [{"lr": 0.1}, {"lr": 1.0}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sweep(dict, cells, Path(folder, "results.sqlite"), workers=1).done
    2
    """
    wanted = {key: json.loads(key) for key in map(_key, cells)}  # numpy's numbers made plain
    path = Path(path)
    busy = SweepError(f"another sweep is writing to {path}; wait until it ends")
    with locked(path.with_name(f".{path.name}.lock"), busy), _connect(path) as database:
        _check_function(database, function, path)
        states = dict(database.execute("SELECT key, state FROM cells"))
        missing = {key: cell for key, cell in wanted.items() if states.get(key) != "done"}
        interrupted = tuple(key for key in missing if states.get(key) == "started")
        run = _Sweep(function, path, database, missing)
        with pool(backend, workers, address) as call_all, warnings.catch_warnings():
            # loky replaces a worker whose memory has grown; nothing is lost by that.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
            for _ in progress(run.results(call_all), desc="cells", total=len(missing)):
                pass
    if run.failed:
        key, error = next(iter(run.failed.items()))
        raise SweepError(
            f"{len(run.failed)} of {len(wanted)} cells failed {ATTEMPTS} times, the others are "
            f"done; call again to retry them. The first is {key}:\n{error}"
        )
    retried = tuple(key for key, tries in run.tries.items() if tries > 1)
    return Report(len(wanted) - len(missing), len(missing), interrupted, retried)


def read_results(path: Path) -> pd.DataFrame:
    """All cells that are done: their settings and results as columns, sorted by the settings.

    Raises FileNotFoundError when there is no such file.

    Examples
    --------
    >>> from tlcourse.advice.records import RESULTS
    >>> table = read_results(RESULTS / "heads" / "cells.sqlite")
    >>> float(table["plain"].max()) <= 1
    True
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no sweep has been recorded there")
    with _connect(path) as database:
        rows = list(
            database.execute("SELECT key, result FROM cells WHERE state = 'done' ORDER BY key")
        )
    return pd.DataFrame([{**json.loads(key), **json.loads(result)} for key, result in rows])


class _Sweep:
    """The cells of one call, and how often each was tried."""

    def __init__(
        self,
        function: Callable[..., Result],
        path: Path,
        database: sqlite3.Connection,
        missing: Mapping[str, Settings],
    ) -> None:
        self.function, self.path, self.database = function, path, database
        self.missing = dict(missing)
        self.tries = dict.fromkeys(missing, 0)
        self.failed: dict[str, str] = {}
        self.lock = threading.Lock()  # joblib hands out from threads of its own
        self.unwritten: OutputError | None = None  # what stopped it

    def results(self, call_all: Pool) -> Iterator[str]:
        """Run until every cell is done or has failed for good; the keys as they are settled."""
        suspects: dict[str, str] = {}
        while together := [key for key in self.missing if key not in suspects]:
            suspects |= yield from self._round(call_all, together)
        for key in suspects:  # one by one: a cell that kills its worker takes no other with it
            while key in self.missing:
                lost = yield from self._round(call_all, [key])
                if lost and self._settle(key, None, lost[key]):
                    yield key

    def _round(self, call_all: Pool, keys: Sequence[str]) -> Generator[str, None, dict[str, str]]:
        """Try cells once; yields those that are settled, returns those out when a worker died."""
        out: set[str] = set()
        try:
            for key, result, error in call_all(self._hand_out(keys, out)):
                out.discard(key)
                if self._settle(key, result, error):
                    yield key
        except Exception as error:  # the pool's own: what a cell raises comes back as a result
            if not out or self.unwritten:
                raise
            lost = f"its worker died: {type(error).__name__}: {error}"
            return {key: lost for key in keys if key in out}
        if self.unwritten:
            raise self.unwritten
        return {}

    def _hand_out(self, keys: Sequence[str], out: set[str]) -> Iterator[Any]:
        for key in keys:
            out.add(key)
            self.tries[key] += 1
            try:
                self._write(
                    "INSERT INTO cells (key, state, started) VALUES (?, 'started', 1) "
                    "ON CONFLICT (key) DO UPDATE SET state = 'started', started = started + 1",
                    key,
                )
            except OutputError:
                return  # joblib would wait for ever for a thread in which an error was raised
            yield joblib.delayed(_run)(self.function, key, dict(self.missing[key]))

    def _settle(self, key: str, result: str | None, error: str | None) -> bool:
        """Write down how a cell came back; whether that is the end of it."""
        state = "failed" if result is None else "done"
        self._write(
            "UPDATE cells SET state = ?, result = ?, error = ? WHERE key = ?",
            state,
            result,
            error,
            key,
        )
        if result is None and self.tries[key] < ATTEMPTS:
            return False
        del self.missing[key]
        if result is None:
            self.failed[key] = str(error)
        return True

    def _write(self, statement: str, *values: str | None) -> None:
        try:
            with self.lock, writing(self.path), self.database:
                self.database.execute(statement, values)
        except OutputError as error:
            self.unwritten = error
            raise


def _run(
    function: Callable[..., Result], key: str, settings: Settings
) -> tuple[str, str | None, str | None]:
    """In a worker: the cell's key, and its result or its error."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give other numbers
    try:
        return key, json.dumps(function(**settings), default=_plain), None
    except Exception:  # noqa: BLE001 - whatever a cell raises is written down beside it
        return key, None, traceback.format_exc()
    finally:
        torch.set_num_threads(threads)


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's own: the same settings give the same key."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}; expected numbers and texts")


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    with writing(path):
        connection = sqlite3.connect(path, check_same_thread=False)
    with closing(connection) as database:
        try:
            with writing(path):
                database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise SweepError(f"{path} is not a file of results ({error})") from error
        yield database


def _check_function(
    database: sqlite3.Connection, function: Callable[..., Result], path: Path
) -> None:
    """Compare names without their module: a function may move to another file and go on."""
    if not getattr(function, "__name__", "<no name>").isidentifier():
        raise SweepError("results are kept under the function's name; give it one by def")
    recorded = [row[0] for row in database.execute("SELECT function FROM sweep")]
    name = function.__name__
    if not recorded:
        with writing(path), database:
            database.execute("INSERT INTO sweep VALUES (?)", (name,))
    elif recorded[0].rpartition(".")[2] != name:  # older files name the module, too
        raise SweepError(f"this file holds results of {recorded[0]}, not of {name}; use another")
