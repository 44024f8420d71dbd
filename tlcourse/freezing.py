"""Freezing by stage: weights that get no gradient and layers that stay in eval mode."""

from tlcourse.backbones import Backbone


def freeze(backbone: Backbone, *, up_to: str) -> None:
    """Freeze every stage from the first to ``up_to``, that one included.

    Their parameters get no gradient, and their BatchNorm and dropout stay in eval mode, also after
    ``backbone.train()``. ``up_to="neck"`` leaves only the head to train. Raises BackboneError for
    an unknown stage, and for the head: freezing everything leaves nothing to train.
    """
    if backbone.stage_index(up_to) == len(backbone.stage_names) - 1:
        raise ValueError("freezing up to the head leaves nothing to train; use up_to='neck'")
    for stage in backbone.stage_names[: backbone.stage_index(up_to) + 1]:
        backbone.frozen_stages.add(stage)
        # A None gradient, not a zero one: momentum and weight decay would still move zeros.
        for parameter in backbone.get_submodule(stage).parameters():
            parameter.requires_grad = False
            parameter.grad = None
    backbone.train(backbone.training)


def unfreeze(backbone: Backbone) -> None:
    """Let every stage train again, its BatchNorm and dropout included."""
    backbone.frozen_stages.clear()
    backbone.requires_grad_(True)
    backbone.train(backbone.training)
