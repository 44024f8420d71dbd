"""Sweeps: many independent cells, on the cores of one machine or on a cluster, resumable.

The results are one SQLite file, written by one process only. A cell is *started* when it is handed
out and *done* or *failed* when it is back, each in a transaction of its own, so that a sweep killed
at any moment goes on with what is missing and never does anything twice.
"""

import json
import os
import sqlite3
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import joblib
import pandas as pd
import torch

from tlcourse.errors import SweepError
from tlcourse.runtime import progress
from tlcourse.suggestions import did_you_mean

Settings = Mapping[str, str | int | float]
Result = Mapping[str, Any]
Backend = Literal["processes", "dask", "ray"]
Pool = Callable[[Iterator[Any]], Iterable[Any]]
ATTEMPTS = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY,      -- the settings as JSON, their names sorted
    state TEXT NOT NULL,       -- started, done or failed
    started INTEGER NOT NULL,  -- how often it was handed out
    result TEXT,               -- as JSON, once it is done
    error TEXT                 -- the last one
);
CREATE TABLE IF NOT EXISTS sweep (function TEXT NOT NULL);
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

    ``function`` must be importable by the workers and return what JSON can hold. ``backend`` is
    processes on this machine, or an existing dask or ray cluster at ``address`` whose workers have
    one thread each; torch gets one thread in each worker, so that all give the same numbers. A cell
    that raises, or whose worker dies, is tried up to three times, alone after a worker was lost.
    Raises SweepError when cells failed for good (the others are done and kept), when the file
    belongs to another function and when the cluster is not there.
    """
    wanted = {_key(settings): settings for settings in cells}
    with _locked(path), _connect(path) as database:
        _check_function(database, function)
        states = dict(database.execute("SELECT key, state FROM cells"))
        missing = {key: cell for key, cell in wanted.items() if states.get(key) != "done"}
        interrupted = tuple(key for key in missing if states.get(key) == "started")
        run = _Sweep(function, database, missing)
        with _pool(backend, workers, address) as call_all, warnings.catch_warnings():
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
        database: sqlite3.Connection,
        missing: Mapping[str, Settings],
    ) -> None:
        self.function, self.database, self.missing = function, database, dict(missing)
        self.tries = dict.fromkeys(missing, 0)
        self.failed: dict[str, str] = {}
        self.suspects: list[str] = []  # were out when a worker died: it may have been their doing
        self.lock = threading.Lock()  # joblib hands out from threads of its own

    def results(self, call_all: Pool) -> Iterator[str]:
        """Run until every cell is done or has failed for good; the keys as they are settled."""
        while self.missing:
            alone = self.suspects[:1]
            batch = alone or list(self.missing)
            out: set[str] = set()
            try:
                for key, result, error in call_all(self._hand_out(batch, out)):
                    out.discard(key)
                    if key in self.suspects:
                        self.suspects.remove(key)
                    if self._settle(key, result, error):
                        yield key
            except Exception as error:  # the pool's own: what a cell raises comes back as a result
                if not out:
                    raise
                self.suspects = self.suspects or [key for key in batch if key in out]
                lost = f"its worker died: {type(error).__name__}: {error}"
                if alone and self._settle(alone[0], None, lost):
                    self.suspects.remove(alone[0])
                    yield alone[0]

    def _hand_out(self, keys: Sequence[str], out: set[str]) -> Iterator[Any]:
        for key in keys:
            out.add(key)
            self.tries[key] += 1
            self._write(
                "INSERT INTO cells (key, state, started) VALUES (?, 'started', 1) "
                "ON CONFLICT (key) DO UPDATE SET state = 'started', started = started + 1",
                key,
            )
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
        with self.lock, self.database:
            self.database.execute(statement, values)


def _run(
    function: Callable[..., Result], key: str, settings: Settings
) -> tuple[str, str | None, str | None]:
    """In a worker: the cell's key, and its result or its error."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would give other numbers
    try:
        return key, json.dumps(function(**settings)), None
    except Exception:
        return key, None, traceback.format_exc()
    finally:
        torch.set_num_threads(threads)


def _end_with(parent: int) -> None:
    """In a worker: a thread that ends it when the sweep was killed and nobody will read it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, check_same_thread=False)) as database:
        try:
            database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise SweepError(f"{path} is not a file of results ({error})") from error
        yield database


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One sweep at a time for a file; SQLite's own lock, which ends with its process."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path.with_name(f".{path.name}.lock"), timeout=0)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise SweepError(f"another sweep is writing to {path}; wait until it ends") from error
        yield


def _check_function(database: sqlite3.Connection, function: Callable[..., Result]) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    recorded = [row[0] for row in database.execute("SELECT function FROM sweep")]
    if not recorded:
        with database:
            database.execute("INSERT INTO sweep VALUES (?)", (name,))
    elif recorded != [name]:
        raise SweepError(f"this file holds results of {recorded[0]}, not of {name}; use another")


@contextmanager
def _pool(backend: Backend, workers: int, address: str | None) -> Iterator[Pool]:
    """What runs joblib's delayed calls on the processes or the cluster."""
    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
    if backend == "processes":
        options |= {"initializer": _end_with, "initargs": (os.getpid(),)}
        yield lambda calls: joblib.Parallel(n_jobs=workers, backend="loky", **options)(calls)
    elif backend == "dask":
        with _dask(address), joblib.parallel_config(backend="dask"):
            yield lambda calls: joblib.Parallel(**options)(calls)
    elif backend == "ray":
        with _ray(address), joblib.parallel_config(backend="ray", n_jobs=-1):
            yield _in_chunks
    else:
        near = did_you_mean(backend, get_args(Backend))
        raise SweepError(f"no backend {backend!r}; there are {', '.join(get_args(Backend))}{near}")


def _in_chunks(calls: Iterator[Any]) -> Iterator[Any]:
    """Ray's joblib backend gives no result before all have come: so a few calls at a time."""
    parallel = joblib.Parallel(batch_size=1)
    size = 4 * joblib.effective_n_jobs(-1)
    while chunk := list(islice(calls, size)):
        yield from parallel(chunk)


@contextmanager
def _dask(address: str | None) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError as error:
        raise SweepError("dask is not installed; run: pip install distributed") from error
    if address is None:
        raise SweepError("backend dask needs the address of its scheduler, tcp://host:8786")
    try:
        client = Client(address, timeout=5)
    except OSError as error:
        raise SweepError(f"no dask scheduler answers at {address}: {error}") from error
    with client:
        threads = set(client.nthreads().values())
        if threads != {1}:
            raise SweepError(
                f"the workers at {address} have {sorted(threads) or 'no'} threads; start them with "
                "one each (dask worker --nthreads 1): two cells in one process would share a seed"
            )
        yield


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise SweepError("ray is not installed; run: pip install ray") from error
    try:
        ray.init(address=address or "auto", log_to_driver=False)
    except ConnectionError as error:
        raise SweepError(f"no ray cluster answers at {address or 'auto'}: {error}") from error
    try:
        register_ray()
        yield
    finally:
        ray.shutdown()
