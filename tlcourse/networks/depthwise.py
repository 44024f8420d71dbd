"""Depthwise convolutions with kernels beyond 3 × 3, trained on a CPU at the speed of 3 × 3."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

Pair = tuple[int, int]
PART = 3


@contextmanager
def depthwise_by_parts(model: nn.Module) -> Iterator[None]:
    """Within, depthwise convolutions of a model on a CPU get their weights' gradient in parts.

    On a CPU torch leaves convolutions to oneDNN. For the gradient of depthwise weights it has a
    fast kernel for 3 × 3 and, beyond, one that took 15 to 35 times as long for 5 × 5 (torch 2.14):
    a sixth of a training step of EfficientNet-Lite0. So k × k is put together from 3 × 3 windows
    that lie two apart. The numbers are the same but for rounding; ``benchmarks/depthwise.py`` has
    the ratio.

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
        and max(module.kernel_size) > PART
        and all(size % 2 and size >= PART for size in module.kernel_size)
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
    part = found[..., :PART, :PART].contiguous()  # of its shape; what it holds does not matter
    padded = pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = ((n - 1) * s + PART for n, s in zip(grad.shape[2:], stride, strict=True))
    for i in range(0, weight.shape[2] - 2, 2):
        for j in range(0, weight.shape[3] - 2, 2):
            seen = padded[..., i : i + height, j : j + width]
            seen = seen.contiguous(memory_format=torch.channels_last)
            window = _gradient(grad, seen, part, stride, (0, 0), "weight")
            found[..., i : i + PART, j : j + PART] = window
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
