"""A sample of the survey of all networks: what its record says of them holds here."""

import json
import random
from pathlib import Path

import pytest
from survey import PROMISES, library_names, report, survey, tried

RECORD = Path(__file__).with_name("survey.jsonl")
ROWS = sorted(map(json.loads, RECORD.read_text().splitlines()), key=lambda row: row["name"])
NAMES = set(library_names())
SMALL = [row for row in ROWS if row["millions"] <= 12]


def test_the_record_names_each_network_once():
    names = [row["name"] for row in ROWS]
    assert len(names) == len(set(names))
    kept = [row for row in ROWS if all(row.get(promise) for promise in tried(row))]
    assert len(kept) >= 0.95 * len(ROWS)
    assert all(row.get("loads") or row["reason"] for row in ROWS)
    text = (RECORD.parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    assert f"```\n{report(ROWS)}\n```" in text


@pytest.mark.parametrize("wanted", random.Random(0).sample(SMALL, 60), ids=lambda row: row["name"])
def test_a_network_keeps_what_the_record_says(wanted):
    if wanted["name"] not in NAMES:
        pytest.skip("the installed library does not have it")
    found = survey(wanted["name"])
    assert {p: found.get(p) for p in PROMISES} == {p: wanted.get(p) for p in PROMISES}
    assert found.get("reason") == wanted.get("reason")
    assert list(found.get("stages", [])) == wanted.get("stages", [])
