"""Every chapter keeps the frame: what a reader, nbval and a code host rely on."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
MAX_LINES = 15
# What a machine's own paths and a package registry's address look like.
PRIVATE = re.compile(
    r"/home/|/root/|/work/|/Users/|/tmp/|[A-Z]:\\\\Users|pypi\.|files\.pythonhosted"
)


@pytest.fixture(params=CHAPTERS + SOLUTIONS, ids=lambda path: path.relative_to(ROOT).as_posix())
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def source_of(chapter: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(chapter, as_version=4).cells)


def test_there_are_chapters():
    assert [chapter.stem[:2] for chapter in CHAPTERS][:1] == ["00"]


def test_it_is_valid_and_its_cell_ids_are_names(notebook):
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    # nbformat's own ids are eight hex digits, drawn anew whenever a tool loses them
    assert not [i for i in ids if re.fullmatch(r"[0-9a-f]{8}", i)]
    assert notebook.metadata.kernelspec.name == "python3"


def test_it_is_committed_executed_in_order_and_without_noise(notebook):
    """nbval compares a cell without an execution count with nothing, and says nothing."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.id
            assert output.get("name") != "stderr", cell.id


def test_checked_cells_have_something_to_check_and_none_is_skipped(notebook):
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        assert tags <= {"nbval-check-output"}, cell.id
        assert not tags or cell.outputs, cell.id


def test_cells_are_short(notebook):
    for cell in code_cells(notebook):
        tree = ast.parse(cell.source)
        imports_only = all(
            isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body[:-1]
        )  # the first cell: imports, then start_chapter
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert imports_only or len(lines) <= MAX_LINES, f"{cell.id}: {len(lines)} lines"


def test_figures_have_alternative_text(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert output.metadata["image/png"]["alt"].strip(), cell.id


def test_it_names_no_machine_and_no_registry(path):
    assert not PRIVATE.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_it_starts_under_its_own_name(self, chapter):
        assert f'start_chapter("{chapter.stem}")' in source_of(chapter)

    def test_it_has_objectives_prerequisites_time_predictions_and_reading(self, chapter):
        text = source_of(chapter)
        for part in ("**Objectives.**", "**Prerequisites.**", "**Time.**", "## Further reading"):
            assert part in text
        assert text.count("**Predict.**") >= 3
        assert "itfall" in text

    def test_its_exercises_are_open_and_have_right_solutions(self, chapter):
        exercises = re.findall(r"^exercise-\d+$", "\n".join(ids_of(chapter)), re.MULTILINE)
        assert exercises
        solutions = nbformat.read(ROOT / "notebooks" / "solutions" / chapter.name, as_version=4)
        assert set(exercises) <= {cell.id for cell in solutions.cells}
        for cell in solutions.cells:
            if cell.id in exercises:
                assert "✔ right" in "".join(output.get("text", "") for output in cell.outputs)
        for cell in nbformat.read(chapter, as_version=4).cells:
            if cell.id in exercises:
                assert "= ..." in cell.source, cell.id

    def test_the_readme_lists_it(self, chapter):
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert f"notebooks/{chapter.name}" in readme


def ids_of(chapter: Path) -> list[str]:
    return [cell.id for cell in nbformat.read(chapter, as_version=4).cells]
