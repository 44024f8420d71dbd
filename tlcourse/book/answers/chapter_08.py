"""The exercises of chapter 08, freezing and thawing."""

import math
from collections.abc import Callable, Sequence

import torch

from tlcourse.book.answers.exercise import Exercise, letters, number


def _thaws_the_last_first(plan: Callable[[Sequence[str], int], dict[str, int]]) -> bool:
    """Each stage ``every`` epochs after the one behind it; the head learns from the beginning."""
    return plan(["stem", "stage1", "head"], 2) == {"stage1": 2, "stem": 4} and plan(
        ["stem", "stage1", "stage2", "neck", "head"], 1
    ) == {"neck": 1, "stage2": 2, "stage1": 3, "stem": 4}


def _restarts(part: Callable[[int, int, int], float]) -> bool:
    """As torch's own schedule, for 80 steps."""
    for first, mult in ((10, 2), (5, 1)):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, first, mult)
        for step in range(80):
            if not math.isclose(part(step, first, mult), schedule.get_last_lr()[0], abs_tol=1e-6):
                return False
            optimizer.step()
            schedule.step()
    return True


EXERCISES: dict[str, Exercise] = {
    "08-1": Exercise(
        number(3_197_959, rel=0),
        'freeze(network, parameters="*conv_dw.weight"), then count_trainable.',
        "Depthwise filters are small: nearly everything is left.",
    ),
    "08-2": Exercise(
        number(2.6**6, rel=0.01),
        "The neck is one factor away from the head.",
        "Six factors lie between them.",
    ),
    "08-3": Exercise(
        number(10, rel=0.01),
        "The velocity sums 1 + 0.9 + 0.81 + … gradients.",
        "A geometric series: 1 / (1 − 0.9). A cold start has one gradient only.",
    ),
    "08-4": Exercise(
        _thaws_the_last_first,
        "The head is in no plan. Which stage is before it, and when is its turn?",
        "The early layers thaw last.",
    ),
    "08-5": Exercise(
        _restarts,
        "Take cycles off the step until it lies in one; its place there gives half a cosine.",
        "Restarts at 10, 30 and 70 for a first cycle of 10 and a factor of 2.",
    ),
    "08-6": Exercise(
        letters("b"),
        "Which of them asks what the network of today can do with yesterday's head?",
        "A new head on the new features tells what could be learned again, which is more.",
    ),
    "08-7": Exercise(
        letters("c"),
        "Which tensors does an optimiser know? When was it made?",
        "It was made from what was trainable then; extend() tells it of the rest.",
    ),
}
