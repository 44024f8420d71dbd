"""Run the chapters from the shell: each in a fresh kernel, without a network, then the claims."""

import base64
import json
import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tabulate import tabulate
from traitlets.config import Config

from tlcourse.files import replacing
from tlcourse.runtime import BUILD_DIR, CLAIMS_DIR, DATA_DIR, REPO_DIR, profile

NOTEBOOKS_DIR = REPO_DIR / "notebooks"
README_PICTURE = ("00_start_here", "guesses", REPO_DIR / "docs" / "first_look.png")
CELL_TIMEOUT = {"quick": 300, "full": 7200}  # seconds


@dataclass(frozen=True)
class ChapterRun:
    """How one chapter went; ``error`` is empty when every cell ran."""

    chapter: str
    seconds: float
    error: str


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
    runs = []
    for path in find_chapters(chapters):
        print(f"{path.stem} …", end=" ", flush=True)
        _claims_file(path.stem).unlink(missing_ok=True)
        run = _run_chapter(path, save)
        if save and (solutions := path.parent / "solutions" / path.name).exists():
            run = replace(run, error=run.error or _run_chapter(solutions, save).error)
        print(f"{run.seconds:.0f} s" + (f"  FAILED {run.error}" if run.error else ""), flush=True)
        if record and not run.error:
            _record(run.chapter)
        runs.append(run)
    rows = [
        (r.chapter, f"{r.seconds:.0f}", len(_claims(r.chapter)), "failed" if r.error else "passed")
        for r in runs
    ]
    print("\n" + tabulate(rows, headers=["chapter", "seconds", "claims checked", "verdict"]))
    print_claims()
    return int(any(run.error for run in runs))


def find_chapters(names: Sequence[str]) -> list[Path]:
    """Notebooks whose number or name begins with one of ``names``, in order; all for none."""
    notebooks = sorted(NOTEBOOKS_DIR.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise SystemExit("no chapters in notebooks/; work in a clone of the course")
    for name in names:
        if not any(path.stem.startswith(name) for path in notebooks):
            raise SystemExit(
                f"no chapter {name!r}; chapters are {', '.join(path.stem for path in notebooks)}"
            )
    return [p for p in notebooks if not names or p.stem.startswith(tuple(names))]


def print_claims() -> int:
    """Print every claim that the chapters' last runs recorded."""
    rows = [
        (c["id"], c["statement"], c["source"], c["measured"], chapter[:2], c["verdict"])
        for chapter in sorted(path.stem for path in CLAIMS_DIR.glob("*.json"))
        for c in _claims(chapter)
    ]
    if not rows:
        print("no claims yet; run: make course")
        return 0
    headers = ["claim", "statement", "source", "measured", "ch.", "verdict"]
    room = max(shutil.get_terminal_size((160, 24)).columns, 120) - 50
    widths = [22, room * 3 // 5, room // 5, room // 5, 3, 10]
    # Wrapped here: tabulate's own wrapping takes "1,280" for a whole number and fails.
    wrapped = [
        [textwrap.fill(cell, width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]
    print("\n" + tabulate(wrapped, headers=headers, disable_numparse=True))
    return 0


def _run_chapter(path: Path, save: bool) -> ChapterRun:
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    error = ""
    executed = []  # the last one is where it stopped
    limit = CELL_TIMEOUT[profile()]
    with tempfile.TemporaryDirectory(prefix="tl") as sockets:
        client = NotebookClient(
            notebook,
            timeout=limit,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(path.parent)}},
            config=_kernel_config(sockets),
            on_cell_execute=lambda cell, cell_index: executed.append(cell.id),
        )
        os.environ["TLCOURSE_PROGRESS"] = "0"
        try:
            client.execute()
        except CellExecutionError as failure:
            error = f"cell {executed[-1]}: {failure.ename}: {failure.evalue}"
        except CellTimeoutError:
            error = f"cell {executed[-1]}: still running after {limit} s"
        except DeadKernelError:
            error = f"cell {executed[-1]}: the kernel died, perhaps out of memory"
    saved = save and not error
    _write(notebook, path if saved else BUILD_DIR / "notebooks" / path.name)
    if saved and path.stem == README_PICTURE[0]:
        _save_readme_picture(notebook)
    return ChapterRun(path.stem, time.perf_counter() - started, error)


def _kernel_config(sockets: str) -> Config:
    """Kernels that talk through files where the system can: 127.0.0.1 may be cut off too."""
    config = Config()
    if sys.platform != "win32":
        config.KernelManager.transport = "ipc"
        config.KernelManager.ip = os.path.join(sockets, "kernel")
    return config


def _write(notebook: nbformat.NotebookNode, path: Path) -> None:
    # Python's version differs between machines and is nothing that a diff should show.
    notebook.metadata["language_info"] = {"name": "python"}
    with replacing(path) as temporary:
        nbformat.write(notebook, temporary)


def _save_readme_picture(notebook: nbformat.NotebookNode) -> None:
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
