"""Which part of any module: its submodules and parameters by name, the smallest and the largest."""

from collections.abc import Collection

from torch import nn


def units(module: nn.Module, name: str = "") -> list[str]:
    """What a module is made of, in its order: layers without children, and others' parameters."""
    children = dict(module.named_children())
    listed = isinstance(module, nn.ParameterList | nn.ParameterDict)
    if name and not children and not listed:
        return [name]
    own = [_join(name, parameter) for parameter, _ in module.named_parameters(recurse=False)]
    inner = [u for child, part in children.items() for u in units(part, _join(name, child))]
    return own + inner


def largest(module: nn.Module, chosen: Collection[str], name: str = "") -> list[str]:
    """Names of the chosen units, those of a whole submodule as one."""
    inside = units(module, name)
    if name and set(inside) <= set(chosen):
        return [name]
    children = dict(module.named_children())
    found = [u for u in inside if u in chosen and u.rpartition(".")[0] == name]
    own = [u for u in found if u.rpartition(".")[2] not in children]
    parts = [largest(part, chosen, _join(name, child)) for child, part in children.items()]
    return own + [u for part in parts for u in part]


def contents(model: nn.Module, name: str) -> tuple[list[nn.Module], dict[str, nn.Parameter]]:
    """The modules of a part, with all inside them, and its parameters by name."""
    owner, _, last = name.rpartition(".")
    parameter = model.get_submodule(owner)._parameters.get(last)
    if parameter is not None:
        return [], {name: parameter}
    part = model.get_submodule(name)
    return list(part.modules()), dict(part.named_parameters(prefix=name))


def _join(name: str, inner: str) -> str:
    return f"{name}.{inner}" if name else inner
