"""Answers of chapter 15: functions that a reader writes, by scikit-learn and by wrong hands."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.model_selection import GroupShuffleSplit

from tlcourse.book import check_answer


def by_group(groups: np.ndarray, seed: int) -> np.ndarray:
    split = GroupShuffleSplit(1, test_size=0.25, random_state=seed)
    test = np.zeros(len(groups), dtype=bool)
    test[next(split.split(groups, groups=groups))[1]] = True
    return test


def by_image(groups: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(len(groups)) < 0.25


def without_the_seed(groups: np.ndarray, seed: int) -> np.ndarray:
    return by_group(groups, 0)


def by_bins(confidence: np.ndarray, right: np.ndarray) -> float:
    edges = np.linspace(0, 1, 11)
    error = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def signed(confidence: np.ndarray, right: np.ndarray) -> float:
    return abs(float((right - confidence).mean()))


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [("15-1", 92), ("15-2", 0.2), ("15-3", 89), ("15-4", by_group), ("15-5", by_bins),
     ("15-6", "b"), ("15-7", "a, b, c, e")],
)  # fmt: skip
def test_right(exercise, answer, capsys):
    check_answer(exercise, answer)
    assert capsys.readouterr().out.startswith("✔ right")


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [("15-1", 98), ("15-2", -0.2), ("15-3", 50), ("15-4", by_image), ("15-4", without_the_seed),
     ("15-5", signed), ("15-6", "ab"), ("15-7", "abcde")],
)  # fmt: skip
def test_wrong_gets_a_hint(exercise, answer, capsys):
    check_answer(exercise, answer)
    assert "is not it yet" in capsys.readouterr().out
