"""Instant answers to exercises, in the vocabulary of the claims."""

from types import EllipsisType

from tlcourse.book.cards import card, present
from tlcourse.book.expectations import Expectation


def check(answer: float | EllipsisType, expected: Expectation, *, hint: str) -> None:
    """Show whether an answer is right; a wrong one raises nothing: the chapter goes on.

    Parameters
    ----------
    answer
        ``...`` means it is still to be given.
    expected
        ``at_least(…)``, ``between(…)`` and so on.
    hint
        What a wrong answer gets, and not the solution.

    Examples
    --------
    >>> from tlcourse.book import equals
    >>> check(3, equals(4), hint="Count the head too.")
    ✘ 3 is not it yet. Count the head too.
    """
    if answer is ...:
        sign, verdict = "○", "not answered yet: put your answer in place of the three dots"
        hint = ""
    elif expected.holds(float(answer)):
        sign, verdict, hint = "✔", "right", ""
    else:
        sign, verdict = "✘", f"{answer} is not it yet."
    present(f"{sign} {verdict} {hint}".strip(), card(sign, verdict, lines=(hint,)))
