"""Claims: statements of the text, each checked against what this machine measured."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import scipy.stats
import torch

from tlcourse.environment import environment
from tlcourse.files import replacing
from tlcourse.runtime import CLAIMS_DIR, Profile, device, profile, seed_everything


class ClaimFailed(AssertionError):
    """A sentence of the chapter is not true on this machine."""


@dataclass(frozen=True)
class Expectation:
    """A range of numbers, ends included unless ``open_low``, and how to say it."""

    text: str
    low: float = float("-inf")
    high: float = float("inf")
    open_low: bool = False

    def holds(self, measured: float) -> bool:
        """Whether ``measured`` is in the range; NaN never is."""
        above = measured > self.low if self.open_low else measured >= self.low
        return above and measured <= self.high


def equals(value: float) -> Expectation:
    """Exactly ``value``."""
    return Expectation(f"exactly {_number(value)}", value, value)


def between(low: float, high: float) -> Expectation:
    """From ``low`` to ``high``; raises ValueError when they are the wrong way round."""
    if low > high:
        raise ValueError(f"between({low}, {high}): the first number must not exceed the second")
    return Expectation(f"between {_number(low)} and {_number(high)}", low, high)


def at_least(low: float) -> Expectation:
    """``low`` or more."""
    return Expectation(f"at least {_number(low)}", low=low)


def at_most(high: float) -> Expectation:
    """``high`` or less."""
    return Expectation(f"at most {_number(high)}", high=high)


def greater_than(other: float) -> Expectation:
    """More than ``other``."""
    return Expectation(f"greater than {_number(other)}", low=other, open_low=True)


def close_to(value: float, *, rel: float) -> Expectation:
    """Within the part ``rel`` of ``value``, on either side."""
    margin = abs(value) * rel
    return Expectation(f"{_number(value)} ± {rel:.3g} of it", value - margin, value + margin)


@dataclass(frozen=True)
class Claim:
    """One checked statement, as it stands in a chapter's claims file."""

    id: str
    statement: str
    source: str
    measured: str
    expected: str
    verdict: str  # confirmed, refuted, undecided or failed
    note: str

    def __str__(self) -> str:
        mark = {"confirmed": "✔", "refuted": "✘", "undecided": "?", "failed": "‼"}[self.verdict]
        lines = [
            f"{mark} {self.verdict} · {self.id}: {self.statement}",
            f"  measured {self.measured}; claimed: {self.expected} · source: {self.source}",
        ]
        return "\n".join(lines + ([f"  {self.note}"] if self.note else []))


_chapter: str | None = None
_claims: dict[str, Claim] = {}


def start_chapter(name: str, *, seed: int = 0) -> Profile:
    """Begin the chapter ``name`` (the notebook's file stem): seed, forget its old claims, report.

    Returns the profile, ``quick`` or ``full``.
    """
    global _chapter
    _chapter = name
    _claims.clear()
    (CLAIMS_DIR / f"{name}.json").unlink(missing_ok=True)
    seed_everything(seed)
    print(
        f"chapter {name} · profile {profile()} · {device().type}, {torch.get_num_threads()} threads"
        f" · torch {torch.__version__.split('+')[0]}"
    )
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
    """Check a statement, print one readable line and record it in ``_build/claims/<chapter>.json``.

    ``measured`` is one number, or one per seed: then their mean is compared and the spread shown.
    ``refuted`` says under which conditions the chapter finds the literature's statement *not* to
    hold; the check is then the other way round. Raises ClaimFailed when the chapter's sentence is
    not true here, and RuntimeError before ``start_chapter``.
    """
    values = [float(v) for v in measured] if isinstance(measured, Sequence) else [float(measured)]
    found = "confirmed" if expected.holds(statistics.fmean(values)) else "refuted"
    record = Claim(id, statement, source, _describe(values), expected.text, found, refuted)
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
    ``says`` is the verdict in the chapter's text, or ``not confirmed`` for any but that. Raises
    ClaimFailed when this run gives another, and ValueError for fewer than three runs.
    """
    if len(differences) < 3:
        raise ValueError(
            f"{len(differences)} runs give no interval worth its name; measure 3 or more"
        )
    values = [float(value) for value in differences]
    mean, error = statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5
    margin = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * error
    found = "confirmed" if mean > margin else "refuted" if mean < -margin else "undecided"
    measured = f"{mean:+.3f} ± {margin:.2g} (95 % interval, {len(values)} runs)"
    _record(Claim(id, statement, source, measured, "more than 0", found, note), says=says)


def _record(record: Claim, *, says: str) -> None:
    """Keep and print a claim; raise ClaimFailed when its verdict is not what the text says."""
    if _chapter is None:
        raise RuntimeError('call start_chapter("NN_topic") in the first cell of the chapter')
    holds = record.verdict in {"not confirmed": ("refuted", "undecided")}.get(says, (says,))
    _claims[record.id] = record if holds else replace(record, verdict="failed")
    _write()
    if not holds:
        raise ClaimFailed(f"the chapter says {says}, this run does not:\n{record}")
    print(record)


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
        return _number(values[0])
    spread = statistics.stdev(values)
    return f"{_number(statistics.fmean(values))} ± {spread:.2g} ({len(values)} runs)"


def _number(value: float) -> str:
    """Whole numbers with separators, others with four significant digits."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"
