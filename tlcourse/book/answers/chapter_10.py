"""The exercises of chapter 10, heads and their initialisation."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlcourse.book.answers.exercise import Exercise, letters, number


def _drops(dropout: Callable[[Tensor, float], Tensor]) -> bool:
    """About the share p becomes 0, and what is left is scaled so that the mean stays."""
    torch.manual_seed(0)
    x = torch.full((1000, 50), 3.0)
    for p in (0.2, 0.5):
        y = dropout(x, p)
        zeros = (y == 0).double().mean().item()
        kept = y[y != 0]
        if abs(zeros - p) > 0.02 or not torch.allclose(kept, torch.tensor(3.0 / (1 - p))):
            return False
    return torch.equal(dropout(x, 0.0), x)


def _pushes(gradient: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> bool:
    """As autograd finds it."""
    torch.manual_seed(0)
    for classes, features in ((3, 5), (7, 20)):
        weight, bias = torch.randn(classes, features), torch.randn(classes)
        f = torch.randn(features, requires_grad=True)
        label = classes - 1
        cross_entropy((weight @ f + bias)[None], torch.tensor([label])).backward()
        assert f.grad is not None
        found = gradient(weight, bias, f.detach(), label)
        if not torch.allclose(found, f.grad, atol=1e-5):
            return False
    return True


def _ratio_of_steps() -> float:
    epochs, batch = 20, 64

    def steps(images: int) -> int:
        return epochs * math.ceil(images / batch)

    return steps(1280) / steps(20)


def _crossing() -> int:
    def linear(classes: int) -> int:
        return 1280 * classes + classes

    def bottleneck(classes: int) -> int:
        return 1280 * 16 + 16 + 16 * classes + classes

    return next(c for c in range(2, 1000) if bottleneck(c) < linear(c))


EXERCISES: dict[str, Exercise] = {
    "10-1": Exercise(
        number(_crossing(), rel=0),
        "Write both counts as a line in the number of classes; where do they cross?",
        "One class more costs 1,281 parameters in the one head, 17 in the other.",
    ),
    "10-2": Exercise(
        number(math.log(1000)),
        "All logits are alike. Which probability does each class get, and what is its −ln?",
        "Each class gets one in a thousand.",
    ),
    "10-3": Exercise(
        _drops,
        "Draw a mask of zeros and ones, then look at the mean of many outputs: is it that of x?",
        "The factor 1 / (1 − p) is what lets evaluation leave the features alone.",
    ),
    "10-4": Exercise(
        _pushes,
        "Start from dL/dz = p − y, with y one for the label and zero else; z = W f + b.",
        "Small W, small push: that is all the mathematics of section 5.",
    ),
    "10-5": Exercise(
        letters("c"),
        "Accuracy is right, the loss is not: what makes logits far too long, all in one direction?",
        "The classes come in the right order, with too much confidence: divide by s².",
    ),
    "10-6": Exercise(
        letters("acd"),
        "Ask of each: if it differed between the two arms, could it alone explain the difference?",
        "What is measured in the end may differ; all that leads there may not.",
    ),
    "10-7": Exercise(
        number(_ratio_of_steps(), rel=0),
        "A batch is at most the data. How many batches has an epoch of 20 images, and of 1,280?",
        "Size and steps grew together: the comparison could not tell one from the other.",
    ),
}
