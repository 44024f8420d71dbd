"""What ``import tlcourse`` offers, and that it costs nothing."""

import subprocess
import sys

import pytest

import tlcourse
from tlcourse import tuning

WINGS = {
    "advice",
    "architectures",
    "book",
    "datasets",
    "diagnosis",
    "evidence",
    "networks",
    "own_images",
    "tuning",
}


def test_importing_it_loads_neither_torch_nor_a_wing():
    code = (
        "import sys, tlcourse; tlcourse.__version__, dir(tlcourse); "
        "print({n for n in sys.modules if n in ('torch', 'numpy') or n.startswith('tlcourse.')})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_name_is_there_and_listed():
    for name in tlcourse.__all__:
        assert getattr(tlcourse, name) is not None
    assert set(tlcourse.__all__) <= set(dir(tlcourse))
    assert tlcourse.fit is tuning.fit


def test_only_wings_are_modules():
    """A function of a module's own name would be hidden once the module is imported."""
    modules = {n for n in tlcourse.__all__ if type(getattr(tlcourse, n)).__name__ == "module"}
    assert modules == WINGS


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="fitt"):
        tlcourse.fitt  # noqa: B018
