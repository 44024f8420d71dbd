"""A network's own run cut at a module: until what goes into it, and from what comes out of it."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from tlcourse.networks.chains import Call
from tlcourse.networks.classifiers import Classifier


class Reached(Exception):
    """The run is where it was to end."""


class Exit(nn.Module):
    """In place of a module: ends the run with what would go into it."""

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        raise Reached(x)


class Until(nn.Module):
    """What a network hands to the module whose place an ``Exit`` took; images → its input."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        try:
            self.network(images)
        except Reached as reached:
            (x,) = reached.args
            return x
        raise AssertionError("the network ran past its exit")


class Entry(nn.Module):
    """In place of the module that ran last: its output, with the tensor that is handed in."""

    def __init__(self, rest: tuple[Any, ...] | None) -> None:
        super().__init__()
        self.rest = rest
        self.x: Tensor | None = None

    def forward(self, *_: object, **__: object) -> Any:
        return self.x if self.rest is None else (self.x, *self.rest)


class Blank(nn.Module):
    """In place of a module that ran before: zeros in the shape of its output for a batch."""

    def __init__(self, output: Any, batch_size: int, entry: Entry) -> None:
        super().__init__()
        self.output = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), output)
        self.batch_size = batch_size
        self.like = [entry]  # in a list: no part of it

    def forward(self, *_: object, **__: object) -> Any:
        (entry,) = self.like
        assert entry.x is not None
        return tree_map_only(Tensor, partial(self._zeros, entry.x), self.output)

    def _zeros(self, x: Tensor, output: Tensor) -> Tensor:
        times, rest = divmod(output.shape[0], self.batch_size)
        rows = output.shape[0] if rest else times * len(x)  # one row is for all images
        return x.new_zeros(rows, *output.shape[1:])


class After(nn.Module):
    """What a network makes of the output of the module whose place an ``Entry`` took.

    All that ran before it is a ``Blank``, so that the run up to there costs next to nothing.
    """

    def __init__(self, network: nn.Module, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.image_shape = image_shape

    def forward(self, x: Tensor) -> Tensor:
        (entry,) = (part for part in self.network.modules() if isinstance(part, Entry))
        entry.x = x
        try:
            return self.network(x.new_zeros(len(x), *self.image_shape))
        finally:
            entry.x = None


class Pass(nn.Module):
    """Stands where a part was taken out: hands its first input on."""

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        return x


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


def by_methods(
    network: nn.Module, elsewhere: Iterable[Call], classifier: Classifier, methods: list[str]
) -> PartOf:
    """The network's own methods without the classifier and the parts that are elsewhere."""
    passed = {id(call.module): Pass() for call in elsewhere}
    return PartOf(without(network, passed, classifier), methods)


def run_until(network: nn.Module, rest: Sequence[Call], classifier: Classifier) -> Until:
    """A network's run up to the first module of the rest of its chain."""
    stand_ins: dict[int, nn.Module] = {id(call.module): Pass() for call in rest}
    return Until(without(network, {**stand_ins, id(rest[0].module): Exit()}, classifier))


def run_after(
    network: nn.Module, done: Sequence[Call], classifier: Classifier, images: Tensor
) -> After:
    """A network's run from what the last of ``done`` puts out."""
    entry = Entry(done[-1].rest)
    stand_ins: dict[int, nn.Module] = {}
    for call in done:
        output = call.output if call.rest is None else (call.output, *call.rest)
        stand_ins[id(call.module)] = Blank(output, len(images), entry)
    stand_ins[id(done[-1].module)] = entry
    return After(without(network, stand_ins, classifier), images.shape[1:])


def without(
    module: nn.Module, stand_ins: Mapping[int, nn.Module], classifier: Classifier
) -> nn.Module:
    """A copy with the same parameters and buffers, without the classifier and some parts.

    What stands in their places is given by their ``id``.
    """
    shared = [*module.parameters(), *module.buffers()]
    memo: dict[int, Any] = {id(tensor): tensor for tensor in shared}
    memo |= {**stand_ins, **classifier.stand_ins}
    return copy.deepcopy(module, memo)
