"""Running chapters from the shell: verdicts, what is saved, and errors that name the cell."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tlcourse.book import chapters, course
from tlcourse.cli import main

ROOT = Path(__file__).resolve().parents[2]
CLAIM = (
    "from tlcourse.book import at_most, claim, equals, exact, guard, start_chapter\n"
    'profile = start_chapter("{stem}")\n'
    'exact("one", "there are 1,280 of them", 1280, equals(1280), "counting")\n'
    'claim("two", "A beats B", [0.3, 0.31, 0.3], "folklore", says="confirmed", matters=0.02,\n'
    '      unit="points", condition="64 px")\n'
    'guard("three", "it is cheap", 1.1, at_most(1.2))'
)


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """An empty course, for this process and for the kernels it starts."""
    monkeypatch.setenv("TLCOURSE_BUILD_DIR", str(tmp_path / "_build"))
    monkeypatch.setenv("TLCOURSE_PROFILE", "quick")
    monkeypatch.setenv("COLUMNS", "180")  # of the table, wherever the tests run
    monkeypatch.setattr(chapters, "NOTEBOOKS_DIR", tmp_path / "notebooks")
    monkeypatch.setattr(chapters, "BUILD_DIR", tmp_path / "_build")
    monkeypatch.setattr(course, "CLAIMS_DIR", tmp_path / "_build" / "claims")
    monkeypatch.setattr(course, "DATA_DIR", tmp_path / "data")
    return tmp_path


def write(repo: Path, stem: str, *sources: str) -> Path:
    cells = [new_code_cell(text.replace("{stem}", stem)) for text in sources]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    path = repo / "notebooks" / f"{stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_the_tables_and_a_failed_cell(repo, capsys):
    good = write(repo, "00_good", CLAIM)
    bad = write(repo, "01_bad", "a = 1", "raise ValueError('no such layer')")
    before = {path: path.read_bytes() for path in (good, bad)}
    assert main(["course"]) == 1
    out = capsys.readouterr().out
    assert "FAILED cell cell-1: ValueError: no such layer" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line[:2].isdigit()}
    assert rows["00_good"][2:] == ["3", "passed"]
    assert rows["01_bad"][2:] == ["0", "failed"]
    for part in ("there are 1,280 of them", "holds", "confirmed", "64 px", "+30.3 ±"):
        assert part in out
    assert "it is cheap" not in out
    assert main(["claims", "--guards"]) == 0
    guards = capsys.readouterr().out
    assert "it is cheap" in guards and "1,280" not in guards
    assert {path: path.read_bytes() for path in (good, bad)} == before
    executed = nbformat.read(repo / "_build" / "notebooks" / "00_good.ipynb", as_version=4)
    assert executed.cells[0].execution_count == 1


def test_only_what_passed_is_saved_and_solutions_with_it(repo):
    good = write(repo, "00_good", "print(1)")
    solutions = write(repo, "solutions/00_good", "print(2)")
    bad = write(repo, "01_bad", "1 / 0")
    assert main(["course", "--save"]) == 1
    for path in (good, solutions):
        cell = nbformat.read(path, as_version=4).cells[0]
        assert (cell.id, cell.execution_count) == ("cell-0", 1)
    assert nbformat.read(bad, as_version=4).cells[0].execution_count is None


def test_a_full_run_is_recorded_and_a_chapter_without_claims_is_no_error(repo):
    write(repo, "00_good", CLAIM, "assert profile == 'full'")
    write(repo, "01_silent", "a = 1")
    assert main(["course", "--profile", "full", "--record"]) == 0
    (record,) = (repo / "data" / "results").iterdir()
    content = json.loads(record.read_text(encoding="utf-8"))
    assert (record.name, content["profile"]) == ("00_good.json", "full")
    assert content["environment"]["torch"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["07"], "no chapter '07'; chapters are 00_good"),
        (["--record"], "only full runs are recorded"),
        (["--save", "--profile", "full"], "as the quick profile shows them"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(repo, arguments, message):
    write(repo, "00_good", "a = 1")
    with pytest.raises(SystemExit, match=message):
        main(["course", *arguments])
    assert not (repo / "_build").exists()


def test_a_dead_kernel_and_an_endless_cell_are_named(repo, capsys, monkeypatch):
    monkeypatch.setitem(chapters.CELL_TIMEOUT, "quick", 3)
    write(repo, "00_endless", "1 + 1", "while True: pass")
    write(repo, "01_dead", "import os", "os._exit(1)")
    assert main(["course"]) == 1
    out = capsys.readouterr().out
    assert "cell cell-1: still running after 3 s" in out
    copy = nbformat.read(chapters.executed_copy(repo / "notebooks" / "00_endless.ipynb"), 4)
    assert [cell.outputs[-1].get("ename") for cell in copy.cells] == [None, "TimeoutError"]
    assert "cell cell-1: the kernel died" in out


def test_without_chapters_or_claims_it_says_so(repo, capsys):
    with pytest.raises(SystemExit, match="no chapters in notebooks/"):
        main(["course"])
    assert main(["claims"]) == main(["claims", "--guards"]) == 0
    assert [line[:9] for line in capsys.readouterr().out.splitlines()] == ["no claims", "no guards"]


def test_help_lists_the_commands_and_does_not_wait_for_torch():
    code = (
        "import sys; from tlcourse.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("doctor", "course", "claims"))


def test_the_readmes_picture_is_the_chapters():
    stem, cell_id, picture = course.README_PICTURE
    cells = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4).cells
    (cell,) = (cell for cell in cells if cell.id == cell_id)
    assert picture.read_bytes() == base64.b64decode(cell.outputs[0].data["image/png"])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"({picture.relative_to(ROOT).as_posix()})" in readme
