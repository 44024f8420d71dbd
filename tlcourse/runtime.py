"""Paths, profile, device and threads, the one seed helper, stopwatch and progress bar."""

import os
import random
import time
import warnings
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np
import platformdirs
import torch
from threadpoolctl import threadpool_limits

# In a clone all is beside the package. Installed from a wheel, the data are inside it, and what is
# built or fetched goes to the user's cache.
REPO_DIR = Path(__file__).resolve().parents[1]
IN_CLONE = (REPO_DIR / "pyproject.toml").is_file()
CACHE_DIR = platformdirs.user_cache_path("tlcourse", appauthor=False)
DATA_DIR = REPO_DIR / "data" if IN_CLONE else Path(str(files("tlcourse") / "data"))
DOWNLOADS_DIR = DATA_DIR / "downloads" if IN_CLONE else CACHE_DIR / "downloads"
BUILD_DIR = Path(
    os.environ.get("TLCOURSE_BUILD_DIR", REPO_DIR / "_build" if IN_CLONE else CACHE_DIR)
)
CLAIMS_DIR = BUILD_DIR / "claims"

Profile = Literal["quick", "full"]
T = TypeVar("T")


def profile() -> Profile:
    """The profile named by the variable ``TLCOURSE_PROFILE``: ``quick`` (default) or ``full``.

    Raises ValueError for any other value.
    """
    name = os.environ.get("TLCOURSE_PROFILE", "quick")
    if name not in ("quick", "full"):
        raise ValueError(f"TLCOURSE_PROFILE is {name!r}; expected 'quick' or 'full'")
    return cast(Profile, name)


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def mixed_precision() -> torch.autocast:
    """A context in which a GPU computes in float16 where that is safe; on the CPU it does nothing.

    Training, evaluation and cached features all use it, so that they give the same numbers.
    """
    return torch.autocast(device().type, torch.float16, enabled=device().type == "cuda")


def one_blas_thread() -> threadpool_limits:
    """A context in which NumPy's and SciPy's linear algebra computes on one thread.

    A logistic regression is thousands of products of small matrices: several threads wait for each
    other longer than they compute, and two of them took up to 14 times as long as one.
    """
    return threadpool_limits(limits=1, user_api="blas")


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators.

    Raises ValueError for a negative seed or one of 2**32 or more, which NumPy does not take.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}; expected 0 <= seed < 2**32")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seconds_of(action: Callable[..., object], *arguments: object) -> float:
    """Seconds that ``action(*arguments)`` takes, with the GPU's work where there is one."""
    started = time.perf_counter()
    action(*arguments)
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def progress(items: Iterable[T], *, desc: str, total: int | None = None) -> Iterable[T]:
    """``items`` behind a tqdm bar that vanishes when done; ``TLCOURSE_PROGRESS=0`` shows none.

    tqdm's own switches (``disable=None``, ``TQDM_DISABLE``) do not silence its notebook bars.
    """
    if os.environ.get("TLCOURSE_PROGRESS", "1") == "0":
        return items
    with warnings.catch_warnings():
        # Without ipywidgets tqdm falls back to text, which is fine, and says so in a warning.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm
    return tqdm(items, desc=desc, total=total, leave=False)
