"""Statements of four kinds: verdicts that stop, families, profiles, and the record that is kept."""

import json
import math

import pytest
import scipy.stats
from IPython.core.interactiveshell import InteractiveShell

from tlcourse.book import cards, register
from tlcourse.book.claims import claim, claims_family, recorded
from tlcourse.book.expectations import (
    at_least,
    at_most,
    between,
    close_to,
    equals,
    greater_than,
)
from tlcourse.book.facts import exact, guard
from tlcourse.book.register import ClaimFailed, start_chapter
from tlcourse.evidence import Provenance, decide, holm

RUNS = {
    "confirmed": [0.01, 0.02, 0.03, 0.02],
    "refuted": [-0.02, -0.022, -0.018],
    "equal": [0.001, -0.002, 0.002],
    "undecided": [-0.01, 0.02, 0.005],
}


@pytest.fixture(autouse=True)
def chapter(tmp_path, monkeypatch):
    monkeypatch.setattr(register, "CLAIMS_DIR", tmp_path)
    monkeypatch.setattr(register, "_chapter", None)
    monkeypatch.setattr(register, "_statements", {})
    monkeypatch.delenv("TLCOURSE_PROFILE", raising=False)
    assert start_chapter("99_test") == "quick"
    return tmp_path / "99_test.json"


def kept(path):
    return json.loads(path.read_text(encoding="utf-8"))["claims"]


def state(name: str, verdict: str, says, **options):
    claim(
        name, "A beats B", RUNS[verdict], "folklore", says=says, matters=0.01, unit="points",
        **options,
    )  # fmt: skip


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


def test_what_is_counted_and_what_is_guarded(chapter, capsys):
    exact("params", "it has 7 parameters", 7, equals(7), "arithmetic")
    guard("speed", "it is fast", [2.0, 3.0, 4.0], at_least(2.5))
    out = capsys.readouterr().out
    assert "✔ holds · exact · params: it has 7 parameters" in out
    assert "measured 3 (sd 1, 3 runs); claimed: at least 2.5" in out and "±" not in out
    one, many = kept(chapter)
    assert (one["value"], one["limits"], one["p"]) == (7, [7, 7], None)
    assert (many["kind"], many["sd"], many["interval"]) == ("guard", 1, None)
    content = json.loads(chapter.read_text(encoding="utf-8"))
    assert content["chapter"] == "99_test" and content["profile"] == "quick"
    assert {"date", "commit", "device", "torch", "torchvision"} <= set(content["environment"])


def test_a_false_statement_stops_the_chapter_and_names_itself(chapter, monkeypatch):
    with pytest.raises(ClaimFailed, match=r"(?s)params: it has 7.*measured 8.*exactly 7"):
        exact("params", "it has 7 parameters", 8, equals(7), "arithmetic")
    assert kept(chapter)[0]["verdict"] == "failed"
    with pytest.raises(ClaimFailed):
        guard("nan", "a loss is small", math.nan, at_most(1))
    monkeypatch.setenv("TLCOURSE_PROFILE", "full")
    with pytest.raises(ClaimFailed):  # what is counted is so in every profile
        exact("params", "it has 7 parameters", 8, equals(7), "arithmetic")
    guard("nan", "a loss is small", [math.nan, 1], at_most(1))  # its bound is the quick profile's
    assert kept(chapter)[1]["verdict"] == "does not hold"


@pytest.mark.parametrize("verdict", RUNS)
def test_a_text_that_says_another_verdict_is_stopped(chapter, verdict):
    state("d", verdict, says=verdict)
    state("d", verdict, says=("confirmed", "refuted", "equal", "undecided"))
    assert kept(chapter)[0]["verdict"] == verdict
    others = tuple(set(RUNS) - {verdict})
    for says in (*others, others):
        with pytest.raises(ClaimFailed, match="the chapter says"):
            state("d", verdict, says=says)


