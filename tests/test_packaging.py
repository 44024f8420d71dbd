"""Every list of what the course needs says the same, and set-up happens exactly once."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import tlcourse

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
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


def locked(name: str) -> dict[str, str]:
    """Packages and versions of a lock; of several, for as many Pythons, the last."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return {
        canonicalize_name(package): version
        for package, version in re.findall(r"^([\w.-]+)(?:\[.+\])?==([^ \n]+)", text, re.MULTILINE)
    }


def declared(*extras: str) -> dict[str, SpecifierSet]:
    optional = PROJECT["optional-dependencies"]
    return by_name([*PROJECT["dependencies"], *(line for e in extras for line in optional[e])])


def test_environment_yml_agrees_with_the_lock():
    (pip,) = (entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    versions, *named, editable = pip
    assert versions == "-c requirements/versions.txt"
    assert editable == "-e .[lab,cluster,test]"
    locks = locked("versions")
    assert {name: f"=={locks[name]}" for name in LEARNERS_PACKAGES} == {
        name: str(specifier) for name, specifier in by_name(named).items()
    }
    (python,) = (e for e in CONDA["dependencies"] if isinstance(e, str) and e.startswith("python"))
    assert by_name([python])["python"] == SpecifierSet(PROJECT["requires-python"]) & "<3.14"


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("versions", ("lab", "cluster", "test")),
        ("lab", ("lab",)),
        ("test", ("lab", "cluster", "test")),
        ("oldest", ("lab", "cluster", "test")),
    ],
)
def test_a_lock_holds_what_is_declared(lock: str, extras: tuple[str, ...]):
    versions = locked(lock)
    for name, specifier in declared(*extras).items():
        assert versions[name] in specifier, name
    assert "setuptools" in versions  # the editable install after it builds with no other


def test_the_locks_agree():
    versions = locked("versions")
    assert locked("test").items() == versions.items()
    assert locked("lab").items() <= versions.items()
    pins = (ROOT / "requirements" / "pins.in").read_text(encoding="utf-8")
    assert dict(re.findall(r"^(\w+)==(.+)$", pins, re.MULTILINE)).items() <= versions.items()
    oldest = locked("oldest")
    assert oldest["torch"].startswith("2.11.") and oldest["torchvision"].startswith("0.26.")


@pytest.mark.parametrize("lock", ["lab", "test", "oldest"])
def test_every_file_that_a_lock_admits_is_hashed_and_none_has_an_address(lock: str):
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^\S.*==.*$", text, re.MULTILINE)
    assert len(pinned) > 100 and all(line.endswith(" \\") for line in pinned)
    package = r"[\w.-]+(\[[\w, -]+\])?==[\w.!+]+ "
    for line in text.splitlines():
        assert re.match(rf"    --hash=sha256:[0-9a-f]{{64}}( \\)?$|{package}", line), line


