"""Answers to exercises, kept out of the chapters: whether one is right, and what helps if not."""

from types import EllipsisType
from typing import Any

from tlcourse.book.answers.chapter_06 import EXERCISES as CHAPTER_06
from tlcourse.book.answers.chapter_07 import EXERCISES as CHAPTER_07
from tlcourse.book.answers.chapter_08 import EXERCISES as CHAPTER_08
from tlcourse.book.answers.chapter_09 import EXERCISES as CHAPTER_09
from tlcourse.book.answers.chapter_10 import EXERCISES as CHAPTER_10
from tlcourse.book.answers.chapter_15 import EXERCISES as CHAPTER_15
from tlcourse.book.answers.chapter_16 import EXERCISES as CHAPTER_16
from tlcourse.book.answers.exercise import Exercise
from tlcourse.book.cards import card, present
from tlcourse.suggestions import look_up

EXERCISES: dict[str, Exercise] = {
    **CHAPTER_06,
    **CHAPTER_07,
    **CHAPTER_08,
    **CHAPTER_09,
    **CHAPTER_10,
    **CHAPTER_15,
    **CHAPTER_16,
}


def check_answer(exercise: str, answer: Any) -> None:
    """Show whether an answer is right; a wrong one gets a hint and raises nothing.

    Parameters
    ----------
    exercise
        Chapter and number: ``"10-2"``.
    answer
        A number, a letter or several, or a function: as the exercise asks. ``...`` means that it is
        still to be given.

    Raises
    ------
    ValueError
        For an exercise that there is not.

    Examples
    --------
    >>> check_answer("10-1", 2)
    ✘ 2 is not it yet. Write both counts as a line in the number of classes; where do they cross?
    """
    asked = look_up(exercise, EXERCISES, "exercise")
    if isinstance(answer, EllipsisType):
        sign, verdict = "○", "not answered yet: put your answer in place of the three dots"
        present(f"{sign} {verdict}", card(sign, verdict))
        return
    try:
        right, why = asked.is_right(answer), ""
    except Exception as error:  # noqa: BLE001 (a reader's own function may raise anything)
        right, why = False, f"It raised {type(error).__name__}: {error}."
    if right:
        present(f"✔ right {asked.because}", card("✔", "right", lines=(asked.because,)))
    else:
        shown = getattr(answer, "__name__", answer)
        verdict = f"{shown} is not it yet."
        present(
            " ".join(filter(None, ["✘", verdict, why, asked.hint])),
            card("✘", verdict, lines=(why, asked.hint)),
        )
