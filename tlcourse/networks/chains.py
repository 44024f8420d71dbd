"""The chain of blocks in a network of any family, found by running it once.

While the network runs, each module's input and output are noted. Modules that hand one tensor on
to each other are linked; the longest linked part, without the stem before it and the layers behind
it, is the blocks.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from tlcourse.architectures.layers import STAGE_BY_STRIDE
from tlcourse.networks.classifiers import Classifier


class NotAChain(Exception):
    """The network has no chain of blocks that its logits can be computed from."""


@dataclass
class Call:
    """One run of a module: what went in first, what else went in, and what came out.

    ``before`` and ``after`` are the versions of the first input and the output, which count what is
    written into a tensor: ``x += shortcut`` leaves the tensor that it was, with another version.
    ``rest`` is what came out beside one tensor and is none, such as a map's height and width.
    """

    path: str
    module: nn.Module
    given: Any
    output: Any = None
    constants: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    inner: list["Call"] = field(default_factory=list)
    before: int = 0
    after: int = 0
    rest: tuple[Any, ...] | None = None


def record(network: nn.Module, images: Tensor) -> Call:
    """The network's run on ``images``, with the runs of its modules inside it."""
    root = Call("", network, images)
    running = [root]

    def enter(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = Call(path, module, args[0] if args else None)
        call.before = _version(call.given)
        if any(v is not None and v is not False for v in (*args[1:], *kwargs.values())):
            call.constants = args[1:], kwargs
        running[-1].inner.append(call)
        running.append(call)

    def leave(module: nn.Module, args: object, output: Any) -> None:
        call = running.pop()
        if isinstance(output, tuple) and [isinstance(v, Tensor) for v in output].count(True) == 1:
            output, *rest = output
            call.rest = tuple(rest)
        call.output, call.after = output, _version(output)

    hooks = []
    for path, module in network.named_modules():
        if module is not network:
            hooks.append(module.register_forward_pre_hook(partial(enter, path), with_kwargs=True))
            hooks.append(module.register_forward_hook(leave))
    try:
        root.output = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return root


class Bound(nn.Module):
    """A block with what else its network hands to it, such as rotary position embeddings.

    Equal rows, one for each image, are one row for all. Of several outputs it gives the tensor.
    """

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.block = call.module
        self.constants = tree_map_only(Tensor, partial(_one_row, call.given), call.constants)
        self.several = call.rest is not None

    def forward(self, x: Tensor) -> Tensor:
        args, kwargs = tree_map_only(Row, lambda row: row.rows(x), self.constants) or ((), {})
        output = self.block(x, *args, **kwargs)
        return output[0] if self.several else output


@dataclass(frozen=True)
class Row:
    """A tensor that was handed to a block."""

    value: Tensor
    for_each: bool

    def rows(self, x: Tensor) -> Tensor:
        value = self.value.to(x.device)
        return value.expand(len(x), *value.shape[1:]) if self.for_each else value


def _one_row(given: Tensor, value: Tensor) -> Row:
    for_each = value.ndim > 1 and len(value) == len(given)
    if for_each and not value.is_meta:
        for_each = torch.equal(value, value[:1].expand_as(value))
    return Row(value[:1] if for_each else value, for_each)


def alone(call: Call) -> nn.Module:
    """A module that runs on one tensor as it did in its network."""
    return call.module if (call.constants, call.rest) == (None, None) else Bound(call)


def is_bound(module: nn.Module) -> bool:
    """Whether a part of it was handed constants, which are right for images of one size only."""
    return any(isinstance(part, Bound) for part in module.modules())


def _version(x: object) -> int:
    return x._version if isinstance(x, Tensor) and not x.is_inference() else 0


def linked(calls: Sequence[Call]) -> bool:
    """Whether each call takes the very tensor that the one before it put out, as it was then."""
    return all(
        isinstance(one.output, Tensor) and one.output is other.given and one.after == other.before
        for one, other in pairwise(calls)
    )


def opened(call: Call, nested: bool = False) -> Iterator[Call]:
    """The members of a sequence, or of a module that does no more than run one; else the call."""
    lists = [m for m in call.module.children() if isinstance(m, nn.Sequential | nn.ModuleList)]
    if (call.constants, call.rest) == (None, None) and (
        isinstance(call.module, nn.Sequential) or any(len(members) > 1 for members in lists)
    ):
        ends = (
            Call("", call.module, None, call.given, after=call.before),
            Call("", call.module, call.output, before=call.after),
        )
        inside = {id(p) for inner in call.inner for p in inner.module.parameters()}
        whole = all(id(p) in inside for p in call.module.parameters())
        layers = nested and any(_plain(c) and _size(c.module) for c in call.inner)  # of one block
        if call.inner and whole and not layers and linked([ends[0], *call.inner, ends[1]]):
            for inner in call.inner:
                yield from opened(inner, nested=True)
            return
    yield call


def chain_of(run: Call, network: nn.Module, classifier: Classifier) -> list[Call]:
    """What runs one after another, also in an encoder of most parameters that takes the images."""
    chain = [element for call in run.inner for element in opened(call)]
    with suppress(NotAChain, StopIteration):  # no blocks inside, or no parameters at all
        while True:
            k = next(k for k, call in enumerate(chain) if _size(call.module))
            given, encoder = chain[k].given, chain[k].module
            if not isinstance(given, Tensor) or given.shape != run.given.shape:
                break
            if 2 * _size(encoder) < sum(_size(call.module) for call in chain):
                break
            inside = [element for call in chain[k].inner for element in opened(call)]
            find_blocks(inside, network, classifier)
            chain[k : k + 1] = inside
    return chain


def find_blocks(chain: list[Call], network: nn.Module, classifier: Classifier) -> tuple[int, int]:
    """Where the blocks start and end in the longest linked part of the chain."""
    stop = next((k for k, c in enumerate(chain) if classifier.is_in(c.module)), len(chain))
    cuts = [k for k in range(1, stop) if not linked(chain[k - 1 : k + 1])]
    parts = pairwise([0, *cuts, stop])
    start, end = max(parts, key=lambda part: sum(_size(c.module) for c in chain[slice(*part)]))
    is_stem = _stem_rule(network)
    while start < end and (is_stem(chain[start]) or not _size(chain[start].module)):
        start += 1
    while start < end and (_plain(chain[end - 1]) or _no_map(chain[end - 1])):
        end -= 1
    if end - start < 2 or any(chain[k].given is None for k in range(start, end)):
        raise NotAChain("its blocks do not hand one tensor on to each other")
    return start, end


def _stem_rule(network: nn.Module) -> Callable[[Call], bool]:
    """By the names that timm gives its stem; elsewhere by what is no more than one layer."""
    matcher: Any = getattr(network, "group_matcher", None)
    groups = None
    with suppress(Exception):  # no such method, or one that refuses coarse groups
        groups = matcher(coarse=True)
    if not isinstance(groups, dict) or not groups.get("stem"):
        return _plain
    stem = groups["stem"]
    rules = [stem] if isinstance(stem, str) else [r if isinstance(r, str) else r[0] for r in stem]
    return lambda call: any(re.match(rule, f"{call.path}.") for rule in rules)


def _plain(call: Call) -> bool:
    """A layer with its norm and activation, not a block."""
    return sum(p.ndim > 1 for p in call.module.parameters()) < 2


def _no_map(call: Call) -> bool:
    """What makes one vector of a map or of tokens, as attention that pools them does."""
    x, y = call.given, call.output
    return not isinstance(x, Tensor) or (isinstance(y, Tensor) and y.ndim == 2 < x.ndim)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def stride_of(images: Tensor, output: object) -> int:
    """How many pixels a place of a map (N, C, H, W), (N, H, W, C) or of tokens (N, T, D) spans."""
    assert isinstance(output, Tensor)
    shape = output.shape
    if output.ndim == 4:
        side = shape[2] if shape[2] == shape[3] else shape[1]
    else:
        side = math.isqrt(shape[1])
    return 2 ** round(math.log2(images.shape[-1] / side))


def group_by_stride(blocks: list[Call], strides: list[int]) -> dict[str, nn.Module]:
    """Blocks in stages by their stride; in four equal ones where it stays the same."""
    n = len(blocks)
    sizes = sorted(set(strides))
    if len(sizes) == 1:
        equal = min(n, 4)
        numbers = [1 + k * equal // n for k in range(n)]
        names = [f"stage{number}" for number in numbers]
    elif set(sizes) <= set(STAGE_BY_STRIDE) and {4, 8} <= set(sizes):
        names = [STAGE_BY_STRIDE[stride] for stride in strides]
    else:  # not the usual halvings: stages in order
        names = [f"stage{sizes.index(stride) + 1}" for stride in strides]
    members: dict[str, list[nn.Module]] = {}
    for name, block in zip(names, blocks, strict=True):
        members.setdefault(name, []).append(alone(block))
    return {name: nn.Sequential(*modules) for name, modules in members.items()}
