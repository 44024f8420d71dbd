"""The course from the shell: chapters one after another, then the table of their claims."""

import base64
import json
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from tabulate import tabulate

from tlcourse.book.chapters import (
    ChapterRun,
    executed_copy,
    find_chapters,
    run_chapter,
    write_notebook,
)
from tlcourse.book.statements import amount
from tlcourse.evidence import holm
from tlcourse.files import replacing
from tlcourse.runtime import CLAIMS_DIR, DATA_DIR, REPO_DIR, profile

README_PICTURE = ("00_start_here", "guesses", REPO_DIR / "docs" / "first_look.png")


def run_course(chapters: Sequence[str], *, save: bool = False, record: bool = False) -> int:
    """Execute chapters (all if none is named), print both tables, return 0 if all passed.

    Executed copies go to ``_build/notebooks``; ``save`` puts those that passed, and their
    solutions, in place of the committed ones, ``record`` keeps their claims in ``data/results``.
    Raises SystemExit for a chapter that does not exist, and for saving or recording in the wrong
    profile.
    """
    if record and profile() != "full":
        raise SystemExit("only full runs are recorded; add --profile full")
    if save and profile() != "quick":
        raise SystemExit("notebooks are committed as the quick profile shows them")
    rows = []
    for path in find_chapters(chapters):
        print(f"{path.stem} …", end=" ", flush=True)
        _claims_file(path.stem).unlink(missing_ok=True)
        run = _run(path, save)
        error = run.error
        if save and (solutions := path.parent / "solutions" / path.name).exists():
            error = error or _run(solutions, save).error
        print(f"{run.seconds:.0f} s" + (f"  FAILED {error}" if error else ""), flush=True)
        if record and not error:
            _record(path.stem)
        verdict = "failed" if error else "passed"
        rows.append((path.stem, f"{run.seconds:.0f}", len(_claims(path.stem)), verdict))
    print("\n" + tabulate(rows, headers=["chapter", "seconds", "statements", "verdict"]))
    print_claims()
    return int(any(verdict == "failed" for *_, verdict in rows))


def print_claims(*, guards: bool = False) -> int:
    """Print what the chapters' last runs stated: all but the guards, or these alone.

    The last p is Holm's over all claims of its chapter: what would be left of them if each chapter
    were one family.
    """
    rows = []
    for chapter in sorted(path.stem for path in CLAIMS_DIR.glob("[0-9][0-9]_*.json")):
        statements = _claims(chapter)
        tested = [c for c in statements if c["p"] is not None]
        whole = dict(zip((c["id"] for c in tested), holm([c["p"] for c in tested]), strict=True))
        rows += [_row(chapter, c, whole) for c in statements if (c["kind"] == "guard") == guards]
    if not rows:
        print("no guards yet; run: make course" if guards else "no claims yet; run: make course")
        return 0
    headers = [
        "ch.",
        "id",
        "kind",
        "statement",
        "measured",
        "could see",
        "condition",
        "verdict",
        "p",
    ]
    room = max(shutil.get_terminal_size((180, 24)).columns, 120) - 70
    widths = [3, 16, 8, room * 2 // 5, room * 3 // 10, 10, room * 3 // 10, 10, 8]
    # Wrapped here: tabulate's own wrapping takes "1,280" for a whole number and fails.
    wrapped = [
        [textwrap.fill(cell, width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]
    print("\n" + tabulate(wrapped, headers=headers, disable_numparse=True))
    return 0


def _row(chapter: str, claim: dict[str, Any], p_in_chapter: dict[str, float]) -> tuple[str, ...]:
    detectable, p = claim["detectable"], p_in_chapter.get(claim["id"])
    return (
        chapter[:2],
        claim["id"],
        claim["kind"],
        claim["statement"],
        claim["measured"],
        "" if detectable is None else amount(float(f"{detectable:.2g}"), claim["unit"]),
        claim["condition"],
        claim["verdict"],
        "" if p is None else f"{p:.2g}",
    )


def _run(path: Path, save: bool) -> ChapterRun:
    run = run_chapter(path)
    saved = save and not run.error
    write_notebook(run.notebook, path if saved else executed_copy(path))
    if saved and path.stem == README_PICTURE[0]:
        _save_readme_picture(run.notebook)
    return run


def _save_readme_picture(notebook: NotebookNode) -> None:
    _, cell_id, picture = README_PICTURE
    for cell in notebook.cells:
        if cell.id == cell_id:
            with replacing(picture) as temporary:
                temporary.write_bytes(base64.b64decode(cell.outputs[0].data["image/png"]))


def _record(chapter: str) -> None:
    """Copy a chapter's claims to ``data/results``; a chapter without claims has nothing to keep."""
    if _claims_file(chapter).exists():
        with replacing(DATA_DIR / "results" / f"{chapter}.json") as temporary:
            shutil.copyfile(_claims_file(chapter), temporary)


def _claims_file(chapter: str) -> Path:
    return CLAIMS_DIR / f"{chapter}.json"


def _claims(chapter: str) -> list[dict[str, Any]]:
    path = _claims_file(chapter)
    return json.loads(path.read_text(encoding="utf-8"))["claims"] if path.exists() else []
