"""Branches that start at zero: zero gradients of a first step that are none of a fault."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn


def waiting(
    model: nn.Module, gradients: Mapping[str, Tensor | None], moved: Collection[str]
) -> dict[str, list[str]]:
    """By weight that is zero and has begun to move: the tensors beside it that wait for it.

    A residual branch whose last γ starts at zero (Goyal et al. 2017), a LoRA whose B does: the
    first step moves only what is zero, the second all of the branch. The head is no branch: what
    is behind a head of zeros gets no gradient from anywhere.
    """
    parameters = dict(model.named_parameters())
    idle = {name for name, g in gradients.items() if g is not None and not g.any()}
    found = {}
    for name, parameter in parameters.items():
        gradient = gradients.get(name)
        if gradient is None or name in idle or name not in moved or parameter.any():
            continue
        if not name.endswith("bias") and (behind := _beside(name, parameters) & idle):
            found[name] = sorted(behind)
    return found


def _beside(name: str, names: Collection[str]) -> set[str]:
    """The other parameters of the smallest part of the network that has any but its layer's."""
    layer, _, _ = name.rpartition(".")
    own = {n for n in names if n.rpartition(".")[0] == layer}
    part = layer
    while part:
        if others := {n for n in names if n.startswith(f"{part}.")} - own:
            return others
        part = part.rpartition(".")[0]
    return set()
