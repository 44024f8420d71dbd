"""Answers are judged, hints given, and nothing stops the chapter."""

import pytest

from tlcourse.book.exercises import check
from tlcourse.book.expectations import between


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (..., "not answered yet"),
        (0.5, "✔ right"),
        (2, "✘ 2 is not it yet. Halve it."),
        (float("nan"), "✘ nan"),
    ],
)
def test_check(capsys, answer, says):
    check(answer, between(0, 1), hint="Halve it.")
    assert says in capsys.readouterr().out
