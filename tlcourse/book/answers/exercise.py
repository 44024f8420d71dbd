"""An exercise: what makes an answer right, the hint for a wrong one, the reason for a right one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exercise:
    """``is_right`` judges an answer; it may raise for one that it cannot read."""

    is_right: Callable[[Any], bool]
    hint: str
    because: str


def number(expected: float, *, rel: float = 1e-3) -> Callable[[Any], bool]:
    """Answers within the part ``rel`` of a number."""
    return lambda answer: math.isclose(float(answer), expected, rel_tol=rel)


def letters(expected: str) -> Callable[[Any], bool]:
    """Answers of just these letters, in any order and case, with or without spaces and commas."""
    return lambda answer: {c for c in str(answer).lower() if c.isalpha()} == set(expected)
