"""DenseNet-121 (Huang et al. 2017): each layer gets what all layers before it in its block made."""

import torch
from torch import Tensor, nn

from tlcourse.architectures.layers import Network, kaiming_convolutions, named

DEPTHS = (6, 12, 24, 16)  # table 1 of the paper, DenseNet-121
GROWTH_RATE = 32  # channels that each layer adds
STEM_WIDTH = 64
# Our names → torchvision's.
TORCHVISION_NAMES = (
    (r"^stem\.(conv|norm)", r"features.\g<1>0"),
    (r"^stage2\.transition", "features.transition1"),
    (r"^stage3\.transition", "features.transition2"),
    (r"^stage4\.transition", "features.transition3"),
    (r"^stage(\d)\.layer", r"features.denseblock\1.denselayer"),
    (r"^neck\.norm", "features.norm5"),
    (r"^head", "classifier"),
)


class DenseLayer(nn.Module):
    """(N, C, H, W) → (N, C + growth_rate, H, W): a bottleneck's output beside its input."""

    def __init__(self, before: int, growth_rate: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, 4 * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth_rate)
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C + growth_rate, H, W)."""
        new = self.conv1(torch.relu(self.norm1(x)))
        new = self.conv2(torch.relu(self.norm2(new)))
        return torch.cat([x, new], dim=1)


def densenet121(*, num_classes: int, in_channels: int) -> Network:
    """A stem of stride 4, four dense blocks with transitions between them, pooling, linear head."""
    stages: dict[str, nn.Module] = {}
    width = STEM_WIDTH
    for k, depth in enumerate(DEPTHS, start=1):
        layers: dict[str, nn.Module] = {}
        if k > 1:  # a transition belongs to the stage that it leads to
            layers["transition"] = _transition(width)
            width //= 2
        for number in range(1, depth + 1):
            layers[f"layer{number}"] = DenseLayer(width, GROWTH_RATE)
            width += GROWTH_RATE
        stages[f"stage{k}"] = named(**layers)
    network = Network(
        in_channels=in_channels,
        min_size=32,
        stem=named(
            conv=nn.Conv2d(in_channels, STEM_WIDTH, 7, stride=2, padding=3, bias=False),
            norm=nn.BatchNorm2d(STEM_WIDTH),
            relu=nn.ReLU(inplace=True),
            pool=nn.MaxPool2d(3, stride=2, padding=1),
        ),
        **stages,
        neck=named(
            norm=nn.BatchNorm2d(width),
            relu=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
        ),
        head=nn.Linear(width, num_classes),
    )
    kaiming_convolutions(network, mode="fan_in")
    return network


def _transition(width: int) -> nn.Sequential:
    """Half the channels, half the height and width."""
    return named(
        norm=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv2d(width, width // 2, 1, bias=False),
        pool=nn.AvgPool2d(2),
    )
