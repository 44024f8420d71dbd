"""The last layer of a network, from features to logits, as one linear layer to take off."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TINY = 0.01


@dataclass(frozen=True)
class Classifier:
    """One linear layer, and what takes the place of the layers it was made of (by their ``id``).

    ``heads`` are the library's layers where it was made of several.
    """

    linear: nn.Linear
    stand_ins: Mapping[int, nn.Module]
    heads: Sequence[nn.Linear] = ()

    def share_bias(self) -> None:
        """Let every head hold the one bias, so that the library's names hold what it learns."""
        for head in self.heads:
            head.bias.data = self.linear.bias.data

    @contextmanager
    def telling(self, network: nn.Module) -> Iterator[set[int]]:
        """Random numbers instead of those that hide what goes into them, or are hidden.

        New networks have weights near 0 in the head, in layer scales and in norms at the end of
        blocks, and small tokens and positions of their own. Yields the ``id`` of those that change.
        """
        weights = {id(p): p for p in [*network.parameters(), self.linear.weight]}
        own = {id(p) for p in network.parameters(recurse=False)}
        biases = {id(head.bias) for head in self.heads}  # the one bias comes from theirs
        hiding = [
            (p, p.clone())
            for key, p in weights.items()
            if not p.is_meta and p.is_floating_point() and key not in biases
            if key in own or p.abs().max() < TINY
        ]
        generator = torch.Generator().manual_seed(0)
        for p, _ in hiding:
            p.copy_(torch.rand(p.shape, generator=generator) - 0.3)
        try:
            yield {id(p) for p, _ in hiding}
        finally:
            for p, kept in hiding:
                p.copy_(kept)

    def is_in(self, module: nn.Module) -> bool:
        """Whether a layer that it was made of belongs to ``module``."""
        return any(id(m) in self.stand_ins for m in module.modules())


class Place(nn.Module):
    """Features at their place among those of several heads, zeros at the other places."""

    def __init__(self, before: int, behind: int) -> None:
        super().__init__()
        self.pad = (before, behind)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, self.pad)


def find_classifier(network: nn.Module) -> Classifier:
    """The layer that classifies, named by the library or the last linear one.

    A 1 × 1 convolution is turned into the linear layer that it is. Several heads whose logits are
    averaged (DeiT's class and distillation token) become one that sees the features of all.

    Raises
    ------
    ValueError
        For a network that does not end in one linear classifier.
    """
    named = getattr(network, "get_classifier", None)
    found = named() if named is not None else network
    kinds = (nn.Linear, nn.Conv2d) if named is not None else nn.Linear
    heads = list(_heads(found, getattr(network, "num_classes", None)))
    layers = [layer for head in heads if (layer := _last(head, kinds)) is not None]
    linear = [one for layer in layers if (one := _as_linear(layer)) is not None]
    if not linear or len(linear) < len(heads):
        raise ValueError(
            f"{type(network).__name__} does not end in one linear classifier, so it has no head "
            "to replace; choose another network"
        )
    if len(linear) == 1:
        return Classifier(linear[0], {id(layers[0]): nn.Identity()})
    return _averaged(layers, linear)


def _heads(found: object, classes: int | None) -> Iterator[nn.Module]:
    """Each by itself, from lists and from a module that holds several beside each other."""
    if isinstance(found, tuple | list | nn.ModuleList):
        for one in found:
            yield from _heads(one, classes)
        return
    assert isinstance(found, nn.Module)
    lasts = {child: _last(child, nn.Linear) for child in found.children()}
    several = [child for child, last in lasts.items() if last and last.out_features == classes]
    yield from several if len(several) > 1 else [found]


def _last(module: nn.Module, kinds: type | tuple[type, ...]) -> nn.Module | None:
    return next((m for m in reversed(list(module.modules())) if isinstance(m, kinds)), None)


def _as_linear(layer: nn.Module) -> nn.Linear | None:
    if isinstance(layer, nn.Linear):
        return layer
    assert isinstance(layer, nn.Conv2d)
    if layer.kernel_size != (1, 1) or layer.groups > 1:
        return None
    return _linear(layer.weight.flatten(1), layer.bias)


def _averaged(layers: list[nn.Module], linear: list[nn.Linear]) -> Classifier:
    """Of heads that each see their own features: the mean of their logits.

    The heads' weights become views of the one layer's, see ``share_bias``.
    """
    sizes = [one.in_features for one in linear]
    # The network takes the mean of what the stand-ins put out, so the weights stay whole.
    weight = torch.cat([one.weight for one in linear], dim=1).detach()
    biases = torch.stack([one.bias for one in linear]).detach()
    bias = biases[0] + (biases - biases[0]).mean(dim=0)  # to the last bit where they are equal
    for one, columns in zip(linear, weight.split(sizes, dim=1), strict=True):
        one.weight.data = columns
    places = {
        id(layer): Place(sum(sizes[:k]), sum(sizes[k + 1 :])) for k, layer in enumerate(layers)
    }
    return Classifier(_linear(weight, bias), places, linear)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer on these very weights."""
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach())
    return linear
