"""A network of any family taken apart: stem, stages, neck and head that run by themselves.

The blocks come from its chain. What comes before them is the stem, what follows is the neck:
modules of the chain where these are all, otherwise the network's own ``forward_features`` and
``forward_head`` with the other parts taken out. Every way is checked against the network's run.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import torch
from torch import Tensor, nn

from tlcourse.modes import evaluating
from tlcourse.networks.chains import (
    Call,
    NotAChain,
    alone,
    chain_of,
    find_blocks,
    group_by_stride,
    is_bound,
    linked,
    record,
    stride_of,
)
from tlcourse.networks.classifiers import Classifier, find_classifier
from tlcourse.networks.cuts import After, PartOf, by_methods, run_after, run_until, without

Stages = dict[str, nn.Module]


class MeanOverMap(nn.Module):
    """The mean of each channel; (N, C, H, W) → (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean([2, 3])


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
        classifier.telling(network) as changed,
    ):
        images = _images(network, *2 * [image_size or _size(network)])
        try:
            run = record(network, images)
        except Exception as error:
            raise ValueError(f"{type(network).__name__} does not run: {error}") from error
        if classifier.heads:
            with suppress(Exception):  # then its logits are not of that kind, which is told below
                _weigh_bias(network, classifier, run)
        for stages in _ways(network, classifier, run):
            if runs_as(network, stages, image_size):
                break
        else:
            raise ValueError(
                f"the logits of {type(network).__name__} are not those of one linear layer, so it "
                "has no head to replace; choose another network"
            )
    classifier.share_bias()
    own = set(network.modules())
    copies = {m for stage in stages.values() for m in stage.modules()} - own
    for part in copies:
        part.training = network.training
    _forget(own | copies, changed)
    return stages


def _forget(modules: set[nn.Module], changed: set[int]) -> None:
    """Let go of what modules computed of such parameters and kept, as their ``train`` does."""
    for module in modules:
        overrides = type(module).train is not nn.Module.train
        if overrides and any(id(p) in changed for p in module.parameters(recurse=False)):
            modes = {part: part.training for part in module.modules()}
            module.train()
            for part, training in modes.items():
                part.training = training


def _weigh_bias(network: nn.Module, classifier: Classifier, run: Call) -> None:
    """What the logits have beside the features' share; some networks weigh their heads."""
    weight, bias = classifier.linear.weight, classifier.linear.bias
    rest = run.output - without(network, {}, classifier)(run.given) @ weight.T
    if (rest - bias).abs().max() > 1e-5 * run.output.abs().max():
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
    """Random images for it, drawn without touching the global generator.

    Two; without values three, since pairs (sine and cosine) are then taken for rows of two images.
    """
    like = next(network.parameters())
    count = 3 if like.is_meta else 2
    images = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))
    return images.to(like)


def _ways(network: nn.Module, classifier: Classifier, run: Call) -> Iterator[Stages]:
    """Stem, stages, neck and head in all ways that run; then its body and head."""
    with suppress(Exception):  # what is cut where it must not be fails in any way
        yield from _split_chain(network, classifier, run)
    yield {"body": without(network, {}, classifier), "head": classifier.linear}


def _split_chain(network: nn.Module, classifier: Classifier, run: Call) -> Iterator[Stages]:
    """Stem, stages, neck and head, by each neck that is exact; raises NotAChain."""
    images = run.given
    chain = chain_of(run, network, classifier)
    start, end = find_blocks(chain, network, classifier)
    handed = _handed_parameters(network, images, classifier, chain[start:end])
    end = next((k for k in range(start, end) if chain[k].path in handed), end)
    if end - start < 2:
        raise NotAChain("its blocks are handed what depends on its parameters")
    blocks = chain[start:end]
    strides = [stride_of(images, block.output) for block in blocks]
    for neck in _necks(network, chain, end, classifier, run):
        stem = _stem(network, chain, start, classifier, images)
        if any(isinstance(m, PartOf | After) for m in neck.modules()):
            _share_out(stem, neck, blocks[-1].output)
        stages = group_by_stride(blocks, strides)
        if "stem" in stages:  # blocks on maps as large as the stem's
            stem = nn.Sequential(stem, *stages.pop("stem").children())
        yield {"stem": stem, **stages, "neck": neck, "head": classifier.linear}


def _handed_parameters(
    network: nn.Module, images: Tensor, classifier: Classifier, blocks: Sequence[Call]
) -> set[str]:
    """Blocks that get what is trained beside their first input; bound, it would not be trained."""
    paths = {block.path for block in blocks if block.constants is not None}
    if not paths:
        return set()
    with torch.enable_grad():
        run = record(network, images[:1])
    return {
        call.path
        for call in chain_of(run, network, classifier)
        if call.path in paths and call.constants is not None
        for value in (*call.constants[0], *call.constants[1].values())
        if isinstance(value, Tensor) and value.requires_grad
    }


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
        stem = by_methods(network, chain[start:], classifier, ["forward_features"])
        _expect(stem(images), first.given)
        return stem
    run = run_until(network, chain[start:], classifier)
    _expect(run(images), first.given)
    return run


def _necks(
    network: nn.Module, chain: list[Call], end: int, classifier: Classifier, run: Call
) -> Iterator[nn.Module]:
    """From the last block's output to what the linear layer takes, in all ways that are exact."""
    after, logits = chain[end - 1].output, run.output
    norms = _norms(chain, end, classifier)
    done = chain[: end + len(norms)]
    ways = (
        lambda: _in_a_row(chain, end, classifier, logits),
        lambda: nn.Sequential(
            *(call.module for call in norms),
            by_methods(network, done, classifier, ["forward_head"]),
        ),
        lambda: by_methods(network, chain[:end], classifier, ["forward_features", "forward_head"]),
        lambda: run_after(network, chain[:end], classifier, run.given),
    )
    for way in ways:
        try:
            neck = way()
            with torch.no_grad():
                _expect(classifier.linear(neck(after)), logits)
        except Exception:  # noqa: BLE001 - a part cut where it must not be fails in any way
            continue
        yield neck


def _in_a_row(chain: list[Call], end: int, classifier: Classifier, logits: Tensor) -> nn.Sequential:
    """The rest of the chain, with flattening or averaging that the network does in between."""
    layers: list[nn.Module] = []
    x = chain[end - 1].output
    for call in chain[end:]:
        layers += _between(x, call.given)
        holds_it = classifier.is_in(call.module)
        layers.append(without(call.module, {}, classifier) if holds_it else call.module)
        x = call.output
    return nn.Sequential(*layers, *_between(x, logits))  # whether they fit is seen by their logits


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


def _share_out(stem: nn.Module, neck: nn.Module, tokens: Tensor) -> None:
    """Leave each parameter of stem and neck in the one that uses it, otherwise in the stem."""
    both = {id(p): p for p in neck.parameters()}
    mine = {id(p) for p in stem.parameters()}
    shared = [p for key, p in both.items() if key in mine and p.requires_grad]
    grads: Sequence[Tensor | None] = [None] * len(shared)
    if shared:
        with torch.enable_grad():
            features = neck(tokens).sum()
        if features.requires_grad:
            grads = torch.autograd.grad(features, shared, allow_unused=True)
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
