"""Chapters and their runs: which there are, and one of them in a fresh kernel."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from traitlets.config import Config

from tlcourse.files import replacing
from tlcourse.runtime import BUILD_DIR, REPO_DIR, profile

NOTEBOOKS_DIR = REPO_DIR / "notebooks"
CELL_TIMEOUT = {"quick": 300, "full": 7200}  # seconds


@dataclass(frozen=True)
class ChapterRun:
    """How one chapter went; ``error`` is empty when every cell ran."""

    notebook: NotebookNode
    seconds: float
    error: str


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


def executed_copy(path: Path) -> Path:
    """Where a chapter that was run, but not saved, is kept."""
    return BUILD_DIR / "notebooks" / path.name


def run_chapter(path: Path) -> ChapterRun:
    """Execute a notebook without a network's help; cells behind one that fails have no output."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    started = time.perf_counter()
    executed: list[NotebookNode] = []  # the last one is where it stopped
    limit = CELL_TIMEOUT[profile()]
    with tempfile.TemporaryDirectory(prefix="tl") as sockets:
        client = NotebookClient(
            notebook,
            timeout=limit,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": str(path.parent)}},
            config=_kernel_config(sockets),
            on_cell_execute=lambda cell, cell_index: executed.append(cell),
        )
        os.environ["TLCOURSE_PROGRESS"] = "0"
        error = ""
        try:
            client.execute()
        except CellExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
        except CellTimeoutError:
            error = _stop(executed[-1], "TimeoutError", f"still running after {limit} s")
        except DeadKernelError:
            error = _stop(executed[-1], "RuntimeError", "the kernel died, perhaps out of memory")
    if error:
        error = f"cell {executed[-1].id}: {error}"
    return ChapterRun(notebook, time.perf_counter() - started, error)


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all, without what a diff should not show."""
    notebook.metadata["language_info"] = {"name": "python"}  # Python's version is left out
    with replacing(path) as temporary:
        nbformat.write(notebook, temporary)


def _stop(cell: NotebookNode, name: str, message: str) -> str:
    """Note in a cell why it has no end; its kernel could not."""
    cell.outputs.append(new_output("error", ename=name, evalue=message, traceback=[]))
    return message


def _kernel_config(sockets: str) -> Config:
    """Kernels that talk through files where the system can: 127.0.0.1 may be cut off too."""
    config = Config()
    if sys.platform != "win32":
        config.KernelManager.transport = "ipc"
        config.KernelManager.ip = os.path.join(sockets, "kernel")
    return config
