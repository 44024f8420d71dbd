"""Blocks drawn with matplotlib: what runs into what, read from the bottom up."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlcourse.book.plotting import PALETTE

HALF_WIDTH, HALF_HEIGHT = 0.85, 0.25  # about those of a layer's box; layers are 1 apart
LAYER, BRANCH = "#e8f1f8", PALETTE[1]  # fill of a box, colour of what leaves the chain


def chain(axis: Axes, layers: Sequence[str], *, title: str, input: str = "x") -> None:
    """Layers 1, 2 … one above another, on an axis without scales; an empty name leaves room."""
    axis.set(xlim=(-2, 2.2), ylim=(-0.4, len(layers) + 0.8))
    axis.set_title(title, loc="center", fontsize=10)
    axis.axis("off")
    axis.text(0, 0, input, ha="center", va="center", style="italic")
    _arrow(axis, (0, 0.2), (0, len(layers) + 0.7))
    for level, layer in enumerate(layers, start=1):
        if layer:
            _arrow(axis, (0, level - 0.5), (0, level - HALF_HEIGHT))
            _box(axis, 0, level, layer)


def branch(
    axis: Axes,
    start: int,
    end: int,
    sign: str,
    *,
    layers: Sequence[str] = (),
    label: str = "",
    left: bool = False,
) -> None:
    """What leaves a chain below layer ``start`` and comes back at the room left for layer ``end``.

    It comes back in a circle with ``sign``: + where it is added, × where it is multiplied. Its own
    ``layers`` stand to the right; without any it is a shortcut, to the right or the ``left``, with
    a ``label``.
    """
    x = 2.5 if layers else HALF_WIDTH + 0.4
    x, gap = (-x, -0.24) if left else (x, 0.24)
    low = start - 0.5
    axis.plot([0, x, x], [low, low, end], color=BRANCH, linewidth=1.6)
    _arrow(axis, (x, end), (gap, end), color=BRANCH)
    circle = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black"}
    axis.text(0, end, sign, ha="center", va="center", fontsize=12, zorder=4, bbox=circle)
    axis.text(
        x + 0.1 * (1 - 4 * left),
        (low + end) / 2,
        label,
        color=BRANCH,
        fontsize=8,
        rotation=90,
        va="center",
    )
    for number, layer in enumerate(layers, start=1):
        level = low + (end - low) * number / (len(layers) + 1)
        _arrow(axis, (x, level - 0.4), (x, level - HALF_HEIGHT), color=BRANCH)
        _box(axis, x, level, layer)
    if layers:
        axis.set_xlim(-1.7, x + 1.5)


def residual_blocks() -> Figure:
    """A plain block, its residual twin, and the bottleneck of ResNet-50 (He et al. 2016)."""
    figure, (plain, residual, bottleneck) = plt.subplots(1, 3, figsize=(10, 4.4))
    layers = ["3 × 3 conv", "BatchNorm", "ReLU", "3 × 3 conv", "BatchNorm", "", "ReLU"]
    chain(plain, [*layers[:5], "ReLU"], title="plain block")
    chain(residual, layers, title="residual block")
    branch(residual, 1, 6, "+", label="identity")
    narrow = ["1 × 1 conv, C → C/4", "3 × 3 conv, C/4", "1 × 1 conv, C/4 → C", "", "ReLU"]
    chain(bottleneck, narrow, title="bottleneck (norms left out)")
    branch(bottleneck, 1, 4, "+", label="identity")
    return figure


def squeeze_excitation_block() -> Figure:
    """A residual block with squeeze-and-excitation on its branch (Hu et al. 2018)."""
    figure, axis = plt.subplots(figsize=(4.6, 5.2))
    chain(axis, ["convolutions, norms", *[""] * 6, "", "ReLU"], title="SE-residual block")
    gates = ["mean of each channel", "linear, C → C/16", "ReLU", "linear, C/16 → C", "sigmoid"]
    branch(axis, 2, 7, "×", layers=gates)
    branch(axis, 1, 8, "+", label="identity", left=True)
    return figure


def encoder_block() -> Figure:
    """Self-attention, and the transformer block around it (Vaswani et al. 2017)."""
    figure, (attention, block) = plt.subplots(1, 2, figsize=(7, 4.4))
    layers = ["linear: q, k, v", "q kᵀ / √d", "softmax", "", "linear"]
    chain(attention, layers, title="self-attention", input="tokens")
    branch(attention, 2, 4, "×", label="v")
    layers = ["LayerNorm", "self-attention", "", "LayerNorm", "perceptron", ""]
    chain(block, layers, title="encoder block", input="tokens")
    branch(block, 1, 3, "+", label="identity")
    branch(block, 4, 6, "+", label="identity")
    return figure


def head_shapes() -> Figure:
    """Three heads on a feature vector of 1,280 numbers, for C classes: what runs into what."""
    figure, (linear, deep, narrow) = plt.subplots(1, 3, figsize=(7.5, 4.4))
    deep_layers = ["1,280 → 128", "ReLU, dropout", "128 → 128", "ReLU, dropout", "128 → C"]
    for axis, layers, title in (
        (linear, ["", "", "", "", "1,280 → C"], "linear"),
        (deep, deep_layers, "two hidden layers"),
        (narrow, ["", "", "1,280 → 16", "ReLU", "16 → C"], "bottleneck"),
    ):
        chain(axis, layers, title=title, input="features f")
        axis.text(0.15, 5.6, "logits z", va="center", style="italic", fontsize=9)
    return figure


def _box(axis: Axes, x: float, y: float, text: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "facecolor": LAYER, "edgecolor": "black"}
    axis.text(x, y, text, ha="center", va="center", fontsize=8, bbox=box, zorder=3)


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], color: str = "black"
) -> None:
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=style)
