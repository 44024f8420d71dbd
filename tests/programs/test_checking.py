"""``tlcourse check``: which chapter, cell and claim changed, by how much, and what is a fault."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tlcourse.book import chapters
from tlcourse.book.changes import Change, compare
from tlcourse.book.chapters import run_chapter
from tlcourse.cli import main

SOURCES = {
    "start": 'from tlcourse.book import *\nprofile = start_chapter("00_good")',
    "exact": 'exact("pixels", "numbers of an image", 192, equals(192), "counting")',
    "range": 'guard("score", "it is good", [0.8, 0.9, 0.85], at_least(0.7))',
    "effect": 'claim("gain", "A > B", [1.0, 1.1, 0.9], "x", says="confirmed", matters=0.1)',
    "table": 'print("stem  464\\nhead 8967")\n"words of a library"',
    "untagged": 'print("torch says: 3 shapes cannot be multiplied")',
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> nbformat.NotebookNode:
    """A chapter after its run in a real kernel."""
    cells = [new_code_cell(source, id=id) for id, source in SOURCES.items()]
    cells[4].metadata["tags"] = ["nbval-check-output"]
    path = tmp_path_factory.mktemp("chapter") / "00_good.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLCOURSE_BUILD_DIR", str(path.parent))
        run = run_chapter(path)
    assert not run.error
    return run.notebook


@pytest.fixture
def saved(executed) -> nbformat.NotebookNode:
    return nbformat.reads(nbformat.writes(executed), as_version=4)


def record(notebook: nbformat.NotebookNode, cell: str) -> dict:
    """The claim's record in one of the cells above."""
    (output,) = next(c for c in notebook.cells if c.id == cell).outputs
    return output.metadata["tlcourse_claim"]


def only(changes: list[Change]) -> Change:
    (change,) = changes
    return change


def test_a_chapter_that_says_the_same_has_no_changes(saved, executed):
    assert record(executed, "range")["value"] == 0.85
    assert compare("00_good", saved, executed) == []


def test_one_number_of_a_checked_output(saved, executed):
    cell = saved.cells[4]
    cell.outputs[0].text = cell.outputs[0].text.replace("8967", "8,960")
    change = only(compare("00_good", saved, executed))
    assert change == Change("00_good", "table", "", "output", "head 8,960", "head 8967", "+7")
    assert change.red


def test_what_is_not_checked_may_change_its_words(saved, executed):
    saved.cells[5].outputs[0].text = "torch says: 4 forms"
    assert compare("00_good", saved, executed) == []


@pytest.mark.parametrize(
    ("cell", "claim", "value", "by", "red"),
    [
        ("exact", "pixels", 190, "+2 (+1.1%)", True),
        ("range", "score", 0.8, "+0.05 (+6.2%)", False),
        ("effect", "gain", 1.5, "-0.5 (1.01 of the interval's width)", False),
    ],
)
def test_one_claims_value(saved, executed, cell, claim, value, by, red):
    record(saved, cell)["value"] = value
    change = only(compare("00_good", saved, executed))
    assert (change.cell, change.claim, change.what) == (cell, claim, "value")
    assert (change.by, change.red) == (by, red)


def test_a_record_is_the_same_on_every_machine(saved, executed):
    record(saved, "effect").update(kind="recorded", value=1.5)
    assert only(compare("00_good", saved, executed)).red


def test_a_move_too_small_to_be_shown_is_none(saved, executed):
    record(saved, "range")["value"] = 0.85003
    assert compare("00_good", saved, executed) == []


def test_a_number_in_a_claims_words(saved, executed):
    data = saved.cells[1].outputs[0].data
    data["text/plain"] = data["text/plain"].replace("measured 192", "measured 191")
    change = only(compare("00_good", saved, executed))
    assert (change.claim, change.what, change.by, change.red) == ("pixels", "words", "+1", True)


def test_a_verdict_a_claim_that_is_gone_and_a_new_one(saved, executed):
    record(saved, "effect")["verdict"] = "undecided"
    record(saved, "range")["id"] = "old"
    changes = {(c.claim, c.what): c.red for c in compare("00_good", saved, executed)}
    assert changes == {
        ("gain", "verdict"): True,
        ("old", "claim is gone"): True,
        ("score", "new claim"): False,
    }


def test_a_chapter_edited_since_its_run_is_not_compared(saved, executed):
    saved.cells[2].source += "  # edited"
    with pytest.raises(ValueError, match="00_good: cell range was edited"):
        compare("00_good", saved, executed)


def write(folder: Path, stem: str, *sources: str) -> Path:
    cells = [new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    path = folder / f"{stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def repo(tmp_path, monkeypatch, saved):
    """A course of one chapter with one wrong number, already executed."""
    monkeypatch.setattr(chapters, "NOTEBOOKS_DIR", tmp_path / "notebooks")
    monkeypatch.setattr(chapters, "BUILD_DIR", tmp_path / "_build")
    monkeypatch.setenv("TLCOURSE_PROFILE", "quick")
    for folder in (tmp_path / "_build" / "notebooks", tmp_path / "notebooks"):
        folder.mkdir(parents=True)
        nbformat.write(saved, folder / "00_good.ipynb")
        record(saved, "exact")["value"] = 190
        record(saved, "range")["value"] = 0.8
    return tmp_path


def test_the_report_as_table_json_and_annotations(repo, capsys):
    assert main(["check", "--executed"]) == 1
    table = capsys.readouterr().out
    assert "pixels" in table and "1 chapters compared, 2 changes, 1 of them faults" in table
    assert main(["check", "00", "--executed", "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [(c["claim"], c["red"]) for c in report["changes"]] == [
        ("pixels", True),
        ("score", False),
    ]
    assert main(["check", "--executed", "--format", "github"]) == 1
    _, error, notice = capsys.readouterr().out.splitlines()
    assert error.startswith("::error file=notebooks/00_good.ipynb,line=")
    assert "title=00_good%2C cell exact%2C claim pixels%3A value::saved: 190%0Anow: 192" in error
    assert "by: +2 (+1.1%25)" in error and notice.startswith("::notice ")
    line = int(error.split("line=")[1].split(",")[0])
    file = (repo / "notebooks" / "00_good.ipynb").read_text(encoding="utf-8").splitlines()
    assert '"id": "exact"' in file[line - 1]


def test_a_run_that_fails_is_named_and_what_lies_behind_is_not_compared(repo, capsys):
    (repo / "notebooks" / "00_good.ipynb").unlink()
    write(repo / "notebooks", "01_bad", "a = 1", "raise ValueError('no such layer')", "print(a)")
    assert main(["check", "--format", "json"]) == 1
    shown = capsys.readouterr()
    (change,) = json.loads(shown.out)["changes"]
    assert (change["cell"], change["what"]) == ("cell-1", "cell fails")
    assert change["now"] == "ValueError: no such layer" and "01_bad … " in shown.err


def test_a_chapter_that_was_not_executed_is_named(repo):
    (repo / "_build" / "notebooks" / "00_good.ipynb").unlink()
    with pytest.raises(SystemExit, match="00_good was not executed; run: tlcourse course 00"):
        main(["check", "--executed"])
