"""Parameter groups: which rate and which weight decay each part of a network gets."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import nn
from torch.optim import Optimizer

from tlcourse.networks.backbones import Backbone
from tlcourse.networks.selection import block_names, select
from tlcourse.suggestions import did_you_mean

Groups = list[dict[str, Any]]


def param_groups(
    backbone: Backbone,
    *,
    lr: float,
    weight_decay: float,
    factors: Mapping[str, float] | None = None,
) -> Groups:
    """Groups for an optimiser that hold every trainable parameter exactly once.

    Biases, the weights of norms, class tokens and position embeddings get no weight decay. The
    rates are the groups' own, so that every scheduler of torch keeps their ratios.

    Parameters
    ----------
    backbone : Backbone
    lr, weight_decay : float
    factors : mapping, optional
        From stages or blocks to the factor of ``lr`` they learn at; by default ``lr`` for all.
        ``pretrained_factor``, ``by_depth``, ``geometric`` and ``layer_decay`` make such maps.

    Returns
    -------
    list of dict
        Each with ``name``, ``params``, ``lr`` and ``weight_decay``.

    Raises
    ------
    ValueError
        For rates that are not positive, names that are unknown, frozen or named twice, and
        trainable parts without a factor.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> groups = param_groups(backbone, lr=0.1, weight_decay=0.01)
    >>> groups[-1]["name"], groups[-1]["weight_decay"]
    ('head, no decay', 0.0)
    """
    if lr <= 0 or weight_decay < 0:
        raise ValueError(f"lr {lr} must be positive and weight_decay {weight_decay} not negative")
    if factors is None:
        factors = dict.fromkeys(trainable_stages(backbone), 1.0)
    _check_factors(backbone, factors)
    return [
        group
        for part, factor in factors.items()
        for group in part_groups(backbone, part, lr=lr * factor, weight_decay=weight_decay)
    ]


def part_groups(backbone: Backbone, part: str, *, lr: float, weight_decay: float) -> Groups:
    """The trainable parameters of a stage or block: those that decay, and those that do not."""
    named = _trainable(backbone.get_submodule(part), part)
    decaying = [p for name, p in named if _decays(name, p)]
    others = [p for name, p in named if not _decays(name, p)]
    groups = [
        {"name": part, "params": decaying, "lr": lr, "weight_decay": weight_decay},
        {"name": f"{part}, no decay", "params": others, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def pretrained_factor(backbone: Backbone, factor: float) -> dict[str, float]:
    """Factor 1 for the head and the same smaller one for all trainable stages before it.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> pretrained_factor(backbone, 0.1)
    {'stem': 0.1, 'stage1': 0.1, 'stage2': 0.1, 'stage3': 0.1, 'head': 1.0}
    """
    return {s: 1.0 if s == "head" else factor for s in trainable_stages(backbone)}


def by_depth(backbone: Backbone, factors: Sequence[float] = (1 / 10, 1 / 3, 1)) -> dict[str, float]:
    """The stages before the head in as many near-equal parts as ``factors``; the head has 1.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> by_depth(backbone, (0.1, 0.5))
    {'stem': 0.1, 'stage1': 0.1, 'stage2': 0.1, 'stage3': 0.5, 'head': 1.0}
    """
    stages = backbone.stage_names[:-1]
    chosen = {s: factors[k * len(factors) // len(stages)] for k, s in enumerate(stages)}
    return {s: chosen.get(s, 1.0) for s in trainable_stages(backbone)}


def geometric(backbone: Backbone, decay: float = 2.6) -> dict[str, float]:
    """Factor 1 for the head, and each stage ``decay`` times slower than the one behind it.

    2.6 is ULMFiT's. Stages without parameters do not count.

    References
    ----------
    Howard & Ruder 2018 (ULMFiT).

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> geometric(backbone, decay=2.0)
    {'stem': 0.0625, 'stage1': 0.125, 'stage2': 0.25, 'stage3': 0.5, 'head': 1.0}
    """
    stages = [s for s in backbone.stage_names if list(backbone.get_submodule(s).parameters())]
    depth = {s: len(stages) - 1 - k for k, s in enumerate(stages)}
    return {s: decay ** -depth[s] for s in trainable_stages(backbone)}


def layer_decay(backbone: Backbone, decay: float = 0.75) -> dict[str, float]:
    """Factor 1 for the head, and each block ``decay`` times the one behind it.

    The neck goes with the last block, as in timm.

    References
    ----------
    Bao et al. 2022 (BEiT).

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> factors = layer_decay(backbone, decay=0.5)
    >>> factors["stage3.1"], factors["stage3.2"], factors["head"]
    (0.25, 0.5, 1.0)
    """
    blocks = [block for block in block_names(backbone) if block != "neck"]
    depth = {block: len(blocks) - 1 - k for k, block in enumerate(blocks)}
    depth["neck"] = 1
    trainable = [b for b in block_names(backbone) if _trainable(backbone.get_submodule(b))]
    return {block: decay ** depth[block] for block in trainable}


def describe_groups(groups: Groups | Optimizer) -> pd.DataFrame:
    """One row a group, by its name: tensors, parameters, lr and weight_decay.

    Examples
    --------
    >>> from torch.optim import SGD
    >>> describe_groups(SGD(nn.Linear(2, 3).parameters(), lr=0.1))["parameters"].item()
    9
    """
    if isinstance(groups, Optimizer):
        groups = groups.param_groups
    return pd.DataFrame(
        {
            "tensors": len(group["params"]),
            "parameters": sum(p.numel() for p in group["params"]),
            "lr": group["lr"],
            "weight_decay": group["weight_decay"],
        }
        for group in groups
    ).set_axis([group.get("name", f"group {k}") for k, group in enumerate(groups)])


def trainable_stages(backbone: Backbone) -> list[str]:
    """Stages with at least one parameter that gets a gradient; raises ValueError if none has."""
    stages = [s for s in backbone.stage_names if _trainable(backbone.get_submodule(s))]
    if not stages:
        raise ValueError("no parameter is trainable; unfreeze a stage first")
    return stages


def count_trainable(model: nn.Module) -> int:
    """Number of parameters that get a gradient.

    Examples
    --------
    >>> count_trainable(nn.Linear(2, 3))
    9
    """
    return sum(parameter.numel() for _, parameter in _trainable(model))


def _trainable(module: nn.Module, name: str = "") -> list[tuple[str, nn.Parameter]]:
    return [(n, p) for n, p in module.named_parameters(prefix=name) if p.requires_grad]


def _decays(name: str, parameter: nn.Parameter) -> bool:
    """Filters and matrices decay. Tokens and position embeddings are not named weight."""
    return parameter.ndim > 1 and (name.endswith("weight") or ".parametrizations.weight." in name)


def _check_factors(backbone: Backbone, factors: Mapping[str, float]) -> None:
    covered: dict[int, str] = {}
    for part, factor in factors.items():
        select(backbone, only=part)  # an unknown name is an error that lists the known ones
        if factor <= 0:
            raise ValueError(
                f"the factor of {part} is {factor}; it must be positive: "
                "a part that should not learn is frozen (freeze), it has no rate"
            )
        parameters = _trainable(backbone.get_submodule(part))
        if not parameters:
            raise ValueError(
                f"{part} has no trainable parameter, so it has no rate; leave it out of factors, "
                f"or unfreeze it first; trainable are {', '.join(trainable_stages(backbone))}"
            )
        for _, parameter in parameters:
            if id(parameter) in covered:
                raise ValueError(f"{part} is part of {covered[id(parameter)]}, which has a factor")
            covered[id(parameter)] = part
    missing = [name for name, p in _trainable(backbone) if id(p) not in covered]
    if missing:
        raise ValueError(
            f"{missing[0]} and {len(missing) - 1} more parameters are trainable but have no "
            f"factor{did_you_mean(missing[0].split('.')[0], factors)}; "
            "give their stage one, or freeze it"
        )
