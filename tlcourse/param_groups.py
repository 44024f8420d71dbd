"""Parameter groups: one learning rate for the pretrained stages, another for the new head."""

from typing import Any

from torch import nn

from tlcourse.backbones import Backbone


def param_groups(
    backbone: Backbone, *, lr: float, pretrained_factor: float = 0.1
) -> list[dict[str, Any]]:
    """Two groups for an optimiser: the head at ``lr``, all stages before it at a part of that.

    Frozen parameters are in neither group, each trainable one in exactly one. Raises ValueError for
    a rate or factor that is not positive and when nothing is trainable.
    """
    if lr <= 0 or pretrained_factor <= 0:
        raise ValueError(
            f"lr {lr} and pretrained_factor {pretrained_factor} must be positive; "
            "a part that should not learn is frozen (freeze), it has no rate"
        )
    head = _trainable(backbone.head)
    head_ids = {id(parameter) for parameter in head}
    pretrained = [p for p in _trainable(backbone) if id(p) not in head_ids]
    groups = [
        {"name": "pretrained", "params": pretrained, "lr": lr * pretrained_factor},
        {"name": "head", "params": head, "lr": lr},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("no parameter is trainable; unfreeze a stage first")
    return groups


def count_trainable(model: nn.Module) -> int:
    """Number of parameters that get a gradient."""
    return sum(parameter.numel() for parameter in _trainable(model))


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