@pytest.mark.parametrize("lock", ["lab", "test"])
def test_a_lock_names_the_extras_that_its_packages_ask_for(lock: str):
    """Else pip before 23.3 takes the newest `coverage[toml]`, has no hash for it and stops."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    versions = locked(lock)
    named = {
        (canonicalize_name(package), extra)
        for package, extras in re.findall(r"^([\w.-]+)\[(.+)\]==", text, re.MULTILINE)
        for extra in extras.split(", ")
    }
    asked = {
        (canonicalize_name(needed.name), extra)
        for package in distributions()
        if versions.get(canonicalize_name(package.name)) == package.version
        for needed in map(Requirement, package.requires or ())
        if needed.marker is None or needed.marker.evaluate({"extra": ""})
        for extra in needed.extras
    }
    assert asked and asked <= named


def test_environment_yml_sets_the_variables_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert CONDA["variables"] == dict(
        re.findall(r"^export (\w+) \?= (\w+)$", makefile, re.MULTILINE)
    )


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


def test_one_version_and_one_date_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == tlcourse.__version__ == str(citation["version"])
    assert citation["license"] == PROJECT["license"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[([\d.]+)\] – (\S+)$", changes, re.MULTILINE)
    assert released[0] == (PROJECT["version"], str(citation["date-released"]))
    assert changes.index("## [Unreleased]") < changes.index(f"## [{PROJECT['version']}]")


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem
)
def test_workflows_name_commits_of_what_they_use(path: Path):
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["jobs"]
    for action, commit in re.findall(r"uses: (\S+?)@(\S+)", text):
        assert re.fullmatch("[0-9a-f]{40}", commit), action


def test_hooks_run_what_make_installed_though_it_is_not_active():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = hooks["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert entries and all(entry.startswith(".venv/bin/") for entry in entries)


def test_ci_is_the_readers_test_command():
    commands = [
        line
        for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that set-up reads, where it may do what it likes."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "requirements").mkdir()
    for name in ("lab", "test", "oldest", "newest"):
        (tmp_path / "requirements" / f"{name}.txt").touch()
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The make that runs this test must not pass its own options on.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def stamp(checkout: Path, name: str) -> None:
    (checkout / ".venv").mkdir(exist_ok=True)
    (checkout / ".venv" / name).touch()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
class TestMake:
    @pytest.mark.parametrize("target", ["lab", "course", "check", "notebooks", "doctor"])
    def test_only_the_first_target_installs(self, checkout: Path, target: str):
        first = make(checkout, "-n", target).stdout
        assert "-r requirements/lab.txt" in first and "requirements/test.txt" not in first
        stamp(checkout, ".learner")
        again = make(checkout, "-n", target)
        assert again.returncode == 0 and "pip" not in again.stdout

    @pytest.mark.parametrize("target", ["test", "bench", "coverage"])
    def test_what_guards_the_course_needs_more(self, checkout: Path, target: str):
        assert "-r requirements/test.txt" in make(checkout, "-n", target).stdout
        stamp(checkout, ".learner")
        stamp(checkout, ".tester")
        again = make(checkout, "-n", target)
        assert again.returncode == 0 and "pip" not in again.stdout

    @pytest.mark.parametrize("packages", ["newest", "oldest"])
    def test_other_versions_are_set_up_beside_the_locked_ones(self, checkout: Path, packages: str):
        stamp(checkout, ".learner")
        stamp(checkout, ".tester")
        commands = make(checkout, "-n", "test", f"SET={packages}").stdout
        assert f"-m venv .venv-{packages}" in commands
        assert f"-r requirements/{packages}.txt" in commands and "lab.txt" not in commands

    @pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
    def test_a_failed_set_up_is_not_taken_for_a_finished_one(self, checkout: Path):
        python = checkout / "python"
        python.write_text('#!/bin/sh\ntest "$1" = -c || { mkdir -p .venv/bin; exit 1; }\n')
        python.chmod(0o755)
        assert make(checkout, "test", "PYTHON=./python").returncode != 0
        assert (checkout / ".venv").is_dir() and not list(checkout.glob(".venv/.[lt]*er"))

    @pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0)])
    def test_another_python_is_told_what_is_needed(self, checkout: Path, version: tuple[int, ...]):
        """Set-up's own check, run with the version it would see."""
        lines = make(checkout, "-n", "test").stdout.splitlines()
        (check,) = (re.search(r"-c '(.*)'", line)[1] for line in lines if " -c '" in line)
        dotted = ".".join(map(str, version))
        other = f"import sys; sys.version_info = {version}; sys.version = '{dotted} (main)'; "
        done = subprocess.run([sys.executable, "-c", other + check], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith(f"tlcourse needs Python 3.11, 3.12 or 3.13, this is {dotted}")

    def test_the_default_is_help(self, checkout: Path):
        done = make(checkout)
        assert "make lab" in done.stdout and not (checkout / ".venv").exists()


def test_a_wheel_holds_every_package_and_its_data():
    setuptools = SETTINGS["tool"]["setuptools"]
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "tlcourse").rglob("__init__.py")
    }
    assert set(setuptools["packages"]) == folders | {"tlcourse.data"}
    data = setuptools["package-data"]["tlcourse.data"]
    files = {file for pattern in data for file in (ROOT / "data").glob(pattern)}
    assert {file.relative_to(ROOT / "data").as_posix() for file in files} >= {
        "cutouts/index.csv",
        "cutouts/LICENCE",
        "results/transfer_race/cells.sqlite",
        "results/race_tasks/cells.sqlite",
    }
    assert sum(file.suffix == ".webp" for file in files) == 187
    templates = [*(ROOT / "tlcourse").rglob("*.j2")]
    assert all(file.parent.name == "templates" for file in templates) and templates
