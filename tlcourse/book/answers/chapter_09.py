"""The exercises of chapter 09, BatchNorm in transfer."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from tlcourse.book.answers.exercise import Exercise, letters, number


def _normalises(normalise: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    """As torch's own in train mode, with its ε of 1e-5."""
    torch.manual_seed(0)
    for shape in ((8, 3, 5, 4), (2, 6, 1, 1)):
        x, gamma, beta = 3 + 2 * torch.randn(shape), torch.rand(shape[1]), torch.randn(shape[1])
        expected = batch_norm(x, None, None, gamma, beta, training=True)
        if not torch.allclose(normalise(x, gamma, beta), expected, atol=1e-4):
            return False
    return True


EXERCISES: dict[str, Exercise] = {
    "09-1": Exercise(
        number(42_016, rel=0),
        "Sum p.numel() over the parameters of all modules that are nn.BatchNorm2d.",
        "About one parameter in a hundred.",
    ),
    "09-2": Exercise(
        number(1 - 0.9**10, rel=2e-3),
        "After one pass 0.9 of the way is left.",
        "Two thirds after ten passes; 95 % takes 29.",
    ),
    "09-3": Exercise(
        number(10, rel=0),
        "set_policy(resnet, 'frozen', up_to='stage2'), then count in policies(resnet).",
        "The stem has one, each of four blocks two, and one is on a shortcut.",
    ),
    "09-4": Exercise(
        _normalises,
        "Mean and variance over images, height and width: dim=(0, 2, 3), biased; then γ and β.",
        "One mean and one variance a channel, whatever the image.",
    ),
    "09-5": Exercise(
        letters("b"),
        "The weights are the same in both modes. What else does a BatchNorm layer remember?",
        "The running statistics lag behind: 20 steps have moved them seven eighths of the way.",
    ),
    "09-6": Exercise(
        number(8, rel=0),
        "How many batches has an epoch of 160 images, for either size?",
        "Batch size and number of steps changed together; equal steps part them.",
    ),
}
