"""Claims: verdicts against scipy's interval, failures that stop, and the record that is kept."""

import json
import math

import pytest
import scipy.stats
from IPython.core.interactiveshell import InteractiveShell

from tlcourse.book import cards, claims
from tlcourse.book.claims import ClaimFailed, claim, claim_difference, start_chapter
from tlcourse.book.expectations import (
    at_least,
    at_most,
    between,
    close_to,
    equals,
    greater_than,
)


@pytest.fixture(autouse=True)
def chapter(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS_DIR", tmp_path)
    monkeypatch.setattr(claims, "_chapter", None)
    monkeypatch.setattr(claims, "_claims", {})
    monkeypatch.delenv("TLCOURSE_PROFILE", raising=False)
    assert start_chapter("99_test") == "quick"
    return tmp_path / "99_test.json"


def recorded(path):
    return json.loads(path.read_text(encoding="utf-8"))["claims"]


@pytest.mark.parametrize(
    ("expectation", "inside", "outside"),
    [
        (equals(3), [3, 3.0], [2.999, 4]),
        (between(1, 2), [1, 1.5, 2], [0.999, 2.001]),
        (at_least(0.5), [0.5, 9], [0.4999]),
        (at_most(0.5), [0.5, -9], [0.5001]),
        (greater_than(0.5), [0.5001], [0.5, 0.4]),
        (close_to(100, rel=0.05), [95, 105], [94.9, 105.1]),
        (close_to(-10, rel=0.1), [-9, -11], [-8.9, 10]),
    ],
)
def test_expectations(expectation, inside, outside):
    assert all(expectation.holds(value) for value in inside)
    assert not any(expectation.holds(value) for value in [*outside, math.nan])


def test_a_reversed_range_is_refused():
    with pytest.raises(ValueError, match=r"between\(2, 1\)"):
        between(2, 1)


def test_a_true_statement_is_printed_and_recorded(chapter, capsys):
    claim("params", "it has 7 parameters", 7, equals(7), "arithmetic")
    claim("speed", "it is fast", [2.0, 3.0, 4.0], at_least(2.5), "this course")
    out = capsys.readouterr().out
    assert "✔ confirmed · params: it has 7 parameters" in out
    assert "measured 3 ± 1 (3 runs); claimed: at least 2.5" in out
    assert [c["verdict"] for c in recorded(chapter)] == ["confirmed", "confirmed"]
    content = json.loads(chapter.read_text(encoding="utf-8"))
    assert content["chapter"] == "99_test" and content["profile"] == "quick"
    assert {"date", "commit", "device", "torch", "torchvision"} <= set(content["environment"])


def test_a_false_statement_stops_the_chapter_and_names_itself(chapter):
    with pytest.raises(ClaimFailed, match=r"(?s)params: it has 7.*measured 8.*exactly 7"):
        claim("params", "it has 7 parameters", 8, equals(7), "arithmetic")
    assert recorded(chapter)[0]["verdict"] == "failed"
    with pytest.raises(ClaimFailed):
        claim("nan", "a loss is small", math.nan, at_most(1), "this course")


def test_what_the_chapter_calls_refuted_must_be_so(chapter, capsys):
    claim("rule", "always better", -1, greater_than(0), "folklore", refuted="on small images")
    assert "✘ refuted" in capsys.readouterr().out
    with pytest.raises(ClaimFailed, match="says refuted"):
        claim("rule", "always better", 1, greater_than(0), "folklore", refuted="on small images")


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([1, 2, 3, 2], "confirmed"), ([-2, -2.2, -1.8], "refuted"), ([-1, 2, 0.5], "undecided")],
)
def test_the_verdict_is_that_of_scipys_one_sample_test(chapter, capsys, differences, verdict):
    claim_difference("d", "A beats B", differences, "folklore", says=verdict)
    test = scipy.stats.ttest_1samp(differences, 0)
    assert (test.pvalue < 0.05) == (verdict != "undecided")
    margin = (test.confidence_interval(0.95).high - test.confidence_interval(0.95).low) / 2
    assert f"± {margin:.2g} (95 % interval" in capsys.readouterr().out
    for other in {"confirmed", "refuted", "undecided"} - {verdict}:
        with pytest.raises(ClaimFailed, match=f"says {other}"):
            claim_difference("d", "A beats B", differences, "folklore", says=other)


