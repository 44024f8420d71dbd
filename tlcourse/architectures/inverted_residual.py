"""The block of mobile networks (Sandler et al. 2018): wide inside, narrow between blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from tlcourse.architectures.layers import named
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation

_STAGE_BY_STRIDE = {2: "stem", 4: "stage1", 8: "stage2", 16: "stage3", 32: "stage4"}
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
        if inside != before:
            self.expand = conv_norm(before, inside, 1, norm=norm, activation=s.activation)
        self.depthwise = conv_norm(
            inside, inside, s.kernel_size, s.stride, inside, norm=norm, activation=s.activation
        )
        if s.se is not None:
            self.se = s.se()
        # No activation behind it: in few channels ReLU would destroy too much (the paper's point).
        self.project = conv_norm(inside, s.after, 1, norm=norm)
        self.drop = StochasticDepth(s.stochastic_depth, "row")
        self.has_shortcut = s.stride == 1 and before == s.after

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name in ("expand", "depthwise", "se", "project"):
            if name in self._modules:
                y = self.get_submodule(name)(y)
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
        stage = stages.setdefault(_STAGE_BY_STRIDE[stride], {})
        stage[f"block{number}"] = InvertedResidual(width, setting, norm)
        width = setting.after
    return {name: named(**layers) for name, layers in stages.items()}


def initialise(network: nn.Module) -> None:
    """As torchvision does: He et al. 2015 for convolutions, a small Gaussian for linear layers."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
