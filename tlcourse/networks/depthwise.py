"""Depthwise convolutions wider than three columns, trained on a CPU as fast as narrow ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

Pair = tuple[int, int]
WIDTH = 3


@contextmanager
def depthwise_by_parts(model: nn.Module) -> Iterator[None]:
    """Within, wide depthwise convolutions of a model on a CPU get their weights' gradient in parts.

    On a CPU torch leaves convolutions to oneDNN. For the gradient of depthwise weights it has a
    fast kernel up to three columns and, beyond, one that took 12 to 25 times as long for 5 × 5
    (torch 2.14): a sixth of a training step of EfficientNet-Lite0. So the gradient is put together
    from strips of three columns. The numbers are the same but for rounding;
    ``benchmarks/depthwise.py`` has the ratio.

    Examples
    --------
    >>> model = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    >>> with depthwise_by_parts(model):
    ...     model(torch.ones(2, 4, 8, 8)).sum().backward()
    >>> model.weight.grad.shape
    torch.Size([4, 1, 5, 5])
    """
    slow = [m for m in model.modules() if isinstance(m, nn.Conv2d) and _is_slow(m)]
    for module in slow:
        vars(module)["forward"] = partial(_forward, module)
    try:
        yield
    finally:
        for module in slow:
            del vars(module)["forward"]


def _is_slow(module: nn.Conv2d) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels > 1
        and module.kernel_size[1] > WIDTH
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.device.type == "cpu"
    )


def _forward(module: nn.Conv2d, x: Tensor) -> Tensor:
    y = _ByParts.apply(x, module.weight, module.stride, module.padding)
    return y if module.bias is None else y + module.bias[:, None, None]


class _ByParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _gradient(grad, x, weight, ctx.stride, ctx.padding, "x")
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(grad, x, weight, ctx.stride, ctx.padding)
        return of_x, of_weight, None, None


def _of_weight(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    found = torch.empty_like(weight)
    part = found[..., :WIDTH].contiguous()  # of its shape; what it holds does not matter
    last = weight.shape[3] - WIDTH
    seen = (grad.shape[3] - 1) * stride[1] + WIDTH  # columns of x, padded, that one part meets
    for j in (*range(0, last, WIDTH - 1), last):
        left = padding[1] - j
        # Padded here, not by the convolution: then its fast kernel would not take small maps.
        strip = pad(x, (left, seen - x.shape[3] - left, padding[0], padding[0]))
        strip = strip.contiguous(memory_format=torch.channels_last)
        found[..., j : j + WIDTH] = _gradient(grad, strip, part, stride, (0, 0), "weight")
    return found


def _gradient(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Pair,
    padding: Pair,
    of: Literal["x", "weight"],
) -> Tensor:
    """torch's own."""
    wanted = of == "x", of == "weight", False
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return found[0] if of == "x" else found[1]