def test_the_card_has_one_meaning_of_plus_or_minus(capsys):
    state("d", "confirmed", says="confirmed", condition="64 px, 80 images")
    test = scipy.stats.ttest_1samp(RUNS["confirmed"], 0)
    margin = 100 * (test.confidence_interval(0.95).high - 0.02)
    out = capsys.readouterr().out
    assert f"measured +2.0 ± {margin:.1f} points (95 % interval, 4 runs)" in out
    assert "claimed: more than 0; what matters: 1 point ·" in out
    assert "could have seen 1.7 points (power 80 %)" in out and "64 px, 80 images" in out


def test_a_bound_is_shown_beside_the_raw_mean(capsys):
    accuracy = [0.91, 0.93, 0.92]
    for than, says in ((0.85, "confirmed"), (0.9, "undecided")):
        claim("a", "it names so many", accuracy, "us", says=says, matters=0.02, than=than, unit="%")
    options = {"says": "confirmed", "matters": 0.2, "than": 1.5, "side": "below"}
    claim("b", "it takes less", [1.1, 1.2, 1.15], "us", **options)
    out = capsys.readouterr().out
    assert "measured 92.0 ± 2.5 % (95 % interval, 3 runs)" in out
    assert "claimed: more than 85 %; what matters: 2 points" in out
    assert "claimed: less than 1.5; what matters: 0.2" in out


def test_splits_small_effects_and_runs_without_interval_are_said(capsys):
    state("s", "confirmed", says="undecided", overlap=1)
    claim("small", "A > B", [0.011, 0.012, 0.013], "us", says="confirmed", matters=0.05)
    claim("alike", "A > B", [12, 12, 12], "us", says="undecided", matters=5, unit="steps")
    claim("nan", "A > B", [1, math.nan, 1], "us", says="undecided", matters=5)
    out = capsys.readouterr().out
    for part in (
        "(95 % interval, 4 splits that overlap)",
        "the whole interval is less than what matters",
        "measured 12 steps (3 runs, all alike: no interval)",
        "measured not finite (3 runs)",
    ):
        assert part in out


def test_a_family_is_decided_by_holm_and_shown_whole_before_it_stops(chapter, capsys):
    runs = {"a": [2, 3, 2, 3], "b": [1, 3, 1, 3], "c": [4, -1, 2, 3]}
    with pytest.raises(ClaimFailed, match="(?s)says confirmed.* b: A > B"), claims_family("race"):
        for name, values in runs.items():
            says = "undecided" if name == "c" else "confirmed"  # b is confirmed only by itself
            claim(name, "A > B", values, "us", says=says, matters=1)
        assert not chapter.exists()
    records = kept(chapter)
    assert [c["verdict"] for c in records] == ["confirmed", "failed", "undecided"]
    p = [scipy.stats.ttest_1samp(values, 0).pvalue for values in runs.values()]
    assert [c["p"] for c in records] == pytest.approx(p, rel=1e-5)
    assert [c["p_family"] for c in records] == pytest.approx(holm(p), rel=1e-5)
    assert {c["family"] for c in records} == {"race"}
    assert "by Holm over the 3 claims of 'race'" in capsys.readouterr().out
    state("alone", "confirmed", says="confirmed")  # the family is closed, though it stopped
    assert kept(chapter)[3]["family"] == ""


def test_a_family_in_a_family_and_one_that_breaks_off():
    with pytest.raises(RuntimeError, match="open already"), claims_family("a"), claims_family("b"):
        pass
    with pytest.raises(ZeroDivisionError), claims_family("a"):
        1 / 0  # noqa: B018
    with claims_family("none is fine"):
        pass


def test_another_profile_is_told_unless_the_text_speaks_of_it(chapter, monkeypatch, capsys):
    monkeypatch.setenv("TLCOURSE_PROFILE", "full")
    state("d", "refuted", says="confirmed")
    record = kept(chapter)[0]
    told = "the text was written for the quick profile, where the verdict is: confirmed"
    assert (record["verdict"], record["told"]) == ("refuted", told)
    assert told in capsys.readouterr().out
    state("d", "refuted", says={"quick": "confirmed", "full": "refuted"})
    assert kept(chapter)[0]["told"] == ""
    with pytest.raises(ClaimFailed):
        state("d", "undecided", says={"quick": "confirmed", "full": ("refuted", "equal")})


