"""``tlcourse check``: run chapters, say what changed against the committed ones and by how much."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import nbformat
from tabulate import tabulate

from tlcourse.book.changes import Change, compare
from tlcourse.book.chapters import executed_copy, find_chapters, run_chapter, write_notebook
from tlcourse.runtime import profile


def run_check(chapters: Sequence[str], *, executed: bool, form: str) -> int:
    """Compare chapters (all if none is named) with a new run of them; print the changes.

    Progress goes to stderr, so that stdout holds nothing but the report.

    Parameters
    ----------
    chapters
        Numbers or beginnings of names.
    executed
        Compare the copies that the last ``tlcourse course`` left, and run nothing.
    form
        ``table``, ``json`` or ``github`` (annotations of a workflow's run).

    Returns
    -------
    int
        1 when a cell fails, a claim's verdict or an exact claim changed, a claim is gone, or a
        checked output differs; else 0: a value that moves within its claim is only told.

    Raises
    ------
    SystemExit
        For a chapter that does not exist or was not executed, or in the wrong profile.
    """
    if profile() != "quick":
        raise SystemExit("notebooks are committed as the quick profile shows them")
    paths = find_chapters(chapters)
    changes = []
    for path in paths:
        copy = executed_copy(path)
        if not executed:
            print(f"{path.stem} …", end=" ", file=sys.stderr, flush=True)
            run = run_chapter(path)
            write_notebook(run.notebook, copy)
            print(f"{run.seconds:.0f} s", file=sys.stderr, flush=True)
        elif not copy.exists():
            raise SystemExit(f"{path.stem} was not executed; run: tlcourse course {path.stem[:2]}")
        saved, now = (nbformat.read(file, as_version=4) for file in (path, copy))
        changes += compare(path.stem, saved, now)
    print({"table": _table, "json": _json, "github": _github}[form](paths, changes))
    return int(any(change.red for change in changes))


def _table(paths: Sequence[Path], changes: Sequence[Change]) -> str:
    red = sum(change.red for change in changes)
    end = f"{len(paths)} chapters compared, {len(changes)} changes, {red} of them faults"
    if not changes:
        return end
    room = max(shutil.get_terminal_size((160, 24)).columns, 120) - 60
    widths = [1, 12, 16, 16, 10, room // 3, room // 3, room // 3]
    rows = [
        ("✘" if c.red else "·", c.chapter, c.cell, c.claim, c.what, c.saved, c.now, c.by)
        for c in changes
    ]
    wrapped = [
        [textwrap.fill(cell, width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]
    headers = ["", "chapter", "cell", "claim", "changed", "saved", "now", "by"]
    return tabulate(wrapped, headers=headers, disable_numparse=True) + f"\n\n{end}"


def _json(paths: Sequence[Path], changes: Sequence[Change]) -> str:
    report = {"chapters": [path.stem for path in paths], "changes": [asdict(c) for c in changes]}
    return json.dumps(report, indent=1, ensure_ascii=False)


def _github(paths: Sequence[Path], changes: Sequence[Change]) -> str:
    """One annotation a change, at the line of the notebook's file where its cell begins."""
    files = {path.stem: path for path in paths}
    lines = [f"{len(paths)} chapters compared, {len(changes)} changes"]
    for change in changes:
        path = files[change.chapter]
        text = path.read_text(encoding="utf-8").splitlines()
        line = next(n for n, t in enumerate(text, start=1) if f'"id": "{change.cell}"' in t)
        claim = f", claim {change.claim}" if change.claim else ""
        title = f"{change.chapter}, cell {change.cell}{claim}: {change.what}"
        message = f"saved: {change.saved}\nnow: {change.now}\nby: {change.by}"
        properties = {"file": f"notebooks/{path.name}", "line": str(line), "title": title}
        fields = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
        level = "error" if change.red else "notice"
        lines.append(f"::{level} {fields}::{_escaped(message)}")
    return "\n".join(lines)


def _escaped(text: str, also: str = "") -> str:
    """Text as a workflow's commands want it: line ends, and in properties ``also``, as %XX."""
    for sign in f"%\r\n{also}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
