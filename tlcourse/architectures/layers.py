"""What every architecture file uses: named layers, and other libraries' weights under our names."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.shapes import Logits

NameRules = Sequence[tuple[str, str]]
# The stage to which a map belongs that is that many times smaller than the image.
STAGE_BY_STRIDE = {1: "stem", 2: "stem", 4: "stage1", 8: "stage2", 16: "stage3", 32: "stage4"}


class Network(nn.Sequential):
    """A classifier as stages that run one after another: stem, stage1 … stage4, neck, head.

    ``forward`` takes images (N, in_channels, H, W) and gives logits (N, num_classes). It raises
    ValueError for another number of channels and for images smaller than ``min_size`` pixels.

    Examples
    --------
    >>> network = Network(in_channels=3, min_size=2, neck=nn.Flatten(), head=nn.Linear(12, 5))
    >>> [name for name, _ in network.named_children()]
    ['neck', 'head']
    """

    def __init__(self, *, in_channels: int, min_size: int, **stages: nn.Module) -> None:
        super().__init__(OrderedDict(stages))
        self.in_channels = in_channels
        self.min_size = min_size

    def forward(self, images: Float[Tensor, "n c h w"]) -> Logits:
        """Logits (N, num_classes) of images (N, in_channels, H, W)."""
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(
                f"images have shape {tuple(images.shape)}; "
                f"expected (N, {self.in_channels}, height, width)"
            )
        if min(images.shape[2:]) < self.min_size:
            height, width = images.shape[2:]
            raise ValueError(
                f"images are {height} × {width} px; "
                f"this network needs {self.min_size} × {self.min_size} px or more"
            )
        return super().forward(images)


def named(**layers: nn.Module) -> nn.Sequential:
    """Layers that run one after another, each with its name."""
    return nn.Sequential(OrderedDict(layers))


def kaiming_convolutions(
    network: nn.Module, *, mode: Literal["fan_in", "fan_out"] = "fan_out"
) -> None:
    """Initial weights of convolutions behind which ReLU stands (He et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")


def initialise(network: nn.Module) -> None:
    """Kaiming for convolutions, a small Gaussian for linear layers, zero biases, as torchvision."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def load_renamed(
    network: nn.Module, state_dict: Mapping[str, Tensor], to_reference: NameRules
) -> None:
    """Load a reference library's weights: each of our names, rewritten by the rules, is its name.

    Parameters
    ----------
    to_reference
        Rules (regular expression, replacement), applied one after another.

    Raises
    ------
    ValueError
        When names are left over on either side; shapes are checked by torch.

    Examples
    --------
    >>> ours, theirs = named(head=nn.Linear(4, 2)), named(fc=nn.Linear(4, 2))
    >>> load_renamed(ours, theirs.state_dict(), [("^head", "fc")])
    >>> ours.head.weight.equal(theirs.fc.weight)
    True
    """
    names = {name: _rewrite(name, to_reference) for name in network.state_dict()}
    missing = sorted(set(names.values()) - set(state_dict))
    unused = sorted(set(state_dict) - set(names.values()))
    if missing or unused:
        raise ValueError(
            f"the weights do not fit this network: {len(missing)} names are missing "
            f"({', '.join(missing[:3])}), {len(unused)} are left over ({', '.join(unused[:3])})"
        )
    network.load_state_dict({ours: state_dict[theirs] for ours, theirs in names.items()})


def _rewrite(name: str, rules: NameRules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
