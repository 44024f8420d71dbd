"""Which part of a network: stages and blocks by name, one vocabulary for all that takes a part."""

from collections.abc import Sequence

from torch import nn

from tlcourse.errors import BackboneError
from tlcourse.networks.backbones import Backbone
from tlcourse.suggestions import did_you_mean

Names = str | Sequence[str]


def block_names(backbone: Backbone) -> list[str]:
    """Names of a network's blocks from input to output, such as ``stem``, ``stage1.0``, ``head``.

    A block is what its paper repeats: a residual block, a transformer block. Stem, neck, head and
    stages without blocks (VGG's plain convolutions) count as one.
    """
    names = []
    for stage in backbone.stage_names:
        inner = stage in ("stem", "neck", "head", "body")
        names += [stage] if inner else _blocks(backbone.get_submodule(stage), stage)
    return names


def select(
    backbone: Backbone,
    *,
    up_to: str | None = None,
    only: Names | None = None,
    except_: Names | None = None,
) -> list[str]:
    """Names of the chosen stages and blocks, in order; a stage chosen whole is named as one.

    ``up_to`` chooses from the first to that one, it included, ``only`` those named, ``except_`` all
    but those; each takes stages and blocks. Without any, everything is chosen. Raises
    BackboneError for an unknown name, ValueError for two ways to choose at once.
    """
    given = [what for what in (up_to, only, except_) if what is not None]
    if len(given) > 1:
        raise ValueError("choose by one of up_to, only and except_, not by several at once")
    blocks = block_names(backbone)
    named = {block for name in _listed(*given) for block in _within(backbone, blocks, name)}
    if up_to is not None:
        last = max(blocks.index(block) for block in named)
        chosen = set(blocks[: last + 1])
    elif except_ is not None:
        chosen = set(blocks) - named
    else:
        chosen = named if only is not None else set(blocks)
    selected: list[str] = []
    for stage in backbone.stage_names:
        of_stage = _within(backbone, blocks, stage)
        whole = chosen.issuperset(of_stage)
        selected += [stage] if whole else [block for block in of_stage if block in chosen]
    return selected


def _within(backbone: Backbone, blocks: Sequence[str], name: str) -> list[str]:
    """Those of the blocks that belong to a stage, or the one block of that name."""
    found = [block for block in blocks if block == name or block.startswith(f"{name}.")]
    if not found:
        known = (*backbone.stage_names, *blocks)
        raise BackboneError(
            f"no block {name!r}; stages of {backbone.name} are {', '.join(backbone.stage_names)}, "
            f"block_names() lists their blocks{did_you_mean(name, known)}"
        )
    return found


def _blocks(module: nn.Module, name: str) -> list[str]:
    # A sequence of sequences (EfficientNet's groups) is opened; a sequence of layers is a block.
    if isinstance(module, nn.Sequential) and any(any(c.children()) for c in module):
        return [
            block
            for child, part in module.named_children()
            for block in _blocks(part, f"{name}.{child}")
        ]
    return [name]


def _listed(names: Names | None = None) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else list(names)
