"""ConvNeXt-Tiny (Liu et al. 2022): a ResNet with a transformer's proportions and habits."""

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from tlcourse.architectures.layers import Network, named

DEPTHS = (3, 3, 9, 3)
WIDTHS = (96, 192, 384, 768)
STOCHASTIC_DEPTH = 0.1  # of the last block; it grows evenly from 0
# Our names → torchvision's, which numbers downsampling layers and stages through.
TORCHVISION_NAMES = (
    (r"^stem\.conv", "features.0.0"),
    (r"^stem\.norm", "features.0.1"),
    *((rf"^stage{k}\.downsample\.norm", f"features.{2 * k - 2}.0") for k in (2, 3, 4)),
    *((rf"^stage{k}\.downsample\.conv", f"features.{2 * k - 2}.1") for k in (2, 3, 4)),
    *((rf"^stage{k}\.blocks\.", f"features.{2 * k - 1}.") for k in (1, 2, 3, 4)),
    (r"\.depthwise", ".block.0"),
    (r"(features\.\d\.\d)\.norm", r"\1.block.2"),
    (r"\.expand", ".block.3"),
    (r"\.project", ".block.5"),
    (r"^neck\.norm", "classifier.0"),
    (r"^head", "classifier.2"),
)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of each place of a map; (N, C, H, W) → (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the channels; (N, C, H, W) → (N, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """A 7 × 7 depthwise convolution, then a two-layer perceptron at each place, then a shortcut."""

    def __init__(self, width: int, stochastic_depth: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.gelu = nn.GELU()
        self.project = nn.Linear(4 * width, width)
        # Starts so small that the block is nearly the identity (layer scale, Touvron et al. 2021).
        self.layer_scale = nn.Parameter(torch.full((width, 1, 1), 1e-6))
        self.drop = StochasticDepth(stochastic_depth, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))  # channels last, for the linear layers
        y = self.project(self.gelu(self.expand(y))).permute(0, 3, 1, 2)
        return x + self.drop(self.layer_scale * y)


def convnext_tiny(*, num_classes: int, in_channels: int) -> Network:
    """4 × 4 patches, four stages with 2 × 2 convolutions between them, pooling, a linear head."""
    stages: dict[str, nn.Module] = {}
    done = 0
    for k, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
        rates = [STOCHASTIC_DEPTH * n / (sum(DEPTHS) - 1) for n in range(done, done + depth)]
        done += depth
        blocks = nn.Sequential(*(ConvNeXtBlock(width, rate) for rate in rates))
        if k == 0:
            stages["stage1"] = named(blocks=blocks)
            continue
        downsample = named(
            norm=LayerNorm2d(WIDTHS[k - 1], eps=1e-6),
            conv=nn.Conv2d(WIDTHS[k - 1], width, 2, stride=2),
        )
        stages[f"stage{k + 1}"] = named(downsample=downsample, blocks=blocks)
    network = Network(
        in_channels=in_channels,
        min_size=32,
        stem=named(
            conv=nn.Conv2d(in_channels, WIDTHS[0], 4, stride=4),
            norm=LayerNorm2d(WIDTHS[0], eps=1e-6),
        ),
        **stages,
        neck=named(
            pool=nn.AdaptiveAvgPool2d(1),
            norm=LayerNorm2d(WIDTHS[-1], eps=1e-6),
            flatten=nn.Flatten(),
        ),
        head=nn.Linear(WIDTHS[-1], num_classes),
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            assert module.bias is not None, "every layer here has one"
            nn.init.zeros_(module.bias)
    return network