@pytest.mark.unchecked
def test_what_the_text_says_is_a_verdict():
    with pytest.raises(ValueError, match="'confirmd'; expected one of .* did you mean confirmed"):
        state("d", "confirmed", says="confirmd")
    for says in ({"full": "confirmed"}, {"quick": "confirmed", "fast": "refuted"}):
        with pytest.raises(ValueError, match="expected quick, and full or not"):
            state("d", "confirmed", says=says)


def test_a_record_says_where_it_comes_from_and_binds_every_profile(chapter, monkeypatch, capsys):
    race = Provenance("race", "2026-11-28", "x86_64", "0123456789ab", 1200, {"torch": "2.14.1"})
    options = {"provenance": race, "unit": "points"}
    effect = decide(RUNS["confirmed"], matters=0.01)
    recorded("r", "A > B", effect, "us", says="confirmed", **options)
    line = "study race, 1,200 trainings, 2026-11-28, x86_64, torch 2.14.1, commit 0123456"
    assert f"recorded: {line}" in capsys.readouterr().out
    assert kept(chapter)[0]["provenance"]["study"] == "race"
    monkeypatch.setenv("TLCOURSE_PROFILE", "full")
    with pytest.raises(ClaimFailed):
        recorded("r", "A > B", effect, "us", says="refuted", **options)


def test_numbers_are_kept_without_the_digits_that_differ_between_machines(chapter):
    exact("part", "about a third", 1 / 3, at_most(2 / 3), "arithmetic")
    exact("big", "it has many parameters", 132_863_336, equals(132_863_336), "arithmetic")
    claim("c", "A > B", [1 / 3, 1 / 7, 1 / 9], "us", says="undecided", matters=1 / 3)
    part, big, c = kept(chapter)
    assert (part["value"], part["limits"][1], big["value"]) == (0.333333, 0.666667, 132_863_336)
    assert all(len(str(c[name]).lstrip("0.")) <= 6 for name in ("value", "sd", "matters", "p"))


def test_a_notebook_gets_a_card_its_plain_twin_and_the_record(chapter, monkeypatch):
    shown = []
    monkeypatch.setattr(InteractiveShell, "initialized", lambda: True)
    monkeypatch.setattr(cards, "display", lambda data, **options: shown.append((data, options)))
    runs = [-1.0, -1.1, -0.9]
    options = {"says": "refuted", "matters": 0.5, "condition": "on small images"}
    claim("rule", "a < b & c", runs, "folk <lore>", **options)
    with pytest.raises(ClaimFailed):
        claim("no", "never", runs, "folklore", says="confirmed", matters=0.5)
    (data, options), (failed, _) = shown
    assert data["text/plain"].splitlines() == [
        "✘ refuted · claim · rule: a < b & c",
        "  measured -1.00 ± 0.25 (95 % interval, 3 runs); claimed: more than 0; "
        "what matters: 0.5 · source: folk <lore>",
        "  these runs could have seen 0.33 (power 80 %)",
        "  on small images",
    ]
    for part in ("✘ refuted", "a &lt; b &amp; c", "folk &lt;lore&gt;", "on small images", "rule"):
        assert part in data["text/html"]
    assert json.loads(json.dumps(options["metadata"]["tlcourse_claim"])) == kept(chapter)[0]
    assert failed["text/plain"].startswith("‼ failed · claim · no: never")


def test_a_claim_outside_a_chapter_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(register, "_chapter", None)
    with pytest.raises(RuntimeError, match="start_chapter"):
        exact("a", "b", 1, equals(1), "c")


def test_a_chapter_run_again_forgets_what_it_stated(chapter):
    exact("old", "it was so", 1, equals(1), "c")
    start_chapter("99_test")
    assert not chapter.exists()
    exact("new", "it is so", 1, equals(1), "c")
    assert [c["id"] for c in kept(chapter)] == ["new"]
