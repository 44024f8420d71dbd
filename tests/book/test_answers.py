"""Answers outside the chapters: right ones, wrong ones, and functions that a reader writes."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlcourse.book import check_answer
from tlcourse.diagnosis import leep


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


def mmd2(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    k = torch.exp(-(torch.cdist(torch.cat([x, y]), torch.cat([x, y])) ** 2) / (2 * bandwidth**2))
    n, m = len(x), len(y)
    within = (k[:n, :n].sum() - n) / (n * (n - 1)) + (k[n:, n:].sum() - m) / (m * (m - 1))
    return within - 2 * k[:n, n:].mean()


def biased_mmd2(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    k = torch.exp(-(torch.cdist(torch.cat([x, y]), torch.cat([x, y])) ** 2) / (2 * bandwidth**2))
    n = len(x)
    return k[:n, :n].mean() + k[n:, n:].mean() - 2 * k[:n, n:].mean()


def leep_of(p: Tensor, labels: Tensor) -> float:
    return leep(p.clamp(min=1e-30).log(), labels)


def best_test(validation: dict[str, float], test: dict[str, float]) -> float:
    return max(test.values())


def mixed_loss(logits: Tensor, one: Tensor, other: Tensor, share: float) -> Tensor:
    return share * cross_entropy(logits, one) + (1 - share) * cross_entropy(logits, other)


def mixed_the_wrong_way(logits: Tensor, one: Tensor, other: Tensor, share: float) -> Tensor:
    return mixed_loss(logits, other, one, share)


def moving_average(values: list[float], decay: float) -> list[float]:
    averages = values[:1]
    for value in values[1:]:
        averages.append(decay * averages[-1] + (1 - decay) * value)
    return averages


def from_zero(values: list[float], decay: float) -> list[float]:
    return moving_average([0.0, *values], decay)[1:]


def two_ways(model: nn.Module, images: Tensor) -> Tensor:
    return (model(images).softmax(1) + model(images.flip(-1)).softmax(1)) / 2


def of_logits(model: nn.Module, images: Tensor) -> Tensor:
    return ((model(images) + model(images.flip(-1))) / 2).softmax(1)


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
    [
        ("06-1", 414_722),
        ("06-2", 19.4),
        ("06-3", 12),
        ("06-4", a_tenth),
        ("06-5", "b"),
        ("06-6", "c, b"),
        ("06-7", "BC"),
        ("08-1", 3_197_959),
        ("08-2", 308.9),
        ("08-3", 10),
        ("08-4", plan),
        ("08-5", part),
        ("08-6", "b"),
        ("08-7", "c"),
        ("09-1", 42_016),
        ("09-2", 0.651),
        ("09-3", 10),
        ("09-4", normalise),
        ("09-5", "b"),
        ("09-6", 8),
        ("07-1", 263),
        ("07-2", lambda t, p, a, b: 100 * (t.loc[p, a] - t.loc[p, b])),
        ("07-4", mmd2),
        ("07-5", "b"),
        ("07-6", "ebc"),
        ("07-7", 9.95),
        ("07-8", "a d"),
        ("07-9", leep_of),
        ("07-10", lambda v, t: t[max(v, key=v.get)]),
        ("10-1", 17),
        ("10-2", 6.9078),
        ("10-3", dropout),
        ("10-4", push),
        ("10-5", "C"),
        ("10-6", "a, c, d"),
        ("10-7", 20),
        ("16-1", 0.91),
        ("16-2", mixed_loss),
        ("16-3", moving_average),
        ("16-4", two_ways),
        ("16-5", "b"),
        ("16-6", "e, b"),
        ("16-7", 2.83),
        ("16-8", "B"),
    ],
)
def test_right(exercise, answer, capsys):
    check_answer(exercise, answer)
    assert capsys.readouterr().out.startswith("✔ right")


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("06-1", 2_562),
        ("06-2", 20.5),
        ("06-3", -3),
        ("06-4", the_head_ten_times_faster),
        ("06-6", "abc"),
        ("08-2", 118.8),
        ("08-4", the_first_first),
        ("08-5", without_longer_cycles),
        ("08-6", "bc"),
        ("09-2", 0.9),
        ("09-4", each_image_by_itself),
        ("09-6", 80),
        ("07-1", 261),
        ("07-2", lambda t, p, a, b: t.loc[p, a] - t.loc[p, b]),
        ("07-4", biased_mmd2),
        ("07-5", "a"),
        ("07-6", "b"),
        ("07-7", 3),
        ("07-8", "a"),
        ("07-9", lambda p, y: 0.0),
        ("07-10", best_test),
        ("10-1", 16),
        ("10-2", 6.0),
        ("10-3", without_scaling),
        ("10-4", the_wrong_way),
        ("10-5", "b"),
        ("10-6", "acde"),
        ("10-7", 64),
        ("10-1", "seventeen"),
        ("10-3", 3),
        ("16-1", 0.9),
        ("16-2", mixed_the_wrong_way),
        ("16-3", from_zero),
        ("16-4", of_logits),
        ("16-5", "a"),
        ("16-6", "bce"),
        ("16-7", 3),
        ("16-8", "d"),
    ],
)
def test_wrong_gets_a_hint_and_raises_nothing(exercise, answer, capsys):
    check_answer(exercise, answer)
    assert "is not it yet" in capsys.readouterr().out


def test_not_given_yet(capsys):
    check_answer("10-1", ...)
    assert capsys.readouterr().out.startswith("○ not answered yet")


def test_there_is_no_such_exercise():
    with pytest.raises(ValueError, match="no exercise '10-99'"):
        check_answer("10-99", 1)
