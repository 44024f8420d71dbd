"""EfficientNet-B0 (Tan & Le 2019) and EfficientNet-Lite0, its version for small devices."""

from functools import partial

from torch import nn

from tlcourse.architectures.inverted_residual import (
    BlockSetting,
    mobile_network,
    torchvision_block_names,
)
from tlcourse.architectures.layers import Network
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation

# Expansion, kernel, channels, repeats, stride: table 1 of the paper.
TABLE = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
NUM_BLOCKS = sum(row[3] for row in TABLE)
STOCHASTIC_DEPTH = 0.2  # B0: a block's rate grows evenly towards this


def efficientnet_b0(*, num_classes: int, in_channels: int) -> Network:
    """16 inverted residuals with SE and SiLU, a last convolution, pooling, dropout, linear head."""
    return _efficientnet(nn.SiLU, num_classes, in_channels, dropout=0.2, full=True)


def efficientnet_lite0(*, num_classes: int, in_channels: int) -> Network:
    """B0 without squeeze-and-excitation, and with ReLU6: easy on fixed-point hardware."""
    return _efficientnet(nn.ReLU6, num_classes, in_channels, dropout=0.0, full=False)


def torchvision_names() -> tuple[tuple[str, str], ...]:
    """Rules from our names to those of torchvision's efficientnet_b0."""
    rules = [(r"^stem\.conv", "features.0.0"), (r"^stem\.norm", "features.0.1")]
    for number, row, repeat in _numbered():
        parts = [*(["expand"] if number > 1 else []), "depthwise", "se", "project"]
        rules += torchvision_block_names(number, parts, f"features.{row + 1}.{repeat}.block")
    return (
        *rules,
        (r"^neck\.last\.conv", "features.8.0"),
        (r"^neck\.last\.norm", "features.8.1"),
        (r"^head", "classifier.1"),
    )


def timm_names() -> tuple[tuple[str, str], ...]:
    """Rules from our names to those of timm's efficientnet_lite0."""
    rules = [(r"^stem\.conv", "conv_stem"), (r"^stem\.norm", "bn1")]
    for number, row, repeat in _numbered():
        parts = {"expand": "pw", "depthwise": "dw", "project": "pwl"}
        if number == 1:  # depthwise and pointwise only
            parts = {"depthwise": "dw", "project": "pw"}
        for position, (part, short) in enumerate(parts.items(), start=1):
            ours, theirs = rf"^\w+\.block{number}\.{part}", f"blocks.{row}.{repeat}"
            rules.append((rf"{ours}\.conv", f"{theirs}.conv_{short}"))
            rules.append((rf"{ours}\.norm", f"{theirs}.bn{position}"))
    return (
        *rules,
        (r"^neck\.last\.conv", "conv_head"),
        (r"^neck\.last\.norm", "bn2"),
        (r"^head", "classifier"),
    )


def _numbered() -> list[tuple[int, int, int]]:
    """Number of each block from 1, its row in the table and its repeat there, from 0."""
    places = [(row, repeat) for row, line in enumerate(TABLE) for repeat in range(line[3])]
    return [(number, *place) for number, place in enumerate(places, start=1)]


def _efficientnet(
    activation: type[nn.Module], num_classes: int, in_channels: int, *, dropout: float, full: bool
) -> Network:
    """``full``: with squeeze-and-excitation and stochastic depth."""
    settings: list[BlockSetting] = []
    before = 32
    for expansion, kernel_size, after, repeats, first_stride in TABLE:
        for stride in [first_stride] + [1] * (repeats - 1):
            inside = expansion * before
            # Unlike in MobileNetV3 the hidden units are a quarter of the block's input.
            se = partial(SqueezeExcitation, inside, hidden=before // 4, activation=nn.SiLU)
            rate = STOCHASTIC_DEPTH * len(settings) / NUM_BLOCKS
            settings.append(
                BlockSetting(
                    inside,
                    after,
                    kernel_size,
                    stride,
                    activation,
                    se if full else None,
                    rate if full else 0.0,
                )
            )
            before = after
    return mobile_network(
        settings,
        activation=activation,
        dropout=dropout,
        num_classes=num_classes,
        in_channels=in_channels,
    )