def test_not_confirmed_is_anything_but_confirmed(chapter):
    for differences in ([-2, -2.2, -1.8], [-1, 2, 0.5]):
        claim_difference("d", "A beats B", differences, "folklore", says="not confirmed")
    assert recorded(chapter)[0]["verdict"] == "undecided"
    with pytest.raises(ClaimFailed):
        claim_difference("d", "A beats B", [2, 2.2, 1.8], "folklore", says="not confirmed")


def test_the_record_keeps_numbers_too(chapter):
    claim("one", "it has 7 parts", 7, equals(7), "arithmetic")
    claim("many", "it is fast", [2.0, 3.0, 4.0], at_least(2.5), "this course")
    claim_difference("d", "A beats B", [1.0, 2.0, 3.0], "folklore", says="undecided")
    one, many, difference = recorded(chapter)
    assert (one["value"], one["interval"], one["runs"], one["limits"]) == (7, None, 1, [7, 7])
    assert (many["value"], many["runs"], many["limits"]) == (3, 3, [2.5, None])
    low, high = scipy.stats.ttest_1samp([2, 3, 4], 0).confidence_interval(0.95)
    assert many["interval"] == pytest.approx([low, high], rel=1e-5)
    assert difference["interval"][0] < 0 < difference["interval"][1]
    assert difference["limits"] == [0, None]


def test_numbers_are_kept_without_the_digits_that_differ_between_machines(chapter):
    claim("part", "about a third", 1 / 3, at_most(2 / 3), "arithmetic")
    claim("big", "it has many parameters", 132_863_336, equals(132_863_336), "arithmetic")
    part, big = recorded(chapter)
    assert (part["value"], part["limits"][1], big["value"]) == (0.333333, 0.666667, 132_863_336)


def test_a_notebook_gets_a_card_its_plain_twin_and_the_record(chapter, monkeypatch):
    shown = []
    monkeypatch.setattr(InteractiveShell, "initialized", lambda: True)
    monkeypatch.setattr(cards, "display", lambda data, **options: shown.append((data, options)))
    claim("rule", "a < b & c", -1, greater_than(0), "folk <lore>", refuted="on small images")
    with pytest.raises(ClaimFailed):
        claim("no", "never", -1, greater_than(0), "folklore")
    (data, options), (failed, _) = shown
    assert data["text/plain"].splitlines() == [
        "✘ refuted · rule: a < b & c",
        "  measured -1; claimed: greater than 0 · source: folk <lore>",
        "  on small images",
    ]
    for part in ("✘ refuted", "a &lt; b &amp; c", "folk &lt;lore&gt;", "on small images", "rule"):
        assert part in data["text/html"]
    assert json.loads(json.dumps(options["metadata"]["tlcourse_claim"])) == recorded(chapter)[0]
    assert failed["text/plain"].startswith("‼ failed · no: never")


def test_two_runs_are_too_few():
    with pytest.raises(ValueError, match="measure 3 or more"):
        claim_difference("d", "A beats B", [1, 2], "folklore", says="confirmed")


def test_a_claim_outside_a_chapter_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(claims, "_chapter", None)
    with pytest.raises(RuntimeError, match="start_chapter"):
        claim("a", "b", 1, equals(1), "c")


def test_a_chapter_run_again_forgets_its_old_claims(chapter):
    claim("old", "it was so", 1, equals(1), "c")
    start_chapter("99_test")
    assert not chapter.exists()
    claim("new", "it is so", 1, equals(1), "c")
    assert [c["id"] for c in recorded(chapter)] == ["new"]
