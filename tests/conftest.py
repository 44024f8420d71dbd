"""What holds for every test: nothing is written into the repository; shapes are checked."""

import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import jaxtyping
import pytest

# Nothing of it is used, and where it is installed jsonschema (nbformat's) spends two seconds on it.
sys.modules["rfc3987_syntax"] = None

collect_ignore = ["run_all.py"]  # a program, which doctest would run

# Before any test imports tlcourse, which reads the variable once. Workers share the session's.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["TLCOURSE_BUILD_DIR"] = tempfile.mkdtemp(prefix="tlcourse-tests-")


def pytest_collectstart():
    """Import the libraries before tlcourse, which jaxtyping's hook watches.

    Below tlcourse's own imports the hook would give their bytecode another cache: 3,000 files
    compiled anew in every process where nothing may be written.
    """
    for name in (
        "matplotlib.pyplot",
        "onnxruntime",
        "scipy.stats",
        "skimage.feature",
        "sklearn.svm",
        "timm",
    ):
        importlib.import_module(name)


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["TLCOURSE_BUILD_DIR"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _unchecked(request, monkeypatch):
    """``unchecked`` leaves bad input to our own errors, which beartype would forestall."""
    if request.node.get_closest_marker("unchecked"):
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def start() -> Callable[..., BaseProcess]:
    """Start a module's function in a process of its own, on one thread.

    On Linux it is a copy of this process, which has imported everything. The threads of OpenMP
    are not copied: a second one would be waited for in vain.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")

    def start(function: Callable[..., object], *arguments: object) -> BaseProcess:
        process = context.Process(target=_on_one_thread, args=(function, *arguments))
        process.start()
        return process

    return start


def _on_one_thread(function: Callable[..., object], *arguments: object) -> None:
    import torch

    torch.set_num_threads(1)
    function(*arguments)
