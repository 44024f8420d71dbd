"""Claims: statements of the text, each checked against what this machine measured."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import scipy.stats
import torch

from tlcourse.book.cards import card, present
from tlcourse.book.expectations import Expectation, greater_than, number
from tlcourse.environment import environment
from tlcourse.files import replacing
from tlcourse.runtime import CLAIMS_DIR, Profile, device, profile, seed_everything

SIGNS = {"confirmed": "✔", "refuted": "✘", "undecided": "?", "failed": "‼"}
METADATA = "tlcourse_claim"  # where a notebook keeps the record beside its card


class ClaimFailed(AssertionError):
    """A sentence of the chapter is not true on this machine."""


@dataclass(frozen=True)
class Claim:
    """One checked statement, as it stands in a chapter's claims file and beside its card.

    ``measured`` and ``expected`` say what the numbers say: ``value`` is the mean over ``runs``,
    ``interval`` its 95 % interval (None for one run), ``limits`` are those of the expectation
    (None where it has none). A number has six digits at most: more differ between machines.
    """

    id: str
    statement: str
    source: str
    measured: str
    expected: str
    verdict: str  # confirmed, refuted, undecided or failed
    note: str
    value: float | None  # None for one that is not finite
    interval: tuple[float, float] | None
    runs: int
    limits: tuple[float | None, float | None]

    def __str__(self) -> str:
        lines = [
            f"{SIGNS[self.verdict]} {self.verdict} · {self.id}: {self.statement}",
            f"  measured {self.measured}; claimed: {self.expected} · source: {self.source}",
        ]
        return "\n".join(lines + ([f"  {self.note}"] if self.note else []))

    def html(self) -> str:
        """The card that a notebook shows."""
        numbers = f"measured {self.measured} · claimed: {self.expected}"
        small = f"source: {self.source} · {self.id}"
        sign = SIGNS[self.verdict]
        return card(sign, self.verdict, self.statement, (numbers, self.note), small)


_chapter: str | None = None
_claims: dict[str, Claim] = {}


def start_chapter(name: str, *, seed: int = 0) -> Profile:
    """Begin a chapter: seed, forget its old claims, say where it runs.

    Parameters
    ----------
    name
        The notebook's file stem.
    seed
        For Python's, NumPy's and torch's generators.

    Returns
    -------
    Profile
        ``quick`` or ``full``.

    Examples
    --------
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    """
    global _chapter
    _chapter = name
    _claims.clear()
    (CLAIMS_DIR / f"{name}.json").unlink(missing_ok=True)
    seed_everything(seed)
    line = (
        f"chapter {name} · profile {profile()} · {device().type}, {torch.get_num_threads()} threads"
        f" · torch {torch.__version__.split('+')[0]}"
    )
    present(line, f"<small>{line}</small>")
    return profile()


def claim(
    id: str,
    statement: str,
    measured: float | Sequence[float],
    expected: Expectation,
    source: str,
    *,
    refuted: str = "",
) -> None:
    """Check a statement, show it as a card and record it in ``_build/claims/<chapter>.json``.

    Parameters
    ----------
    id
        Its name, unique in the chapter.
    statement
        What is claimed, as one reads it.
    measured
        One number, or one a run: then their mean is compared, and the spread shown.
    expected
        ``at_least(…)``, ``equals(…)`` and so on.
    source
        Who says so.
    refuted
        Under which conditions the chapter finds the statement *not* to hold; the check is then
        the other way round.

    Raises
    ------
    ClaimFailed
        When the chapter's sentence is not true here.
    RuntimeError
        Before ``start_chapter``.

    Examples
    --------
    >>> from tlcourse.book import equals, start_chapter
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    >>> claim("pixels", "an image has 12,288 numbers", 3 * 64 * 64, equals(12288), "arithmetic")
    ✔ confirmed · pixels: an image has 12,288 numbers
      measured 12,288; claimed: exactly 12,288 · source: arithmetic
    """
    values = [float(v) for v in measured] if isinstance(measured, Sequence) else [float(measured)]
    found = "confirmed" if expected.holds(statistics.fmean(values)) else "refuted"
    record = _claim(id, statement, source, _describe(values), expected, found, refuted, values)
    _record(record, says="refuted" if refuted else "confirmed")


def claim_difference(
    id: str,
    statement: str,
    differences: Sequence[float],
    source: str,
    *,
    says: str,
    note: str = "",
) -> None:
    """Check "A is more than B" by paired differences A − B, one a run, and record it as ``claim``.

    The verdict comes from Student's 95 % interval of the mean difference: confirmed when it lies
    above zero, refuted when it lies below, undecided when it holds zero: these runs cannot tell.

    Parameters
    ----------
    id, statement, source
        As in ``claim``.
    differences
        A − B of each run, three or more.
    says
        The verdict in the chapter's text, or ``not confirmed`` for any but that.
    note
        Under which conditions it was measured.

    Raises
    ------
    ClaimFailed
        When this run gives another verdict.
    ValueError
        For fewer than three runs.

    References
    ----------
    Student (1908), The probable error of a mean.

    Examples
    --------
    >>> from tlcourse.book import start_chapter
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    >>> claim_difference("better", "A is better than B", [1, 2, 3], "folklore", says="undecided")
    ? undecided · better: A is better than B
      measured +2.000 ± 2.5 (95 % interval, 3 runs); claimed: more than 0 · source: folklore
    """
    if len(differences) < 3:
        raise ValueError(
            f"{len(differences)} runs give no interval worth its name; measure 3 or more"
        )
    values = [float(value) for value in differences]
    mean, margin = statistics.fmean(values), _margin(values)
    found = "confirmed" if mean > margin else "refuted" if mean < -margin else "undecided"
    measured = f"{mean:+.3f} ± {margin:.2g} (95 % interval, {len(values)} runs)"
    expected = replace(greater_than(0), text="more than 0")
    record = _claim(id, statement, source, measured, expected, found, note, values)
    _record(record, says=says)


def _claim(
    id: str,
    statement: str,
    source: str,
    measured: str,
    expected: Expectation,
    verdict: str,
    note: str,
    values: list[float],
) -> Claim:
    mean = statistics.fmean(values)
    interval = None
    if len(values) > 1 and math.isfinite(mean):
        margin = _margin(values)
        interval = (_rounded(mean - margin), _rounded(mean + margin))
    ends = (float(expected.low), float(expected.high))
    low, high = (_rounded(end) if math.isfinite(end) else None for end in ends)
    value = _rounded(mean) if math.isfinite(mean) else None
    return Claim(
        id=id,
        statement=statement,
        source=source,
        measured=measured,
        expected=expected.text,
        verdict=verdict,
        note=note,
        value=value,
        interval=interval,
        runs=len(values),
        limits=(low, high),
    )


def _record(record: Claim, *, says: str) -> None:
    """Keep and show a claim; raise ClaimFailed when its verdict is not what the text says."""
    if _chapter is None:
        raise RuntimeError('call start_chapter("NN_topic") in the first cell of the chapter')
    holds = record.verdict in {"not confirmed": ("refuted", "undecided")}.get(says, (says,))
    kept = record if holds else replace(record, verdict="failed")
    _claims[record.id] = kept
    _write()
    present(str(kept), kept.html(), {METADATA: asdict(kept)})
    if not holds:
        raise ClaimFailed(f"the chapter says {says}, this run does not:\n{record}")


def _write() -> None:
    content = {
        "chapter": _chapter,
        "profile": profile(),
        "environment": environment(),
        "claims": [asdict(record) for record in _claims.values()],
    }
    with replacing(CLAIMS_DIR / f"{_chapter}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _describe(values: list[float]) -> str:
    if len(values) == 1:
        return number(values[0])
    spread = statistics.stdev(values)
    return f"{number(statistics.fmean(values))} ± {spread:.2g} ({len(values)} runs)"


def _margin(values: list[float]) -> float:
    """Half of Student's 95 % interval of the mean."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return float(scipy.stats.t.ppf(0.975, len(values) - 1)) * error


def _rounded(value: float) -> float:
    """Whole numbers as they are, others with six significant digits."""
    return value if value.is_integer() else float(f"{value:.6g}")
