"""Where the cells of a sweep run: on processes of this machine, on a dask or on a ray cluster."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal, get_args

import joblib
from joblib.externals.loky import process_executor

from tlcourse.errors import SweepError
from tlcourse.suggestions import did_you_mean

Backend = Literal["processes", "dask", "ray"]
CACHED = 2 << 30  # bytes that a worker may keep
Pool = Callable[[Iterator[Any]], Iterable[Any]]


@contextmanager
def pool(backend: Backend, workers: int, address: str | None) -> Iterator[Pool]:
    """What runs joblib's delayed calls on the processes or the cluster."""
    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
    if backend == "processes":
        options |= {"initializer": _prepare_worker, "initargs": (os.getpid(),)}
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


def _prepare_worker(parent: int) -> None:
    """Let a worker keep what it caches, and end it when the sweep was killed and nobody reads it.

    loky takes 300 MB more than at the first call for a leak, and starts another worker in its
    place. Here it is the images and features of a task, which the next cell would compute again.
    """
    process_executor._MAX_MEMORY_LEAK_SIZE = CACHED

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
