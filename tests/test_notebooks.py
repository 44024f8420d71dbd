"""Every chapter keeps the frame: what a reader, nbval and a code host rely on."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from drift import drift

from tlcourse.book.changes import claims_of, text_of
from tlcourse.book.statements import METADATA, SIGNS, Statement

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
MAX_LINES = 15
MAX_IMPORTS, MAX_IMPORT_LINES = 15, 25  # statements; a formatter may break them into lines
CHECKED = "nbval-check-output"
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
        assert tags <= {CHECKED}, cell.id
        assert not tags or cell.outputs, cell.id


def test_cells_are_short(notebook):
    for cell in code_cells(notebook):
        tree = ast.parse(cell.source)
        imports_only = all(
            isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body[:-1]
        )  # the first cell: imports, then start_chapter
        lines = [line for line in cell.source.splitlines() if line.strip()]
        limit = MAX_IMPORT_LINES if imports_only else MAX_LINES
        assert len(lines) <= limit, f"{cell.id}: {len(lines)} lines"


def imports(source: str) -> list[ast.Import | ast.ImportFrom]:
    return [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]


def test_it_imports_from_faces_and_little(notebook):
    """``tlcourse``, a wing or a base module: a reader need not know in which file a name lives."""
    for cell in code_cells(notebook):
        assert len(imports(cell.source)) <= MAX_IMPORTS, cell.id
        for node in imports(cell.source):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names if isinstance(node, ast.Import)]
            for module in modules:
                assert not re.match(r"tlcourse\.\w+\.", module), f"{cell.id}: {module}"


def test_nothing_that_is_compared_can_drift(notebook):
    for cell in code_cells(notebook):
        if CHECKED in cell.metadata.get("tags", []):
            cards = [output.data["text/plain"] for output in claims_of(cell).values()]
            assert not drift("\n".join([text_of(cell), *cards]), cell.source), cell.id


def test_the_line_with_versions_is_not_compared(notebook):
    for cell in code_cells(notebook):
        if "start_chapter(" in cell.source:
            assert not cell.metadata.get("tags"), cell.id


@pytest.mark.unchecked  # JSON makes lists of tuples
def test_claims_are_saved_as_cards_that_agree_with_their_records(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert not re.search(f"^. ({'|'.join(SIGNS)}) · ", output.get("text", ""))
        for output in claims_of(cell).values():
            record = Statement(**output.metadata[METADATA])
            assert output.data["text/plain"] == str(record)
            assert output.data["text/html"] == record.html()


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
                assert "✔ right" in text_of(cell)
        for cell in nbformat.read(chapter, as_version=4).cells:
            if cell.id in exercises:
                assert "= ..." in cell.source, cell.id

    def test_the_readme_lists_it(self, chapter):
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert f"notebooks/{chapter.name}" in readme


def ids_of(chapter: Path) -> list[str]:
    return [cell.id for cell in nbformat.read(chapter, as_version=4).cells]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("torch 2.14.1", "version"),
        ("saved in /srv/course/model.pt", "path"),
        ("see https://example.org", "address"),
        ("<Linear at 0x7f3ad3a7a510>", "address"),
        ("took 12.3 s", "time"),
        ("0.123456", "digits"),
        ("loss 12.3456", "digits"),
        ("RuntimeError: addmm: mat1 and mat2 shapes cannot be multiplied (7168x7)", "words"),
        ("RuntimeError: The size of tensor a must match the size of tensor b", "words"),
    ],
)
def test_the_scan_finds_what_drifts(text, kind):
    assert {found.split()[0] for found in drift(text)} == {kind}


@pytest.mark.parametrize(
    "text",
    [
        "0.08208 of 12,345,678 parameters, 0.75, 0.000032, 224 × 224 px, stage4.0.conv",
        "AttributeError: a Backbone has no 'classifier'; its stages are stem, stage1, neck, head",
        "measured +2.0 ± 2.5 points (95 % interval, 3 runs)",
    ],
)
def test_the_scan_lets_our_own_words_and_numbers_pass(text):
    assert drift(text) == []
