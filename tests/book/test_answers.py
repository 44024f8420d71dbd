"""Answers outside the chapters: right ones, wrong ones, and functions that a reader writes."""

import math

import pytest
import torch
from torch import Tensor

from tlcourse.book import check_answer


def dropout(x: Tensor, p: float) -> Tensor:
    return x * (torch.rand_like(x) >= p) / (1 - p)


def without_scaling(x: Tensor, p: float) -> Tensor:
    return x * (torch.rand_like(x) >= p)


def push(weight: Tensor, bias: Tensor, f: Tensor, label: int) -> Tensor:
    p = (weight @ f + bias).softmax(dim=0)
    p[label] -= 1
    return weight.T @ p


def the_wrong_way(weight: Tensor, bias: Tensor, f: Tensor, label: int) -> Tensor:
    return -push(weight, bias, f, label)


def a_tenth(best: float, factor: float) -> tuple[float, float]:
    return best * factor, best


def the_head_ten_times_faster(best: float, factor: float) -> tuple[float, float]:
    return best, best / factor


def plan(stages: list[str], every: int) -> dict[str, int]:
    return {stage: every * (k + 1) for k, stage in enumerate(reversed(stages[:-1]))}


def the_first_first(stages: list[str], every: int) -> dict[str, int]:
    return {stage: every * (k + 1) for k, stage in enumerate(stages[:-1])}


def part(step: int, first: int, mult: int) -> float:
    while step >= first:
        step, first = step - first, first * mult
    return (1 + math.cos(math.pi * step / first)) / 2


def without_longer_cycles(step: int, first: int, mult: int) -> float:
    return part(step, first, 1)


def normalise(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0, keepdim=True)
    return gamma[:, None, None] * (x - mean) / (variance + 1e-5).sqrt() + beta[:, None, None]


def each_image_by_itself(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return torch.stack([normalise(image[None], gamma, beta)[0] for image in x])


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [("06-1", 414_722), ("06-2", 19.4), ("06-3", 12), ("06-4", a_tenth), ("06-5", "b"),
     ("06-6", "c, b"), ("06-7", "BC"), ("08-1", 3_197_959), ("08-2", 308.9), ("08-3", 10),
     ("08-4", plan), ("08-5", part), ("08-6", "b"), ("08-7", "c"), ("09-1", 42_016),
     ("09-2", 0.651), ("09-3", 10), ("09-4", normalise), ("09-5", "b"), ("09-6", 8),
     ("10-1", 17), ("10-2", 6.9078), ("10-3", dropout), ("10-4", push), ("10-5", "C"),
     ("10-6", "a, c, d"), ("10-7", 20)],
)  # fmt: skip
def test_right(exercise, answer, capsys):
    check_answer(exercise, answer)
    assert capsys.readouterr().out.startswith("✔ right")


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [("06-1", 2_562), ("06-2", 20.5), ("06-3", -3), ("06-4", the_head_ten_times_faster),
     ("06-6", "abc"), ("08-2", 118.8), ("08-4", the_first_first), ("08-5", without_longer_cycles),
     ("08-6", "bc"), ("09-2", 0.9), ("09-4", each_image_by_itself), ("09-6", 80),
     ("10-1", 16), ("10-2", 6.0), ("10-3", without_scaling), ("10-4", the_wrong_way), ("10-5", "b"),
     ("10-6", "acde"), ("10-7", 64), ("10-1", "seventeen"), ("10-3", 3)],
)  # fmt: skip
def test_wrong_gets_a_hint_and_raises_nothing(exercise, answer, capsys):
    check_answer(exercise, answer)
    assert "is not it yet" in capsys.readouterr().out


def test_not_given_yet(capsys):
    check_answer("10-1", ...)
    assert capsys.readouterr().out.startswith("○ not answered yet")


def test_there_is_no_such_exercise():
    with pytest.raises(ValueError, match="no exercise '10-99'"):
        check_answer("10-99", 1)
