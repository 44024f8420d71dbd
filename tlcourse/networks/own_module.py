"""A user's own network as a backbone: taken apart, checked, and drawn anew where it starts anew."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tlcourse.errors import BackboneError
from tlcourse.modes import evaluating
from tlcourse.networks.backbone import Backbone, Preprocessing
from tlcourse.networks.backbones import OWN, replace_head
from tlcourse.networks.pretrained import seeded
from tlcourse.networks.stages import split_into_stages
from tlcourse.wrappers import unwrapped


def as_backbone(
    module: nn.Module,
    preprocessing: Preprocessing,
    *,
    num_classes: int | None = None,
    seed: int = 0,
) -> Backbone:
    """Stages, neck and head of a classification network of your own, which share its parameters.

    Parameters
    ----------
    module : Module
        Takes images (N, 3, H, W) as float, gives logits (N, classes) from one linear layer.
        Its parts are not copied: what they learn, it learns. Its own ``forward`` and hooks on it,
        other than those on its parts, do not run in the backbone.
    preprocessing : Preprocessing
        What its weights expect of an image; it is taken apart at ``image_size``.
    num_classes : int, optional
        Puts a fresh linear head on the backbone, drawn from ``seed``; the module keeps its own.

    Returns
    -------
    Backbone
        Named ``own/`` and the class; ``body`` and ``head`` where no chain of blocks is found.

    Raises
    ------
    BackboneError
        For a network that does not run on such images, or does not end in one linear layer; for
        one that was scripted or traced, and for lazy layers that have seen no image.

    Examples
    --------
    >>> net = nn.Sequential(
    ...     nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    ... )
    >>> plain = Preprocessing(32, 32, "bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    >>> backbone = as_backbone(net, plain, num_classes=2)
    >>> backbone.name, backbone.stage_names, backbone.num_classes
    ('own/Sequential', ('body', 'head'), 2)
    """
    module = unwrapped(module)
    _check_kind(module)
    size = preprocessing.image_size
    known = set(module.modules())
    try:
        stages = split_into_stages(module, size)
    except ValueError as error:
        raise BackboneError(f"{type(module).__name__} cannot be a backbone: {error}") from error
    backbone = Backbone(
        f"{OWN}/{type(module).__name__}",
        stages,
        preprocessing,
        licence="its owner's",
        provenance="a module of your own",
        min_size=min(32, size),
        fixed_size=None if _runs(module, size + 32) else size,
    )
    for part in backbone.modules():
        if part not in known:
            part.training = module.training
    if num_classes is not None:
        replace_head(backbone, num_classes, seed=seed)
    return backbone


def _check_kind(module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        raise BackboneError(
            f"a {type(module).__name__} cannot be a backbone: it was scripted or traced, so its "
            "parts do not run by themselves; hand in the module that it was made of"
        )
    if lazy := [n for n, p in module.named_parameters() if is_lazy(p)]:
        raise BackboneError(
            f"{lazy[0]} of {type(module).__name__} has no size yet: lazy layers take theirs from "
            "the first images; run the module on a batch first"
        )


def _runs(module: nn.Module, size: int) -> bool:
    """Whether a network takes images of another size too."""
    images = torch.zeros(1, 3, size, size).to(next(module.parameters()))
    with evaluating(module), torch.no_grad():
        try:
            module(images)
        except Exception:  # noqa: BLE001 - layers refuse a size in any way
            return False
    return True


def drawn_anew(backbone: Backbone, stages: Iterable[str], *, seed: int) -> Backbone:
    """A copy of a backbone of your own whose ``stages`` have weights as their layers draw them.

    Raises
    ------
    BackboneError
        For a layer with parameters that does not say how they are drawn (``reset_parameters``).
    """
    network = copy.deepcopy(backbone)
    with seeded(seed):
        for stage in stages:
            for name, layer in network.get_submodule(stage).named_modules(prefix=stage):
                reset = getattr(layer, "reset_parameters", None)
                if reset is not None:
                    reset()
                elif layer._parameters:
                    raise BackboneError(
                        f"{name} of {backbone.name} is a {type(layer).__name__} without "
                        "reset_parameters(), so it is not known how its weights are drawn; write "
                        "that method, or choose a strategy that keeps them"
                    )
    return network
