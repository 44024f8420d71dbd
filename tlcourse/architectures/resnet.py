"""ResNet (He et al. 2016): blocks that add to what they get; SE-ResNet (Hu et al. 2018).

The version of torchvision: stride in the 3 × 3 convolution of a bottleneck (Goyal et al. 2017).
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from tlcourse.architectures.layers import Network, kaiming_convolutions, named
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation

WIDTHS = (64, 128, 256, 512)
DEPTHS = {  # table 1 of the paper
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
# Our names → torchvision's, which timm shares (and calls squeeze-and-excitation se, too).
TORCHVISION_NAMES = (
    (r"^stem\.conv", "conv1"),
    (r"^stem\.norm", "bn1"),
    (r"^stage(\d)", r"layer\1"),
    (r"\.norm(\d)", r".bn\1"),
    (r"\.shortcut\.conv", ".downsample.0"),
    (r"\.shortcut\.norm", ".downsample.1"),
    (r"^head", "fc"),
)


Shortcut = Callable[[int, int, int], nn.Module]  # of channels before, channels after, stride


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut; gives ``width`` channels."""

    expansion = 1

    def __init__(
        self, before: int, width: int, stride: int, se: bool, shortcut: Shortcut | None = None
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(before, width, stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width)
        self.norm2 = nn.BatchNorm2d(width)
        self.se = _squeeze_excitation(width) if se else nn.Identity()
        self.shortcut = (shortcut or projection_shortcut)(before, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) → (N, width, H / stride, W / stride)."""
        residual = self.relu(self.norm1(self.conv1(x)))
        residual = self.se(self.norm2(self.conv2(residual)))
        return self.relu(residual + self.shortcut(x))


class Bottleneck(nn.Module):
    """1 × 1 down, 3 × 3, 1 × 1 up, beside a shortcut; gives 4 · width channels."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int, se: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * width)
        self.se = _squeeze_excitation(4 * width) if se else nn.Identity()
        self.shortcut = projection_shortcut(before, 4 * width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) → (N, 4 · width, H / stride, W / stride)."""
        residual = self.relu(self.norm1(self.conv1(x)))
        residual = self.relu(self.norm2(self.conv2(residual)))
        residual = self.se(self.norm3(self.conv3(residual)))
        return self.relu(residual + self.shortcut(x))


def resnet(
    block: type[BasicBlock] | type[Bottleneck],
    depths: tuple[int, int, int, int],
    *,
    se: bool = False,
    num_classes: int,
    in_channels: int,
) -> Network:
    """A stem of stride 4, four stages of blocks, global average pooling and a linear head."""
    stages = residual_stages(partial(block, se=se), depths, WIDTHS, block.expansion)
    network = Network(
        in_channels=in_channels,
        min_size=32,
        stem=named(
            conv=nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False),
            norm=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
            pool=nn.MaxPool2d(3, stride=2, padding=1),
        ),
        **stages,
        neck=named(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()),
        head=nn.Linear(WIDTHS[-1] * block.expansion, num_classes),
    )
    kaiming_convolutions(network)
    return network


def residual_stages(
    make_block: Callable[[int, int, int], nn.Module],
    depths: Sequence[int],
    widths: Sequence[int],
    expansion: int,
) -> dict[str, nn.Module]:
    """Stages of ``make_block(before, width, stride)``; each but the first halves the map."""
    stages: dict[str, nn.Module] = {}
    before = widths[0]
    for k, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
        blocks = []
        for number in range(depth):
            blocks.append(make_block(before, width, 2 if k > 1 and number == 0 else 1))
            before = width * expansion
        stages[f"stage{k}"] = nn.Sequential(*blocks)
    return stages


def _conv3x3(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    # Without a bias: the BatchNorm behind it would take it away.
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)


def _squeeze_excitation(channels: int) -> SqueezeExcitation:
    # The paper's reduction by 16, but never below 8 units, as in timm: that is the first stage
    # of SE-ResNet-18 only.
    return SqueezeExcitation(channels, hidden=max(channels // 16, 8))


def projection_shortcut(before: int, after: int, stride: int) -> nn.Module:
    """The identity where shapes agree, else a 1 × 1 convolution (option B of the paper)."""
    if before == after and stride == 1:
        return nn.Identity()
    return named(
        conv=nn.Conv2d(before, after, 1, stride=stride, bias=False), norm=nn.BatchNorm2d(after)
    )
