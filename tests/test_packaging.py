"""Every list of what the course needs says the same, and set-up happens exactly once."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import tlcourse

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
LEARNERS_PACKAGES = {
    "torch",
    "torchvision",
    "jupyterlab",
    "matplotlib",
    "torchinfo",
    "nbval",
    "pytest",
}


def by_name(lines: list[str]) -> dict[str, SpecifierSet]:
    parsed = map(Requirement, lines)
    return {canonicalize_name(r.name): r.specifier for r in parsed}


def test_environment_yml_agrees_with_pyproject():
    extras = PROJECT["optional-dependencies"]
    declared = by_name(PROJECT["dependencies"] + sum(extras.values(), []))
    (pip,) = (entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    editable = [line for line in pip if line.startswith("-e")]
    named = by_name([line for line in pip if line not in editable])

    assert set(named) == LEARNERS_PACKAGES
    assert named == {name: declared.get(name) for name in named}
    assert editable == [f"-e .[{','.join(sorted(extras))}]"]
    (python,) = (e for e in CONDA["dependencies"] if isinstance(e, str) and e.startswith("python"))
    assert by_name([python])["python"] == SpecifierSet(PROJECT["requires-python"])


def test_environment_yml_sets_the_variables_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert CONDA["variables"] == dict(re.findall(r"^export (\w+) \?= (\w+)$", makefile, re.M))


OPTIONAL = {"distributed", "ray"}  # a sweep on a cluster asks for them and says how to install


def test_every_import_is_declared():
    """What arrives only as another package's dependency can leave with its next release."""
    imported = set()
    for path in (ROOT / "tlcourse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").split(".")[0])
    imported -= sys.stdlib_module_names | {"tlcourse"} | OPTIONAL
    distributions = packages_distributions()
    declared = by_name(PROJECT["dependencies"])
    undeclared = {
        module
        for module in imported
        if not any(canonicalize_name(d) in declared for d in distributions.get(module, [module]))
    }
    assert not undeclared


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == tlcourse.__version__ == str(citation["version"])


def test_ci_is_the_readers_test_command():
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The two files that set-up reads, where it may do what it likes."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The make that runs this test must not pass its own options on.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
class TestMake:
    @pytest.mark.parametrize("target", ["lab", "course", "test", "notebooks", "bench", "doctor"])
    def test_only_the_first_target_installs(self, checkout: Path, target: str):
        assert re.search(r"pip install.*\[lab,test\]", make(checkout, "-n", target).stdout)
        (checkout / ".venv").mkdir()
        (checkout / ".venv" / ".installed").touch()
        again = make(checkout, "-n", target)
        assert again.returncode == 0 and "pip" not in again.stdout

    @pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
    def test_a_failed_set_up_is_not_taken_for_a_finished_one(self, checkout: Path):
        python = checkout / "python"
        python.write_text('#!/bin/sh\ntest "$1" = -c || { mkdir -p .venv/bin; exit 1; }\n')
        python.chmod(0o755)
        assert make(checkout, "test", "PYTHON=./python").returncode != 0
        assert (checkout / ".venv").is_dir() and not (checkout / ".venv" / ".installed").exists()

    def test_an_old_python_is_told_what_is_needed(self, checkout: Path):
        """Set-up's own check, run with the version it would see on Python 3.10."""
        lines = make(checkout, "-n", "test").stdout.splitlines()
        (check,) = (re.search(r"-c '(.*)'", line)[1] for line in lines if " -c '" in line)
        old = "import sys; sys.version_info = (3, 10, 4); sys.version = '3.10.4 (main)'; "
        done = subprocess.run([sys.executable, "-c", old + check], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("tlcourse needs Python 3.11 or newer, this is 3.10.4")

    def test_the_default_is_help(self, checkout: Path):
        done = make(checkout)
        assert "make lab" in done.stdout and not (checkout / ".venv").exists()
