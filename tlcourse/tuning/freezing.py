"""Freezing at four granularities: the whole model, stages and blocks, layer types, parameters.

What is frozen gets no gradient, so it costs no backward pass. A frozen *module* also stays in eval
mode: the statistics of its BatchNorm stand still and its dropout does nothing.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tlcourse.modes import follow_mode, stay_in_eval
from tlcourse.networks.selection import Part, check_choices, part_names, select
from tlcourse.networks.submodules import contents
from tlcourse.suggestions import did_you_mean
from tlcourse.wrappers import unwrapped

LayerTypes = type[nn.Module] | tuple[type[nn.Module], ...]


class Choice(Part, total=False):
    """A part, narrowed to layers of a type or to parameters by name; see ``freeze``."""

    layers: LayerTypes | None
    parameters: str | None


def freeze(model: nn.Module, **part: Unpack[Choice]) -> None:
    """Freeze a part of a network, in addition to what is frozen already.

    Parameters
    ----------
    model : Module
        A backbone; or any other module, whose parts are its submodules.
    **part
        ``up_to``, ``only`` and ``except_`` name stages or blocks (see ``select``); ``layers``
        narrows that to layers of a type, ``parameters`` to parameters whose name matches a pattern
        such as ``*.bias``. Without any, the whole pretrained model is frozen: all but the head.

    Raises
    ------
    ValueError
        When nothing matches and when nothing would be left to train.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> freeze(backbone, up_to="stage2")
    >>> sorted({name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad})
    ['head', 'stage3']
    """
    model = unwrapped(model)
    if all(choice is None for choice in part.values()):
        if "head" not in part_names(model):
            raise ValueError(
                f"{type(model).__name__} has no head to leave out; say what should go on learning, "
                f"except_={part_names(model)[-1]!r}, or what to freeze, by only or up_to"
            )
        part = {"except_": "head"}
    modules, chosen = _resolve(model, **part)
    frozen = {id(parameter) for parameter in chosen}
    if all(id(p) in frozen for p in model.parameters() if p.requires_grad):
        raise ValueError(
            "this would freeze everything and leave nothing to train; "
            "freeze(backbone) leaves the head, except_= names what should go on learning"
        )
    for module in modules:
        stay_in_eval(module)
    for parameter in chosen:
        # A None gradient, not a zero one: momentum and weight decay would still move zeros.
        parameter.requires_grad = False
        parameter.grad = None


def unfreeze(model: nn.Module, **part: Unpack[Choice]) -> None:
    """Let a part of a network train again, chosen as by ``freeze``; without any choice all of it.

    An optimiser that was made before does not know these parameters: see ``extend``.

    Parameters
    ----------
    model : Module
    **part
        As in ``freeze``.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> freeze(backbone)
    >>> unfreeze(backbone, only="stage3")
    >>> sorted({name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad})
    ['head', 'stage3']
    """
    model = unwrapped(model)
    modules, chosen = _resolve(model, **part)
    for module in modules:
        follow_mode(module, model.training)
    for parameter in chosen:
        parameter.requires_grad = True
    for module in modules:
        _let_go(module)


def freeze_elements(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Hold single elements of parameters: those where the mask of that parameter's name is True.

    The parameter gets a parametrization, so that neither momentum nor weight decay moves a held
    element, whatever the optimiser; it goes on under the name ``….parametrizations.….original``
    until ``unfreeze``.

    Parameters
    ----------
    model : Module
    masks : mapping
        Masks (bool) of their parameter's shape, by its name; see ``most_important``.

    Raises
    ------
    ValueError
        For an unknown name or a mask of another shape or type.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> freeze_elements(backbone, {"head.bias": torch.tensor([True, False, False])})
    >>> "head.parametrizations.bias.original" in dict(backbone.named_parameters())
    True
    """
    model = unwrapped(model)
    targets = _targets(model)
    for name, mask in masks.items():
        if name not in targets:
            raise ValueError(f"no parameter {name!r}{did_you_mean(name, targets)}")
        path, attribute = targets[name]
        shape = getattr(model.get_submodule(path), attribute).shape
        if mask.dtype != torch.bool or mask.shape != shape:
            raise ValueError(
                f"the mask of {name} is {mask.dtype} of shape {tuple(mask.shape)}; "
                f"expected torch.bool of shape {tuple(shape)}"
            )
    for name, mask in masks.items():
        path, attribute = targets[name]
        module = model.get_submodule(path)
        held = _Held(mask, getattr(module, attribute).detach().clone())
        parametrize.register_parametrization(module, attribute, held)


def _targets(model: nn.Module) -> dict[str, tuple[str, str]]:
    """Module and attribute by a parameter's name; that of one held before by both its names."""
    targets = {}
    for name, _ in model.named_parameters():
        path, _, attribute = name.rpartition(".")
        owner = model.get_submodule(path)
        if isinstance(owner, parametrize.ParametrizationList) and _is_ours(owner):
            path, _, attribute = path.rpartition(".")
            path = path.removesuffix("parametrizations").removesuffix(".")
            targets[f"{path}.{attribute}".removeprefix(".")] = path, attribute
        targets[name] = path, attribute
    return targets


def _is_ours(added: Iterable[nn.Module]) -> bool:
    return all(isinstance(one, _Held) for one in added)


def _let_go(module: nn.Module) -> None:
    """Take away what ``freeze_elements`` added; a user's own parametrizations stay."""
    for name, added in list(getattr(module, "parametrizations", {}).items()):
        if _is_ours(added):
            parametrize.remove_parametrizations(module, name)
            continue
        for one in added:
            if isinstance(one, _Held):
                one.mask.fill_(False)


class _Held(nn.Module):
    """``values`` where the mask is True, the parameter where it is not."""

    mask: Tensor
    values: Tensor

    def __init__(self, mask: Tensor, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.to(values.device))
        self.register_buffer("values", values)

    def forward(self, parameter: Tensor) -> Tensor:
        return torch.where(self.mask, self.values, parameter)


def _resolve(
    model: nn.Module,
    *,
    layers: LayerTypes | None = None,
    parameters: str | None = None,
    **part: Unpack[Part],
) -> tuple[list[nn.Module], list[nn.Parameter]]:
    """The chosen modules, with all inside them, and the chosen parameters."""
    check_choices(part, Choice)
    if layers is not None and parameters is not None:
        raise ValueError("choose by layers or by parameters, not by both at once")
    chosen = select(model, **part)
    parts = [contents(model, name) for name in chosen]
    named = {name: p for _, inside in parts for name, p in inside.items()}
    if parameters is not None:
        matching = [p for name, p in named.items() if fnmatchcase(name, parameters)]
        if not matching:
            raise ValueError(
                f"no parameter matches {parameters!r} in {', '.join(chosen)}"
                f"{did_you_mean(parameters, named)}; a pattern covers the whole name, as '*.bias'"
            )
        return [], matching
    modules = [m for inside, _ in parts for m in inside]
    if layers is not None:
        found = sorted({type(m).__name__ for m in modules if not list(m.children())})
        modules = [m for m in modules if isinstance(m, layers)]
        if not modules:
            types = layers if isinstance(layers, tuple) else (layers,)
            raise ValueError(
                f"no {' or '.join(t.__name__ for t in types)} in {', '.join(chosen)}; "
                f"its layers are {', '.join(found)}"
            )
        modules = [inner for m in modules for inner in m.modules()]
        return modules, [p for m in modules for p in m.parameters(recurse=False)]
    return modules, list(named.values())
