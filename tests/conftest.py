"""What holds for every test: nothing is written into the repository; shapes are checked."""

import importlib
import os
import shutil
import tempfile

import jaxtyping
import pytest

collect_ignore = ["run_all.py"]  # a program, which doctest would run

# Before any test imports tlcourse, which reads the variable once. Workers share the session's.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["TLCOURSE_BUILD_DIR"] = tempfile.mkdtemp(prefix="tlcourse-tests-")


def pytest_collectstart():
    """Import the libraries before tlcourse, which jaxtyping's hook watches.

    Below tlcourse's own imports the hook would give their bytecode another cache: 3,000 files
    compiled anew in every process where nothing may be written.
    """
    for name in ("matplotlib.pyplot", "onnxruntime", "scipy.stats", "sklearn.svm", "timm"):
        importlib.import_module(name)


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["TLCOURSE_BUILD_DIR"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _unchecked(request, monkeypatch):
    """``unchecked`` leaves bad input to our own errors, which beartype would forestall."""
    if request.node.get_closest_marker("unchecked"):
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
