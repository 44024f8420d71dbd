"""A network's own run cut at a module: until what goes into it, and from what comes out of it."""

from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only


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


class Blank(nn.Module):
    """In place of a module that ran before: zeros in the shape of its output."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), output)

    def forward(self, x: Tensor, *_: object, **__: object) -> Any:
        return tree_map_only(Tensor, lambda y: x.new_zeros(len(x), *y.shape[1:]), self.output)


class Entry(nn.Module):
    """In place of the module that ran last: its output, with the tensor that is handed in."""

    def __init__(self, rest: tuple[Any, ...] | None) -> None:
        super().__init__()
        self.rest = rest
        self.x: Tensor | None = None

    def forward(self, *_: object, **__: object) -> Any:
        return self.x if self.rest is None else (self.x, *self.rest)


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
