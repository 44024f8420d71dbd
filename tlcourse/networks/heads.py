"""Heads: from the last map, or from a feature vector, to logits, and what that costs.

The first four take maps (N, C, H, W), the others the features (N, D) behind a backbone's neck.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.architectures.layers import named
from tlcourse.shapes import Features


class GlobalAverageMaxPool(nn.Module):
    """The mean and the maximum of each channel, side by side; (N, C, H, W) → (N, 2 C)."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 2*c"]:
        return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)


class FlattenMap(nn.Module):
    """Every place of a map of one size; (N, C, H, W) → (N, C · H · W).

    Raises ValueError for a map of another size, for which the linear layer has no weights.
    """

    def __init__(self, channels: int, map_size: int) -> None:
        super().__init__()
        self.shape = (channels, map_size, map_size)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Features:
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"the map is {_times(x.shape[1:])}, this flatten head is made for "
                f"{_times(self.shape)}; use images of the size it was made for, or a GAP head"
            )
        return x.flatten(1)


def gap_head(channels: int, num_classes: int) -> nn.Sequential:
    """Global average pooling and one linear layer (Lin et al. 2014); maps of any size.

    Examples
    --------
    >>> gap_head(8, 5)(torch.zeros(2, 8, 7, 7)).shape
    torch.Size([2, 5])
    """
    return named(
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        linear=nn.Linear(channels, num_classes),
    )


def gap_gmp_head(channels: int, num_classes: int) -> nn.Sequential:
    """Average and maximum of each channel, and one linear layer; maps of any size.

    Examples
    --------
    >>> gap_gmp_head(8, 5).linear.in_features
    16
    """
    return named(pool=GlobalAverageMaxPool(), linear=nn.Linear(2 * channels, num_classes))


def adaptive_head(channels: int, num_classes: int, *, grid: int) -> nn.Sequential:
    """Averages over a grid × grid division of the map, and one linear layer; maps of any size.

    Between the two ends: ``grid=1`` is global average pooling, the map's own size is flattening.

    Examples
    --------
    >>> adaptive_head(8, 5, grid=2).linear.in_features
    32
    """
    return named(
        pool=nn.AdaptiveAvgPool2d(grid),
        flatten=nn.Flatten(),
        linear=nn.Linear(channels * grid * grid, num_classes),
    )


def flatten_head(channels: int, num_classes: int, *, map_size: int) -> nn.Sequential:
    """Every place of the map into one linear layer; maps of ``map_size`` × ``map_size`` only.

    Examples
    --------
    >>> flatten_head(8, 5, map_size=3).linear.in_features
    72
    """
    return named(
        flatten=FlattenMap(channels, map_size),
        linear=nn.Linear(channels * map_size**2, num_classes),
    )


def linear_head(features: int, num_classes: int) -> nn.Linear:
    """One linear layer: ``features`` × ``num_classes`` weights.

    Examples
    --------
    >>> linear_head(8, 5)
    Linear(in_features=8, out_features=5, bias=True)
    """
    return nn.Linear(features, num_classes)


def dropout_head(features: int, num_classes: int, *, p: float = 0.2) -> nn.Sequential:
    """A linear layer that sees each feature with probability 1 − p in training.

    Examples
    --------
    >>> dropout_head(8, 5).dropout
    Dropout(p=0.2, inplace=False)
    """
    return named(dropout=nn.Dropout(p), linear=nn.Linear(features, num_classes))


def mlp_head(
    features: int,
    num_classes: int,
    *,
    hidden: int,
    layers: int = 1,
    p: float = 0.0,
    batchnorm: bool = False,
) -> nn.Sequential:
    """``layers`` hidden layers of ``hidden`` units with ReLU and dropout, then a linear layer.

    With ``hidden`` well below ``features`` and the number of examples it is a bottleneck: all that
    the classes may depend on has to pass through it. ``batchnorm`` puts BatchNorm before each ReLU.

    Examples
    --------
    >>> [linear.out_features for linear in linear_layers(mlp_head(64, 5, hidden=8, layers=2))]
    [8, 8, 5]
    >>> list(dict(mlp_head(64, 5, hidden=8, batchnorm=True).named_children()))
    ['hidden1', 'norm1', 'relu1', 'dropout1', 'linear']
    """
    sizes = [features, *[hidden] * layers]
    parts: dict[str, nn.Module] = {}
    for k in range(layers):
        parts[f"hidden{k + 1}"] = nn.Linear(sizes[k], sizes[k + 1])
        if batchnorm:
            parts[f"norm{k + 1}"] = nn.BatchNorm1d(sizes[k + 1])
        parts[f"relu{k + 1}"] = nn.ReLU()
        parts[f"dropout{k + 1}"] = nn.Dropout(p)
    return named(**parts, linear=nn.Linear(sizes[-1], num_classes))


def batchnorm_head(features: int, num_classes: int) -> nn.Sequential:
    """Each feature scaled to mean 0 and variance 1 over the batch, then a linear layer.

    Examples
    --------
    >>> batchnorm_head(8, 5).norm.num_features
    8
    """
    return named(norm=nn.BatchNorm1d(features), linear=nn.Linear(features, num_classes))


def linear_layers(head: nn.Module) -> list[nn.Linear]:
    """The linear layers of a head, from the features to the logits; ValueError without any."""
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError(f"{type(head).__name__} has no linear layer")
    return layers


def _times(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))
