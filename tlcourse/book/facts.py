"""Exact statements and guards: one number against a range, without a spread."""

import math
import statistics
from collections.abc import Sequence

from tlcourse.book.expectations import Expectation, number
from tlcourse.book.register import keep
from tlcourse.book.statements import Kind, Statement, rounded
from tlcourse.runtime import profile


def exact(
    id: str, statement: str, measured: float, expected: Expectation, source: str, *, note: str = ""
) -> None:
    """State what is so wherever it is counted: a count, an identity, the same up to rounding.

    Parameters
    ----------
    id
        Its name, unique in the chapter.
    statement
        What is stated, as one reads it.
    measured
        The number, which no seed changes.
    expected
        ``equals(…)``; for an identity of floats, ``at_most(tolerance)`` of a difference.
    source
        Who says so.
    note
        What else its card says.

    Raises
    ------
    ClaimFailed
        When it is not so, in any profile.
    RuntimeError
        Before ``start_chapter``.

    Examples
    --------
    >>> from tlcourse.book import equals, start_chapter
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    >>> exact("pixels", "an image has 12,288 numbers", 3 * 64 * 64, equals(12288), "arithmetic")
    ✔ holds · exact · pixels: an image has 12,288 numbers
      measured 12,288; claimed: exactly 12,288 · source: arithmetic
    """
    kept = _statement("exact", id, statement, [measured], expected, source, note)
    keep([(kept, ("holds",), True)])


def guard(
    id: str,
    statement: str,
    measured: float | Sequence[float],
    expected: Expectation,
    *,
    note: str = "",
) -> None:
    """Hold our own number within a bound that was set from a run, to notice when it moves.

    It is no claim: the bound came after the number. It stands in CI and in ``tlcourse check``, and
    is listed by ``tlcourse claims --guards`` alone.

    Parameters
    ----------
    id, statement, note
        As in ``exact``.
    measured
        One number, or one a run: then their mean is held, and their spread written beside it.
    expected
        ``at_least(…)``, ``between(…)`` and so on.

    Raises
    ------
    ClaimFailed
        When the number leaves the bound in the quick profile; in another it is only told.
    RuntimeError
        Before ``start_chapter``.

    Examples
    --------
    >>> from tlcourse.book import at_most, start_chapter
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    >>> guard("cost", "watching takes less than a fifth more time", [1.1, 1.12], at_most(1.2))
    ✔ holds · guard · cost: watching takes less than a fifth more time
      measured 1.11 (sd 0.014, 2 runs); claimed: at most 1.2 · source: this course
    """
    values = list(measured) if isinstance(measured, Sequence) else [measured]
    binding = profile() == "quick"
    kept = _statement("guard", id, statement, values, expected, "this course", note)
    keep([(kept, ("holds",), binding)])


def _statement(
    kind: Kind,
    id: str,
    statement: str,
    values: Sequence[float],
    expected: Expectation,
    source: str,
    note: str,
) -> Statement:
    numbers = [float(value) for value in values]
    mean = statistics.fmean(numbers)
    measured = number(mean)
    sd = None
    if len(numbers) > 1:
        sd = rounded(statistics.stdev(numbers)) if math.isfinite(mean) else None
        spread = "" if sd is None else f"sd {sd:.2g}, "
        measured += f" ({spread}{len(numbers)} runs)"
    return Statement(
        kind=kind,
        id=id,
        statement=statement,
        source=source,
        verdict="holds" if expected.holds(mean) else "does not hold",
        measured=measured,
        expected=expected.text,
        unit="",
        value=rounded(mean),
        runs=len(numbers),
        limits=(rounded(float(expected.low)), rounded(float(expected.high))),
        sd=sd,
        note=note,
    )
