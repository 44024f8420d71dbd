"""From the last map to logits: what is averaged away, what is kept, and what that costs."""

import torch
from torch import Tensor, nn

from tlcourse.architectures.layers import named


class GlobalAverageMaxPool(nn.Module):
    """The mean and the maximum of each channel, side by side; (N, C, H, W) → (N, 2 C)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)


class FlattenMap(nn.Module):
    """Every place of a map of one size; (N, C, H, W) → (N, C · H · W).

    Raises ValueError for a map of another size, for which the linear layer has no weights.
    """

    def __init__(self, channels: int, map_size: int) -> None:
        super().__init__()
        self.shape = (channels, map_size, map_size)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"the map is {_times(x.shape[1:])}, this flatten head is made for "
                f"{_times(self.shape)}; use images of the size it was made for, or a GAP head"
            )
        return x.flatten(1)


def gap_head(channels: int, num_classes: int) -> nn.Sequential:
    """Global average pooling and one linear layer (Lin et al. 2014); maps of any size."""
    return named(
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        linear=nn.Linear(channels, num_classes),
    )


def gap_gmp_head(channels: int, num_classes: int) -> nn.Sequential:
    """Average and maximum of each channel, and one linear layer; maps of any size."""
    return named(pool=GlobalAverageMaxPool(), linear=nn.Linear(2 * channels, num_classes))


def adaptive_head(channels: int, num_classes: int, *, grid: int) -> nn.Sequential:
    """Averages over a grid × grid division of the map, and one linear layer; maps of any size.

    Between the two ends: ``grid=1`` is global average pooling, the map's own size is flattening.
    """
    return named(
        pool=nn.AdaptiveAvgPool2d(grid),
        flatten=nn.Flatten(),
        linear=nn.Linear(channels * grid * grid, num_classes),
    )


def flatten_head(channels: int, num_classes: int, *, map_size: int) -> nn.Sequential:
    """Every place of the map into one linear layer; maps of ``map_size`` × ``map_size`` only."""
    return named(
        flatten=FlattenMap(channels, map_size),
        linear=nn.Linear(channels * map_size**2, num_classes),
    )


def _times(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))
