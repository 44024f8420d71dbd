"""What changed between a saved chapter and a new run of it: cell by cell, claim by claim."""

import math
import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from nbformat import NotebookNode

from tlcourse.book.expectations import number
from tlcourse.book.statements import METADATA

CHECKED = "nbval-check-output"  # the tag of cells whose text is the same on every machine
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
SHOWN = 1e-4  # relative: cards show four digits


@dataclass(frozen=True)
class Change:
    """One difference; ``red`` ones mean that the chapter no longer says what happens."""

    chapter: str
    cell: str
    claim: str  # its id; empty for the output of a cell
    what: str
    saved: str
    now: str
    by: str = ""  # how much, where there are numbers
    red: bool = True


def compare(chapter: str, saved: NotebookNode, now: NotebookNode) -> list[Change]:
    """Changes from the saved chapter to the one that ran, up to a cell that failed.

    Checked are the claims of every cell, and the text of those tagged nbval-check-output.

    Raises
    ------
    ValueError
        When the one that ran has other code than the saved one.
    """
    runs = {cell.id: cell for cell in now.cells if cell.cell_type == "code"}
    changes = []
    for cell in saved.cells:
        if cell.cell_type != "code":
            continue
        if cell.id not in runs or runs[cell.id].source != cell.source:
            raise ValueError(f"{chapter}: cell {cell.id} was edited since it ran; run it again")
        error = _error(runs[cell.id])
        changes += _claims_that_changed(chapter, cell, runs[cell.id], stopped=bool(error))
        if error:
            return [*changes, Change(chapter, cell.id, "", "cell fails", "", error)]
        if CHECKED in cell.metadata.get("tags", []):
            changes += _text_that_changed(chapter, cell, runs[cell.id])
    return changes


def claims_of(cell: NotebookNode) -> dict[str, NotebookNode]:
    """The outputs of a cell that are claims, by the claims' ids."""
    shown = (output for output in cell.outputs if METADATA in output.get("metadata", {}))
    return {output.metadata[METADATA]["id"]: output for output in shown}


def text_of(cell: NotebookNode) -> str:
    """What a cell printed, then what it displayed, as plain text and without its claims."""
    claims = list(claims_of(cell).values())
    printed = [output.text for output in cell.outputs if output.output_type == "stream"]
    shown = [o.data.get("text/plain", "") for o in cell.outputs if "data" in o and o not in claims]
    return "\n".join(["".join(printed), *shown])


def _error(cell: NotebookNode) -> str:
    for output in cell.outputs:
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue}"
    return "it did not run" if cell.source.strip() and cell.execution_count is None else ""


def _claims_that_changed(
    chapter: str, saved: NotebookNode, now: NotebookNode, *, stopped: bool
) -> list[Change]:
    before, after = claims_of(saved), claims_of(now)
    changes = []
    for id in [*before, *(id for id in after if id not in before)]:
        if id not in after:
            if not stopped:
                measured = before[id].metadata[METADATA]["measured"]
                changes.append(Change(chapter, saved.id, id, "claim is gone", measured, ""))
        elif id not in before:
            measured = after[id].metadata[METADATA]["measured"]
            changes.append(Change(chapter, saved.id, id, "new claim", "", measured, red=False))
        else:
            checked = CHECKED in saved.metadata.get("tags", [])
            changes += _claim_that_changed(chapter, saved.id, before[id], after[id], checked)
    return changes


def _claim_that_changed(
    chapter: str, cell: str, saved: NotebookNode, now: NotebookNode, checked: bool
) -> list[Change]:
    """At most one change; a value that moved within its claim is news, not a fault."""
    before, after = saved.metadata[METADATA], now.metadata[METADATA]
    low, high = before["limits"]
    # A record is in the repository: it is the same on every machine, as what is counted.
    exact = before["kind"] == "recorded" or (low is not None and low == high)
    words = saved.data["text/plain"], now.data["text/plain"]
    if before["verdict"] != after["verdict"]:
        what, red = "verdict", True
        old, new = (f"{c['verdict']}, {c['measured']}" for c in (before, after))
        by = _moved(before, after)
    elif not _same(before["value"], after["value"]):
        what, red = "value", exact
        old, new, by = before["measured"], after["measured"], _moved(before, after)
        if old == new:  # only the number was changed, not its words
            old, new = (
                "nan" if c["value"] is None else number(c["value"]) for c in (before, after)
            )
    elif words[0] != words[1]:
        what, red = "words", checked or exact
        old, new, by = _first_difference(*words)
    else:
        return []
    return [Change(chapter, cell, before["id"], what, old, new, by, red)]


def _text_that_changed(chapter: str, saved: NotebookNode, now: NotebookNode) -> list[Change]:
    before, after = text_of(saved), text_of(now)
    if before == after:
        return []
    return [Change(chapter, saved.id, "", "output", *_first_difference(before, after))]


def _first_difference(saved: str, now: str) -> tuple[str, str, str]:
    """The first lines that differ, and by how much where only numbers do."""
    pairs = [
        (old, new)
        for old, new in zip_longest(saved.splitlines(), now.splitlines(), fillvalue="")
        if old != new
    ]
    if not pairs:  # a line's end at the end
        return saved, now, ""
    (old, new), *more = pairs
    by = ""
    if NUMBER.sub("", old) == NUMBER.sub("", new):
        numbers = zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
        values = ((float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in numbers)
        by = ", ".join(f"{b - a:+.4g}" for a, b in values if a != b)
    also = f"and {len(more)} more lines" if more else ""
    return old.strip(), new.strip(), "; ".join(filter(None, (by, also)))


def _same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=SHOWN)


def _written(value: float | None) -> str:
    return "not finite" if value is None else number(value)


def _moved(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The difference, against the saved interval or, without one, the claim's tolerance."""
    if before["value"] is None or after["value"] is None:
        return ""
    difference = after["value"] - before["value"]
    for name, ends in (("interval", before["interval"]), ("tolerance", before["limits"])):
        if ends and None not in ends and ends[0] < ends[1]:
            share = abs(difference) / (ends[1] - ends[0])
            return f"{difference:+.4g} ({share:.2f} of the {name}'s width)"
    if before["value"]:
        return f"{difference:+.4g} ({difference / abs(before['value']):+.1%})"
    return f"{difference:+.4g}"
