"""The exercises of chapter 16, augmentation and regularisation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from tlcourse.book.answers.exercise import Exercise, letters, number


def _mixes(loss: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> bool:
    """As torch has it for a target of shares."""
    torch.manual_seed(0)
    for classes, share in ((3, 0.5), (7, 0.2), (7, 1.0)):
        logits = torch.randn(5, classes)
        one, other = torch.randint(classes, (2, 5))
        shares = share * one_hot(one, classes) + (1 - share) * one_hot(other, classes)
        if not torch.allclose(loss(logits, one, other, share), cross_entropy(logits, shares)):
            return False
    return True


def _averages(average: Callable[[list[float], float], list[float]]) -> bool:
    """By the sum of the weights that each value has."""
    values = [3.0, -1.0, 4.0, 1.0, 5.0]
    for decay in (0.0, 0.5, 0.9):
        expected = [
            decay**t * values[0]
            + sum((1 - decay) * decay ** (t - k) * values[k] for k in range(1, t + 1))
            for t in range(len(values))
        ]
        found = torch.tensor(average(values, decay), dtype=torch.float64)
        if not torch.allclose(found, torch.tensor(expected, dtype=torch.float64)):
            return False
    return True


def _asks_twice(two_ways: Callable[[nn.Module, Tensor], Tensor]) -> bool:
    """The mean of probabilities: symmetric, and not the softmax of mean logits."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()
    images = 4 * torch.randn(6, 3, 4, 4)
    with torch.no_grad():
        views = model(images), model(torch.flip(images, (3,)))
        found = two_ways(model, images)
    return torch.allclose(found, sum(view.softmax(1) for view in views) / 2, atol=1e-6)


EXERCISES: dict[str, Exercise] = {
    "16-1": Exercise(
        number(0.9 + 0.1 / 10),
        "The lowest loss is at p = q. The label keeps 1 − ε, and gets its part of ε as well.",
        "The label gets a tenth of what was taken from it back.",
    ),
    "16-2": Exercise(
        _mixes,
        "The loss is linear in the target: two cross-entropies, weighted like the images.",
        "Mixup needs no loss of its own.",
    ),
    "16-3": Exercise(
        _averages,
        "Keep the last average; the new one is decay · average + (1 − decay) · value.",
        "One number is remembered, however many values there were.",
    ),
    "16-4": Exercise(
        _asks_twice,
        "images.flip(-1) mirrors. Turn each set of logits into probabilities before you average.",
        "A mean of probabilities lets one view doubt without shouting the other down.",
    ),
    "16-5": Exercise(
        letters("b"),
        "8,960 is eight times 1,120. Where are the eight views of one photograph?",
        "Split first, then vary.",
    ),
    "16-6": Exercise(
        letters("be"),
        "Take a screw in your hand. Which of these could you do to it by turning it?",
        "Either mirror makes a right-handed screw of a left-handed one; a rotation does not.",
    ),
    "16-7": Exercise(
        number(2**1.5, rel=0.01),
        "Two doublings gained six points. How many doublings are four and a half points?",
        "One and a half doublings: not quite three times as many images.",
    ),
    "16-8": Exercise(
        letters("b"),
        "Twenty epochs of eight views are how many steps, against twenty epochs of plain images?",
        "The same number of steps on the same photographs: what is left is the variation.",
    ),
}
