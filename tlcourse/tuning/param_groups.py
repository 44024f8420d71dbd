"""Parameter groups: which rate and which weight decay each part of a network gets."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from tlcourse.networks.backbones import Backbone
from tlcourse.networks.selection import block_names, part_names, select
from tlcourse.networks.submodules import contents
from tlcourse.suggestions import did_you_mean
from tlcourse.wrappers import unwrapped

Groups = list[dict[str, Any]]


def param_groups(
    model: nn.Module,
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
    model : Module
        A backbone; or any other module, whose parts are its submodules.
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
        For rates that are not positive, names that are unknown, frozen or named twice, trainable
        parts without a factor, and lazy layers that have no shape yet.

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
    model = unwrapped(model)
    if factors is None:
        factors = dict.fromkeys(trainable_stages(model), 1.0)
    _check_factors(model, factors)
    groups: Groups = []
    for part, factor in factors.items():
        held = [p for group in groups for p in group["params"]]
        groups += part_groups(model, part, lr=lr * factor, weight_decay=weight_decay, held=held)
    return groups


def part_groups(
    model: nn.Module,
    part: str,
    *,
    lr: float,
    weight_decay: float,
    held: Iterable[nn.Parameter] = (),
) -> Groups:
    """The trainable parameters of a stage or block: those that decay, and those that do not.

    ``held`` are in a group already: those that another stage shares.
    """
    shared = set(map(id, held))
    named = [(name, p) for name, p in _trainable(model, part) if id(p) not in shared]
    for name, parameter in named:
        if is_lazy(parameter):
            raise ValueError(
                f"{name} has no shape yet, so it is not known whether it decays; let the model "
                "run once, on one input, before its groups are made"
            )
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
    trainable = [b for b in block_names(backbone) if _trainable(backbone, b)]
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


def trainable_stages(model: nn.Module) -> list[str]:
    """Stages with at least one parameter that gets a gradient; raises ValueError if none has."""
    stages = [s for s in part_names(model) if _trainable(model, s)]
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
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _trainable(model: nn.Module, part: str) -> list[tuple[str, nn.Parameter]]:
    return [(n, p) for n, p in contents(model, part)[1].items() if p.requires_grad]


def _decays(name: str, parameter: nn.Parameter) -> bool:
    """Filters and matrices decay, also an LSTM's weight_ih_l0 and a pruned layer's weight_orig.

    Tokens and position embeddings are not named weight.
    """
    last = name.rpartition(".")[2]
    named = last.startswith("weight") or last.endswith("weight")
    return parameter.ndim > 1 and (named or ".parametrizations.weight" in name)


def _check_factors(model: nn.Module, factors: Mapping[str, float]) -> None:
    covered: dict[int, str] = {}
    for part, factor in factors.items():
        select(model, only=part)  # an unknown name is an error that lists the known ones
        if factor <= 0:
            raise ValueError(
                f"the factor of {part} is {factor}; it must be positive: "
                "a part that should not learn is frozen (freeze), it has no rate"
            )
        parameters = _trainable(model, part)
        if not parameters:
            raise ValueError(
                f"{part} has no trainable parameter, so it has no rate; leave it out of factors, "
                f"or unfreeze it first; trainable are {', '.join(trainable_stages(model))}"
            )
        for name, parameter in parameters:
            other = covered.setdefault(id(parameter), part)
            if f"{part}.".startswith(f"{other}.") and part != other:
                raise ValueError(f"{part} is part of {other}, which has a factor")
            if f"{other}.".startswith(f"{part}.") and part != other:
                raise ValueError(f"{other} is part of {part}, which has a factor")
            if factors[other] != factor:
                raise ValueError(
                    f"{name} belongs to {other} and to {part}: it is one tensor and learns at one "
                    f"rate, but their factors are {factors[other]} and {factor}"
                )
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in covered]
    if missing:
        raise ValueError(
            f"{missing[0]} and {len(missing) - 1} more parameters are trainable but have no "
            f"factor{did_you_mean(missing[0].split('.')[0], factors)}; "
            "give their stage one, or freeze it"
        )
