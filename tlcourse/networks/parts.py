"""A network of any family taken apart: stem, stages, neck and head that run by themselves.

The blocks come from its chain. What comes before them is the stem, what follows is the neck:
modules of the chain where these are all, otherwise the network's own ``forward_features`` and
``forward_head`` with the other parts taken out. Every way is checked against the network's run.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.modes import evaluating
from tlcourse.networks.chains import (
    Call,
    NotAChain,
    alone,
    find_blocks,
    group_by_stride,
    is_bound,
    linked,
    opened,
    record,
    stride_of,
)
from tlcourse.networks.classifiers import Classifier, find_classifier
from tlcourse.networks.cuts import After, Blank, Entry, Exit, Until

Stages = dict[str, nn.Module]


class Pass(nn.Module):
    """Stands where a part was taken out: hands its first input on."""

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        return x


class MeanOverMap(nn.Module):
    """The mean of each channel; (N, C, H, W) → (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean([2, 3])


class PartOf(nn.Module):
    """A network's own methods, one after another, on a copy that holds one part of it only."""

    def __init__(self, network: nn.Module, methods: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.methods = tuple(methods)

    def forward(self, x: Tensor) -> Tensor:
        for method in self.methods:
            x = getattr(self.network, method)(x)
        return x


def split_any(network: nn.Module, image_size: int | None = None) -> Stages:
    """Any other network: by its chain of blocks, else all but its last linear layer, and that.

    It is tried on images of ``image_size``, or of what timm says that it takes.
    """
    classifier = find_classifier(network)
    # What is cut is tried with gradients too, which inference mode does not give.
    with (
        torch.inference_mode(False),
        evaluating(network),
        torch.no_grad(),
        classifier.telling(network),
    ):
        images = _images(network, *2 * [image_size or _size(network)])
        try:
            run = record(network, images)
        except Exception as error:
            raise ValueError(f"{type(network).__name__} does not run: {error}") from error
        if classifier.heads:
            with suppress(Exception):  # then its logits are not of that kind, which is told below
                _weigh_bias(network, classifier, run)
        for split in (_split_chain, _split_body):
            try:
                stages = split(network, classifier, run)
            except Exception:  # noqa: BLE001 - what is cut where it must not be fails in any way
                continue
            if runs_as(network, stages, image_size):
                break
        else:
            raise ValueError(
                f"the logits of {type(network).__name__} are not those of one linear layer, so it "
                "has no head to replace; choose another network"
            )
    classifier.share_bias()
    own = set(network.modules())
    for part in (m for stage in stages.values() for m in stage.modules() if m not in own):
        part.training = network.training
    return stages


def _weigh_bias(network: nn.Module, classifier: Classifier, run: Call) -> None:
    """What the logits have beside the features' share; some networks weigh their heads."""
    weight, bias = classifier.linear.weight, classifier.linear.bias
    rest = run.output - _without(network, {}, classifier)(run.given) @ weight.T
    if not torch.allclose(rest, bias.expand_as(rest), atol=1e-5):
        bias.copy_(rest.mean(dim=0))


def runs_as(network: nn.Module, stages: Stages, image_size: int | None = None) -> bool:
    """Whether stages give the network's logits, for images that are not square if it takes them."""
    size = image_size or _size(network)
    composed = nn.Sequential(*stages.values())
    bound = is_bound(composed)
    with evaluating(network), evaluating(composed), torch.no_grad():
        for height, width in ((96, 128), (size, size)):
            images = _images(network, height, width)[:1]
            with suppress(Exception):  # a library refuses a size in any way
                logits = network(images)
                try:
                    if same(composed(images), logits):
                        return True
                except Exception:  # noqa: BLE001 - parts that do not fit fail in any way
                    pass
                if not bound:
                    return False
    return False


def _size(network: nn.Module) -> int:
    """Pixels of the images that timm says a network takes."""
    return getattr(network, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]


def _images(network: nn.Module, height: int, width: int) -> Tensor:
    """Random images for it, drawn without touching the global generator."""
    like = next(network.parameters())
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    return images.to(like)


def _split_chain(network: nn.Module, classifier: Classifier, run: Call) -> Stages:
    """Stem, stages, neck and head; raises NotAChain."""
    images = run.given
    chain = [element for call in run.inner for element in opened(call)]
    start, end = find_blocks(chain, network, classifier)
    handed = _handed_parameters(network, images, chain[start:end])
    end = next((k for k in range(start, end) if chain[k].path in handed), end)
    if end - start < 2:
        raise NotAChain("its blocks are handed what depends on its parameters")
    blocks = chain[start:end]
    stem = _stem(network, chain, start, classifier, images)
    neck = _neck(network, chain, end, classifier, run)
    if any(isinstance(m, PartOf | After) for m in neck.modules()):
        _share_out(stem, neck, blocks[-1].output)
    strides = [stride_of(images, block.output) for block in blocks]
    stages = group_by_stride(blocks, strides)
    if "stem" in stages:  # blocks on maps as large as the stem's
        stem = nn.Sequential(stem, *stages.pop("stem").children())
    return {"stem": stem, **stages, "neck": neck, "head": classifier.linear}


def _handed_parameters(network: nn.Module, images: Tensor, blocks: Sequence[Call]) -> set[str]:
    """Blocks that get what is trained beside their first input; bound, it would not be trained."""
    paths = {block.path for block in blocks if block.constants is not None}
    if not paths:
        return set()
    with torch.enable_grad():
        run = record(network, images[:1])
    return {
        call.path
        for outer in run.inner
        for call in opened(outer)
        if call.path in paths and call.constants is not None
        for value in (*call.constants[0], *call.constants[1].values())
        if isinstance(value, Tensor) and value.requires_grad
    }


def _split_body(network: nn.Module, classifier: Classifier, run: Call) -> Stages:
    """All of a network but its classifier, and the classifier."""
    return {"body": _without(network, {}, classifier), "head": classifier.linear}


def same(found: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors agree, but for rounding; their shapes where they have no values."""
    if found.shape != wanted.shape or wanted.is_meta:
        return found.shape == wanted.shape
    return bool((found - wanted).abs().max() <= 1e-4 * wanted.abs().max())


def _stem(
    network: nn.Module, chain: list[Call], start: int, classifier: Classifier, images: Tensor
) -> nn.Module:
    """From the images to what the first block takes; the first way that is exact."""
    first = chain[start]
    if linked([Call("", network, None, images), *chain[:start], first]):
        return nn.Sequential(*map(alone, chain[:start]))
    with suppress(Exception):  # what runs in between may not like its parts to be out
        stem = _part(network, chain[start:], classifier, ["forward_features"])
        _expect(stem(images), first.given)
        return stem
    elsewhere = {id(call.module): Pass() for call in chain[start:]}
    until = Until(_without(network, {**elsewhere, id(first.module): Exit()}, classifier))
    _expect(until(images), first.given)
    return until


def _neck(
    network: nn.Module, chain: list[Call], end: int, classifier: Classifier, run: Call
) -> nn.Module:
    """From the last block's output to what the linear layer takes; the first way that is exact."""
    after, logits = chain[end - 1].output, run.output
    norms = _norms(chain, end, classifier)
    done = chain[: end + len(norms)]
    ways = (
        lambda: _in_a_row(chain, end, classifier, logits),
        lambda: nn.Sequential(
            *(call.module for call in norms), _part(network, done, classifier, ["forward_head"])
        ),
        lambda: _part(network, chain[:end], classifier, ["forward_features", "forward_head"]),
        lambda: _after(network, chain[:end], classifier, run.given),
    )
    for way in ways:
        try:
            neck = way()
            with torch.no_grad():
                _expect(classifier.linear(neck(after)), logits)
        except Exception:  # noqa: BLE001 - a part cut where it must not be fails in any way
            continue
        return neck
    raise NotAChain("what follows its blocks cannot be run by itself")


def _in_a_row(chain: list[Call], end: int, classifier: Classifier, logits: Tensor) -> nn.Sequential:
    """The rest of the chain, with flattening or averaging that the network does in between."""
    layers: list[nn.Module] = []
    x = chain[end - 1].output
    for call in chain[end:]:
        layers += _between(x, call.given)
        layers.append(_without(call.module, {}, classifier))
        x = call.output
    if not classifier.is_in(chain[-1].module):
        raise NotAChain("the classifier is not its last module")
    return nn.Sequential(*layers, *_between(x, logits))


def _between(x: Tensor, y: Tensor) -> list[nn.Module]:
    if x is y:
        return []
    for layer in (nn.Flatten(), MeanOverMap()):
        if x.ndim == 4 and same(layer(x), y):
            return [layer]
    raise NotAChain("it computes something between two modules")


def _norms(chain: list[Call], end: int, classifier: Classifier) -> list[Call]:
    """What the chain goes on with after the last block, before the library's head."""
    norms = []
    for before, call in pairwise(chain[end - 1 :]):
        if classifier.is_in(call.module) or not linked([before, call]):
            break
        norms.append(call)
    return norms


def _part(
    network: nn.Module, elsewhere: Iterable[Call], classifier: Classifier, methods: list[str]
) -> PartOf:
    passed = {id(call.module): Pass() for call in elsewhere}
    return PartOf(_without(network, passed, classifier), methods)


def _after(
    network: nn.Module, done: Sequence[Call], classifier: Classifier, images: Tensor
) -> After:
    blanks = {
        id(c.module): Blank(c.output if c.rest is None else (c.output, *c.rest)) for c in done
    }
    entry = {id(done[-1].module): Entry(done[-1].rest)}
    return After(_without(network, {**blanks, **entry}, classifier), images.shape[1:])


def _without(
    module: nn.Module, stand_ins: Mapping[int, nn.Module], classifier: Classifier
) -> nn.Module:
    """A copy with the same parameters and buffers, with others in place of the classifier and
    of some parts (by their ``id``)."""
    shared = [*module.parameters(), *module.buffers()]
    memo: dict[int, Any] = {id(tensor): tensor for tensor in shared}
    memo |= {**stand_ins, **classifier.stand_ins}
    return copy.deepcopy(module, memo)


def _share_out(stem: nn.Module, neck: nn.Module, tokens: Tensor) -> None:
    """Leave each parameter of stem and neck in the one that uses it, otherwise in the stem."""
    both = {id(p): p for p in neck.parameters()}
    mine = {id(p) for p in stem.parameters()}
    shared = [p for key, p in both.items() if key in mine and p.requires_grad]
    grads: Sequence[Tensor | None] = ()
    if shared:
        with torch.enable_grad():
            grads = torch.autograd.grad(neck(tokens).sum(), shared, allow_unused=True)
    used = {id(p) for p, grad in zip(shared, grads, strict=True) if grad is not None}
    _drop(stem, used)
    _drop(neck, mine - used)


def _drop(module: nn.Module, unwanted: set[int]) -> None:
    """Parameters that do not matter there; what is blank is added to zeros."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if id(parameter) in unwanted:
                delattr(part, name)
                blank = torch.zeros_like(parameter) if isinstance(module, After) else None
                part.register_buffer(name, blank, persistent=False)


def _expect(found: Tensor, wanted: Tensor) -> None:
    if not same(found, wanted):
        raise NotAChain("its parts by themselves give something else")
