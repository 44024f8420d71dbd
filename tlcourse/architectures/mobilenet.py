"""MobileNetV2 (Sandler et al. 2018) and MobileNetV3-Small (Howard et al. 2019)."""

from functools import partial

from torch import nn

from tlcourse.architectures.inverted_residual import (
    BlockSetting,
    conv_norm,
    mobile_network,
    mobile_stages,
    torchvision_block_names,
)
from tlcourse.architectures.layers import Network, initialise, named
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation

# Expansion, channels, repeats, stride: table 2 of the paper on V2.
V2_TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Kernel, channels inside, channels after, SE, hard-swish, stride: table 2 of the paper on V3.
V3_SMALL_TABLE = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
# Our names → torchvision's; the first block of V2 has no expansion.
V2_TORCHVISION_NAMES = (
    (r"^stem\.conv", "features.0.0"),
    (r"^stem\.norm", "features.0.1"),
    (r"^stem\.block1\.depthwise\.conv", "features.1.conv.0.0"),
    (r"^stem\.block1\.depthwise\.norm", "features.1.conv.0.1"),
    (r"^stem\.block1\.project\.conv", "features.1.conv.1"),
    (r"^stem\.block1\.project\.norm", "features.1.conv.2"),
    (r"^\w+\.block(\d+)\.expand\.conv", r"features.\1.conv.0.0"),
    (r"^\w+\.block(\d+)\.expand\.norm", r"features.\1.conv.0.1"),
    (r"^\w+\.block(\d+)\.depthwise\.conv", r"features.\1.conv.1.0"),
    (r"^\w+\.block(\d+)\.depthwise\.norm", r"features.\1.conv.1.1"),
    (r"^\w+\.block(\d+)\.project\.conv", r"features.\1.conv.2"),
    (r"^\w+\.block(\d+)\.project\.norm", r"features.\1.conv.3"),
    (r"^neck\.last\.conv", "features.18.0"),
    (r"^neck\.last\.norm", "features.18.1"),
    (r"^head", "classifier.1"),
)


def mobilenet_v2(*, num_classes: int, in_channels: int, dropout: float = 0.2) -> Network:
    """17 inverted residuals with ReLU6, a last 1 × 1 convolution, pooling, a linear head."""
    settings = []
    before = 32
    for expansion, after, repeats, first_stride in V2_TABLE:
        for stride in [first_stride] + [1] * (repeats - 1):
            settings.append(BlockSetting(expansion * before, after, 3, stride, nn.ReLU6))
            before = after
    return mobile_network(
        settings,
        activation=nn.ReLU6,
        dropout=dropout,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def mobilenet_v3_small(*, num_classes: int, in_channels: int, dropout: float = 0.2) -> Network:
    """11 inverted residuals with SE and hard-swish, a hidden layer of 1,024, a linear head."""
    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
    settings = [
        BlockSetting(
            inside,
            after,
            kernel_size,
            stride,
            nn.Hardswish if hard_swish else nn.ReLU,
            partial(
                SqueezeExcitation, inside, hidden=_multiple_of_8(inside // 4), gate=nn.Hardsigmoid
            )
            if se
            else None,
        )
        for kernel_size, inside, after, se, hard_swish, stride in V3_SMALL_TABLE
    ]
    network = Network(
        in_channels=in_channels,
        min_size=32,
        **mobile_stages(
            settings, in_channels=in_channels, width=16, activation=nn.Hardswish, norm=norm
        ),
        neck=named(
            last=conv_norm(96, 576, 1, norm=norm, activation=nn.Hardswish),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            hidden=nn.Linear(576, 1024),
            activation=nn.Hardswish(inplace=True),
            dropout=nn.Dropout(dropout),
        ),
        head=nn.Linear(1024, num_classes),
    )
    initialise(network)
    return network


def v3_small_torchvision_names() -> tuple[tuple[str, str], ...]:
    """Rules from our names to torchvision's, which numbers the parts that a block has."""
    rules = [(r"^stem\.conv", "features.0.0"), (r"^stem\.norm", "features.0.1")]
    before = 16
    for number, (_, inside, after, se, _, _) in enumerate(V3_SMALL_TABLE, start=1):
        parts = ["expand"] * (inside != before) + ["depthwise"] + ["se"] * se + ["project"]
        rules += torchvision_block_names(number, parts, f"features.{number}.block")
        before = after
    return (
        *rules,
        (r"^neck\.last\.conv", "features.12.0"),
        (r"^neck\.last\.norm", "features.12.1"),
        (r"^neck\.hidden", "classifier.0"),
        (r"^head", "classifier.3"),
    )


def _multiple_of_8(channels: int) -> int:
    """The nearest multiple of 8, not more than a tenth smaller (as in the authors' code)."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
