"""How much of the image one place of a stage's output can see, found by following what is not."""

import math

import torch
from torch import Tensor, nn

from tlcourse.runtime import evaluating

HEIGHT, WIDTH = 16, 256  # of the strips on which a stage is tried


def receptive_fields(
    network: nn.Module, *, image_size: int, in_channels: int = 3
) -> dict[str, float]:
    """Side in pixels of the square that one place of each stage's output depends on.

    That is the theoretical receptive field: it may be larger than the image. It is infinite where
    one place depends on the whole image, whatever its size: behind global pooling,
    squeeze-and-excitation, attention and flattening. Convolutions must not be dilated.

    A stage whose window is r places wide turns a field of R pixels, with J pixels from one place
    to the next, into R + (r − 1) · J (Araujo et al. 2019).
    """
    fields = {}
    field, jump = 1.0, 1
    x = torch.zeros(1, in_channels, image_size, image_size)
    with evaluating(network), torch.no_grad():
        for name, stage in network.named_children():
            output = stage(x)
            window, stride = _window_and_stride(stage, x, output)
            field, jump = field + (window - 1) * jump, jump * stride
            fields[name] = field
            x = output
    return fields


def _window_and_stride(stage: nn.Module, x: Tensor, output: Tensor) -> tuple[float, int]:
    """How many places of its input one place of a stage's output depends on, along one side."""
    if x.ndim == 4 and output.ndim == 3:  # tokens: one patch each, and the class token
        patch = round(x.shape[-1] / (output.shape[1] - 1) ** 0.5)
        return patch, patch
    if output.ndim < 4:  # a layer on vectors adds nothing; all else mixes the places
        return (1 if x.ndim == 2 else math.inf), 1
    strip = x.new_zeros(1, x.shape[1], HEIGHT, WIDTH)
    width_after = stage(strip).shape[-1]
    if width_after == 1:
        return math.inf, 1
    stride = round(WIDTH / width_after)
    # NaN in a column turns every place NaN whose window holds that column. Each of ``stride``
    # neighbouring columns once: together they meet each place of one window once.
    strips = strip.repeat(stride, 1, 1, 1)
    for i in range(stride):
        strips[i, :, :, WIDTH // 2 + i] = math.nan
    met = stage(strips).isnan().any(dim=(1, 2))
    return (math.inf if met.all() else met.sum().item()), stride
