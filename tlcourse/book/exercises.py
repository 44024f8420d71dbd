"""Instant answers to exercises, in the vocabulary of the claims."""

from types import EllipsisType

from tlcourse.book.claims import Expectation


def check(answer: float | EllipsisType, expected: Expectation, *, hint: str) -> None:
    """Print whether an answer is right; ``...`` means it is still to be given.

    A wrong answer gets the hint, not the solution, and raises nothing: the chapter goes on.
    """
    if answer is ...:
        print("○ not answered yet: put your answer in place of the three dots")
    elif expected.holds(float(answer)):
        print("✔ right")
    else:
        print(f"✘ {answer} is not it yet. {hint}")
