"""Which part of a network: stages and blocks by name, one vocabulary for all that takes a part."""

from collections.abc import Iterable, Sequence
from typing import TypedDict, Unpack

from torch import nn

from tlcourse.errors import BackboneError
from tlcourse.networks.backbones import Backbone
from tlcourse.networks.submodules import largest, units
from tlcourse.suggestions import did_you_mean
from tlcourse.wrappers import unwrapped

Names = str | Sequence[str]


class Part(TypedDict, total=False):
    """Stages and blocks, chosen in one of three ways; see ``select``."""

    up_to: str | None
    only: Names | None
    except_: Names | None


def part_names(model: nn.Module) -> list[str]:
    """The stages of a backbone; of any other module its children, and parameters of its own."""
    if isinstance(model, Backbone):
        return list(model.stage_names)
    own = [name for name, _ in model.named_parameters(recurse=False)]
    return own + [name for name, _ in model.named_children()]


def block_names(backbone: Backbone) -> list[str]:
    """Names of a network's blocks from input to output, such as ``stem``, ``stage1.0``, ``head``.

    A block is what its paper repeats: a residual block, a transformer block. Stem, neck, head and
    stages without blocks (VGG's plain convolutions) count as one. Those of a body are its parts
    and its own parameters, in the order in which it holds them.
    """
    names = []
    for stage in backbone.stage_names:
        module = backbone.get_submodule(stage)
        if stage == "body":
            names += _parts(module, stage) or [stage]
        else:
            names += [stage] if stage in ("stem", "neck", "head") else _blocks(module, stage)
    return names


def select(model: nn.Module, **part: Unpack[Part]) -> list[str]:
    """Names of the chosen stages and blocks, in order; a stage chosen whole is named as one.

    Parameters
    ----------
    model : Module
        A backbone has stages and blocks; any other module has submodules and parameters, by their
        full names and in the order in which it holds them.
    **part
        ``up_to`` chooses from the first to that one, it included, ``only`` those named, ``except_``
        all but those; each takes stages and blocks. Without any, everything is chosen.

    Raises
    ------
    BackboneError
        For an unknown name.
    ValueError
        For two ways to choose at once.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> select(backbone, up_to="stage2.0")
    ['stem', 'stage1', 'stage2.0']
    """
    check_choices(part, Part)
    given = {way: names for way, names in part.items() if names is not None}
    if len(given) > 1:
        raise ValueError("choose by one of up_to, only and except_, not by several at once")
    model = unwrapped(model)
    blocks = block_names(model) if isinstance(model, Backbone) else units(model)
    listed = _listed(part.get("up_to"), part.get("only"), part.get("except_"))
    named = {block for name in listed for block in _within(model, blocks, name)}
    if "up_to" in given:
        last = max(blocks.index(block) for block in named)
        chosen = set(blocks[: last + 1])
    elif "only" in given:
        chosen = named
    else:
        chosen = set(blocks) - named
    if not isinstance(model, Backbone):
        return largest(model, chosen)
    selected: list[str] = []
    for stage in model.stage_names:
        of_stage = _within(model, blocks, stage)
        whole = chosen.issuperset(of_stage)
        selected += [stage] if whole else [block for block in of_stage if block in chosen]
    return selected


def check_choices(given: Iterable[str], choices: type) -> None:
    """TypeError for a keyword that a TypedDict such as ``Part`` does not have."""
    known = list(choices.__annotations__)
    for keyword in given:
        if keyword not in known:
            raise TypeError(
                f"no keyword {keyword!r}; a part is chosen by {', '.join(known)}"
                f"{did_you_mean(keyword, known)}"
            )


def _within(model: nn.Module, blocks: Sequence[str], name: str) -> list[str]:
    """Those of the blocks that belong to a stage, or the one block of that name."""
    found = [block for block in blocks if block == name or block.startswith(f"{name}.")]
    if found:
        return found
    parts = ", ".join(part_names(model))
    if isinstance(model, Backbone):
        known = [*model.stage_names, *blocks]
        listed = f"no block {name!r}; stages of {model.name} are {parts}, "
        listed += "block_names() lists their blocks"
    else:
        known = sorted({*blocks, *(inner for inner, _ in model.named_modules())})
        listed = f"no submodule {name!r}; {type(model).__name__} has {parts}, "
        listed += "named_modules() lists all"
    raise BackboneError(listed + did_you_mean(name, known))


def _blocks(module: nn.Module, name: str) -> list[str]:
    # A sequence of sequences (EfficientNet's groups) is opened; a sequence of layers is a block.
    lists = nn.Sequential | nn.ModuleList
    if isinstance(module, lists) and any(any(c.children()) for c in module):
        return [
            block
            for child, part in module.named_children()
            for block in _blocks(part, f"{name}.{child}")
        ]
    return [name]


def _parts(body: nn.Module, name: str) -> list[str]:
    """Its own parameters and the blocks of its children; of a lone child it is that one's."""
    own = [f"{name}.{parameter}" for parameter, _ in body.named_parameters(recurse=False)]
    children = {f"{name}.{n}": m for n, m in body.named_children() if [*m.parameters()]}
    if not own and len(children) == 1:
        ((child, module),) = children.items()
        return _parts(module, child)
    return own + [block for child, module in children.items() for block in _blocks(module, child)]


def _listed(*choices: Names | None) -> list[str]:
    lists = [[names] if isinstance(names, str) else names or () for names in choices]
    return [name for names in lists for name in names]
