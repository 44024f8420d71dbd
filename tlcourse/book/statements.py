"""Statements: what a chapter's text says, what was found, and the words of its card."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from tlcourse.book.cards import card
from tlcourse.book.expectations import number
from tlcourse.evidence import Effect

Kind = Literal["exact", "claim", "guard", "recorded"]
METADATA = "tlcourse_claim"  # where a notebook keeps the record beside its card
SIGNS = {
    "holds": "✔",
    "confirmed": "✔",
    "refuted": "✘",
    "equal": "=",
    "undecided": "?",
    "does not hold": "✘",  # a guard of the quick profile, in another
    "failed": "‼",
}


@dataclass(frozen=True)
class Statement:
    """One statement with its verdict, as it stands in a chapter's file and beside its card.

    The texts (``measured``, ``expected``, ``found``) say what the numbers say, in ``unit``; the
    numbers are in the unit of the values, with six digits at most: more differ between machines.
    """

    kind: Kind
    id: str
    statement: str
    source: str
    verdict: str  # one of SIGNS
    measured: str
    expected: str
    unit: str
    value: float | None  # the mean over runs; None for one that is not finite
    runs: int
    limits: tuple[float | None, float | None]  # of what is expected; None: no limit there
    interval: tuple[float, float] | None = None  # 95 %
    sd: float | None = None
    overlap: float | None = None
    matters: float | None = None
    detectable: float | None = None  # with a probability of 80 %
    p: float | None = None  # by itself
    p_family: float | None = None  # after Holm
    family: str = ""
    found: str = ""  # what the runs could find, and how they were decided together
    condition: str = ""
    note: str = ""
    told: str = ""  # for which profile the text was written, where this one found something else
    provenance: dict[str, Any] | None = None
    recorded: str = ""  # the provenance in words

    @property
    def lines(self) -> list[str]:
        """What stands below the statement, above its source."""
        numbers = f"measured {self.measured}; claimed: {self.expected}"
        small = (self.found, self.condition, self.note, self.recorded, self.told)
        return [numbers, *filter(None, small)]

    def __str__(self) -> str:
        head = f"{SIGNS[self.verdict]} {self.verdict} · {self.kind} · {self.id}: {self.statement}"
        first, *others = self.lines
        return "\n  ".join([head, f"{first} · source: {self.source}", *others])

    def html(self) -> str:
        """The card that a notebook shows."""
        small = f"{self.kind} · source: {self.source} · {self.id}"
        return card(SIGNS[self.verdict], self.verdict, self.statement, self.lines, small)


def amount(value: float, unit: str) -> str:
    """A distance in words: ``points`` and ``%`` are hundredths, any other unit is as it is.

    Examples
    --------
    >>> amount(0.05, "points"), amount(0.05, "%"), amount(12, "steps"), amount(0.2, "")
    ('5 points', '5 points', '12 steps', '0.2')
    """
    return _in_unit(value, "points" if unit == "%" else unit)


def measured(effect: Effect, unit: str) -> str:
    """The mean of an effect and its interval, to two digits of the latter.

    Examples
    --------
    >>> from tlcourse.evidence import decide
    >>> measured(decide([0.01, 0.03, 0.02, 0.04], matters=0.01), "points")
    '+2.5 ± 2.1 points (95 % interval, 4 runs)'
    """
    if math.isnan(effect.mean):
        return f"not finite ({effect.runs} runs)"
    if math.isnan(effect.low):
        return f"{_in_unit(effect.mean, unit)} ({effect.runs} runs, all alike: no interval)"
    scale = _scale(unit)
    margin = scale * (effect.high - effect.low) / 2
    decimals = max(0, 1 - math.floor(math.log10(margin)))
    sign = "+" if effect.than == 0 else ""
    mean = f"{scale * effect.mean:{sign},.{decimals}f}"
    runs = "splits that overlap" if effect.overlap else "runs"
    within = f"{margin:,.{decimals}f} {unit}".strip()
    return f"{mean} ± {within} (95 % interval, {effect.runs} {runs})"


def claimed(effect: Effect, unit: str) -> str:
    """On which side of the bound the mean is claimed to lie, and what distance matters."""
    side = "more" if effect.side == "above" else "less"
    than = _in_unit(effect.than, unit) if effect.than else "0"
    return f"{side} than {than}; what matters: {amount(effect.matters, unit)}"


def found(effect: Effect, unit: str, family: str) -> str:
    """What these runs could find, whether it is small, and what a family made of it."""
    parts = []
    if not math.isnan(effect.detectable):
        seen = float(f"{effect.detectable:.2g}")
        parts.append(f"these runs could have seen {amount(seen, unit)} (power 80 %)")
    if effect.verdict in ("confirmed", "refuted") and effect.is_small:
        parts.append("the whole interval is less than what matters")
    if family:
        parts.append(f"p = {effect.p:.2g} by Holm over the {effect.family} claims of {family!r}")
    return "; ".join(parts)


def rounded(value: float) -> float | None:
    """Whole numbers as they are, others with six significant digits; None for no number."""
    if not math.isfinite(value):
        return None
    return value if float(value).is_integer() else float(f"{value:.6g}")


def _scale(unit: str) -> int:
    return 100 if unit in ("points", "%") else 1


def _in_unit(value: float, unit: str) -> str:
    text = number(float(f"{_scale(unit) * value:.12g}"))  # 100 · 0.07 has a tail
    return "1 point" if (text, unit) == ("1", "points") else f"{text} {unit}".strip()
