"""The block of mobile networks (Sandler et al. 2018): wide inside, narrow between blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from tlcourse.architectures.layers import STAGE_BY_STRIDE, Network, initialise, named
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation

Norm = Callable[[int], nn.Module]


@dataclass(frozen=True)
class BlockSetting:
    """One row of a paper's table: channels inside and after, kernel, stride, SE, activation."""

    expanded: int
    after: int
    kernel_size: int
    stride: int
    activation: type[nn.Module]
    se: Callable[[], SqueezeExcitation] | None = None
    stochastic_depth: float = 0.0


class InvertedResidual(nn.Module):
    """Expand by a 1 × 1, filter each channel by itself, project back; a shortcut where it fits."""

    def __init__(self, before: int, setting: BlockSetting, norm: Norm) -> None:
        super().__init__()
        s, inside = setting, setting.expanded
        self.expand = (
            conv_norm(before, inside, 1, norm=norm, activation=s.activation)
            if inside != before
            else nn.Identity()
        )
        self.depthwise = conv_norm(
            inside, inside, s.kernel_size, s.stride, inside, norm=norm, activation=s.activation
        )
        self.se = s.se() if s.se is not None else nn.Identity()
        # No activation behind it: in few channels ReLU would destroy too much (the paper's point).
        self.project = conv_norm(inside, s.after, 1, norm=norm)
        self.drop = StochasticDepth(s.stochastic_depth, "row")
        self.has_shortcut = s.stride == 1 and before == s.after

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) → (N, after, H / stride, W / stride)."""
        y = self.project(self.se(self.depthwise(self.expand(x))))
        return x + self.drop(y) if self.has_shortcut else y


def conv_norm(
    before: int,
    after: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    *,
    norm: Norm,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    """A convolution without bias, its norm and, where there is one, an activation."""
    padding = kernel_size // 2
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(before, after, kernel_size, stride, padding, groups=groups, bias=False),
        "norm": norm(after),
    }
    if activation is not None:
        layers["activation"] = activation(inplace=True)
    return named(**layers)


def mobile_stages(
    settings: Sequence[BlockSetting],
    *,
    in_channels: int,
    width: int,
    activation: type[nn.Module],
    norm: Norm,
) -> dict[str, nn.Sequential]:
    """Stem and stages, a new one wherever the map shrinks; blocks are numbered through from 1."""
    first = conv_norm(in_channels, width, 3, 2, norm=norm, activation=activation)
    stages: dict[str, dict[str, nn.Module]] = {"stem": dict(first.named_children())}
    stride = 2
    for number, setting in enumerate(settings, start=1):
        stride *= setting.stride
        stage = stages.setdefault(STAGE_BY_STRIDE[stride], {})
        stage[f"block{number}"] = InvertedResidual(width, setting, norm)
        width = setting.after
    return {name: named(**layers) for name, layers in stages.items()}


def mobile_network(
    settings: Sequence[BlockSetting],
    *,
    activation: type[nn.Module],
    dropout: float,
    num_classes: int,
    in_channels: int,
) -> Network:
    """Blocks between a stem of 32 and a last convolution of 1,280 channels, and a linear head."""
    norm = nn.BatchNorm2d
    network = Network(
        in_channels=in_channels,
        min_size=32,
        **mobile_stages(
            settings, in_channels=in_channels, width=32, activation=activation, norm=norm
        ),
        neck=named(
            last=conv_norm(settings[-1].after, 1280, 1, norm=norm, activation=activation),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(dropout),
        ),
        head=nn.Linear(1280, num_classes),
    )
    initialise(network)
    return network


def torchvision_block_names(number: int, parts: Sequence[str], block: str) -> list[tuple[str, str]]:
    """Rules for the parts of our block ``number``, which torchvision numbers in ``block``."""
    rules = []
    for position, part in enumerate(parts):
        ours, theirs = rf"^\w+\.block{number}\.{part}", f"{block}.{position}"
        rules += [(rf"{ours}\.conv", f"{theirs}.0"), (rf"{ours}\.norm", f"{theirs}.1")]
        rules.append((rf"{ours}\.fc", f"{theirs}.fc"))
    return rules
