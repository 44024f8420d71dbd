"""What every architecture file uses: named layers, and other libraries' weights under our names."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

NameRules = Sequence[tuple[str, str]]


class Network(nn.Sequential):
    """A classifier as stages that run one after another: stem, stage1 … stage4, neck, head.

    ``forward`` takes images (N, in_channels, H, W) and gives logits (N, num_classes). It raises
    ValueError for another number of channels and for images smaller than ``min_size`` pixels.
    """

    def __init__(self, *, in_channels: int, min_size: int, **stages: nn.Module) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.min_size = min_size
        for name, stage in stages.items():
            self.add_module(name, stage)

    def forward(self, images: Tensor) -> Tensor:
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
    sequence = nn.Sequential()
    for name, layer in layers.items():
        sequence.add_module(name, layer)
    return sequence


def load_renamed(
    network: nn.Module, state_dict: Mapping[str, Tensor], to_reference: NameRules
) -> None:
    """Load a reference library's weights: each of our names, rewritten by the rules, is its name.

    The rules are (regular expression, replacement), applied one after another. Raises ValueError
    when names are left over on either side; shapes are checked by torch.
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
