"""Networks for images of 32 to 64 px (He et al. 2016, section 4.2), with and without shortcuts.

``resnet20`` and its plain twin ``plain20`` have the same layers and the same parameters.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from tlcourse.architectures.layers import Network, kaiming_convolutions, named
from tlcourse.architectures.resnet import BasicBlock, residual_stages

DEPTHS = (20, 32, 44, 56)  # layers with weights: 6 n + 2
WIDTHS = (16, 32, 64)
KINDS: tuple["Kind", ...] = ("plain", "resnet", "seresnet")
Kind = Literal["plain", "resnet", "seresnet"]


class PaddedShortcut(nn.Module):
    """Every second place, and zeros for the new channels: no parameters (option A)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = after - before

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) → (N, after, H / stride, W / stride)."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class NoShortcut(nn.Module):
    """Adds nothing: what makes a plain network of a residual one."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """A zero, which adds to any shape."""
        return torch.zeros((), dtype=x.dtype, device=x.device)


def small_resnet(depth: int, *, kind: Kind, num_classes: int = 10, in_channels: int = 3) -> Network:
    """A 3 × 3 stem, three stages of n blocks at strides 1, 2 and 4, pooling, a linear head.

    Raises ValueError for a depth that is not 6 n + 2.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth {depth} is not 6 n + 2; near depths are {_near(depth)}")
    shortcut = NoShortcut if kind == "plain" else PaddedShortcut
    make_block = partial(BasicBlock, se=kind == "seresnet", shortcut=shortcut)
    depths = [(depth - 2) // 6] * len(WIDTHS)
    network = Network(
        in_channels=in_channels,
        min_size=8,
        stem=named(
            conv=nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(WIDTHS[0]),
            relu=nn.ReLU(inplace=True),
        ),
        **residual_stages(make_block, depths, WIDTHS, BasicBlock.expansion),
        neck=named(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()),
        head=nn.Linear(WIDTHS[-1], num_classes),
    )
    kaiming_convolutions(network)
    return network


def _near(depth: int) -> str:
    lower = max(8, (depth - 2) // 6 * 6 + 2)
    return f"{lower} and {lower + 6}"
