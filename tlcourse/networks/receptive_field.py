"""What one place of a stage's output can see of the image, found by following NaN."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from tlcourse.modes import evaluating

HEIGHT, WIDTH = 16, 256  # of the strips on which a stage is tried


class Field(NamedTuple):
    """Along one side of the image, in pixels: what a place of a map depends on.

    ``size`` of the window, ``step`` from one place to the next, ``centre`` of the first place's
    window (pixel 0 is the image's first). Size is infinite, step and centre are NaN, where a place
    depends on the whole image.

    Examples
    --------
    >>> Field(size=7, step=2, centre=3.0).size
    7
    """

    size: float
    step: float
    centre: float


WHOLE_IMAGE = Field(math.inf, math.nan, math.nan)


def receptive_fields(
    network: nn.Module, *, image_size: int, in_channels: int = 3
) -> dict[str, Field]:
    """The theoretical receptive field of each stage's output; it may be larger than the image.

    Behind global pooling, squeeze-and-excitation, attention and flattening it is the whole image.
    Convolutions must not be dilated. Windows of stages that follow one another compose as in
    Araujo et al. 2019, *Computing receptive fields of convolutional neural networks*.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3))
    >>> receptive_fields(network, image_size=32)["1"]
    Field(size=7, step=2, centre=3.0)
    """
    fields = {}
    field = Field(1, 1, 0)
    x = torch.zeros(1, in_channels, image_size, image_size)
    with evaluating(network), torch.no_grad():
        for name, stage in network.named_children():
            output = stage(x)
            window = _window(stage, x, output)
            field = Field(
                field.size + (window.size - 1) * field.step,
                field.step * window.step,
                field.centre + window.centre * field.step,
            )
            fields[name] = field = field if math.isfinite(field.size) else WHOLE_IMAGE
            x = output
    return fields


def _window(stage: nn.Module, x: Tensor, output: Tensor) -> Field:
    """What one place of a stage's output depends on, counted in places of the stage's input."""
    if x.ndim == 4 and output.ndim == 3:  # tokens: one patch each, and the class token
        patch = round(x.shape[-1] / (output.shape[1] - 1) ** 0.5)
        return Field(patch, patch, (patch - 1) / 2)
    if output.ndim < 4:  # a layer on vectors adds nothing; all else mixes the places
        return Field(1, 1, 0) if x.ndim == 2 else WHOLE_IMAGE
    # NaN in a column makes NaN of every place whose window holds that column. Each of ``step``
    # neighbouring columns once: together they meet every column of one window once.
    first = _met(stage, x, WIDTH // 2)
    if first.all():
        return WHOLE_IMAGE
    step = round(WIDTH / len(first))
    columns = [WIDTH // 2 + i for i in range(step)]
    met = torch.stack([first, *(_met(stage, x, column) for column in columns[1:])])
    size = int(met.sum())
    last = int(met[-1].nonzero().max())  # its window begins in one of these columns
    left = columns[int(met[:, last].nonzero().min())]
    return Field(size, step, left + (size - 1) / 2 - last * step)


def _met(stage: nn.Module, x: Tensor, column: int) -> Bool[Tensor, " width"]:
    """Which places along the stage's output see that column of a strip."""
    strip = x.new_zeros(1, x.shape[1], HEIGHT, WIDTH)
    strip[..., column] = math.nan
    return stage(strip).isnan().any(dim=(0, 1, 2))
