"""What the documents name is there."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
BUGS = (TESTS.parent / "docs" / "bugs.md").read_text(encoding="utf-8")


def test_what_failed_in_use_is_held_by_tests_that_are_there():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", BUGS)
    rows = [line for line in BUGS.splitlines() if line.startswith("| ") and "---" not in line]
    headings = ("| what was seen", "| question")
    assert all("::test_" in row for row in rows if not row.startswith(headings))
    for file, test in named:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert test in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, test
    assert len(named) > 50
