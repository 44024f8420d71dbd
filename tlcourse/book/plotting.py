"""The course's figures: one palette that colour-blind readers can tell apart, alt text always."""

import io
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import DisplayHandle, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

# Okabe & Ito 2008; the yellow is left out, it is too faint for lines on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

plt.rcParams.update(
    {
        "axes.prop_cycle": plt.cycler(color=PALETTE),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "legend.frameon": False,
        "savefig.dpi": 90,
    }
)


class Picture(NamedTuple):
    """A figure and, in words, what it shows: what functions that draw return, for ``show``."""

    figure: Figure
    alt: str


def show(figure: Figure, alt: str) -> None:
    """Display a figure with its alternative text, also as a caption, and close it.

    A ``Picture`` is shown by ``show(*picture)``.

    Parameters
    ----------
    figure
        Closed afterwards.
    alt
        What the figure shows, in a sentence or two.

    Raises
    ------
    ValueError
        For an empty text: a reader who cannot see the figure would get nothing.

    Examples
    --------
    >>> show(plt.figure(), "")
    Traceback (most recent call last):
    ValueError: alt is empty; say in a sentence or two what the figure shows
    """
    if not alt.strip():
        raise ValueError("alt is empty; say in a sentence or two what the figure shows")
    data, metadata = _png(figure, alt)
    display(data, metadata=metadata, raw=True)
    _caption(alt)


class LiveFigure:
    """One place in a notebook whose figure is replaced as a computation goes on."""

    def __init__(self) -> None:
        self._handle = DisplayHandle()
        self._alt = ""  # of the last figure; none is shown yet
        self._last = time.perf_counter()
        self._cost = 0.05  # seconds; measured when it is first drawn

    def is_due(self) -> bool:
        """Whether drawing again would take less than a twentieth of the time since the last."""
        return time.perf_counter() - self._last > 20 * self._cost

    def update(self, figure: Figure, alt: str) -> None:
        """Show the figure, with its alternative text, in place of the one before."""
        started = time.perf_counter()
        show = self._handle.update if self._alt else self._handle.display
        data, metadata = _png(figure, alt)
        show(data, metadata=metadata, raw=True)
        self._alt = alt
        self._last = time.perf_counter()
        self._cost = self._last - started

    def finish(self) -> None:
        """Put the last alternative text below, as a caption, if anything was shown."""
        if self._alt:
            _caption(self._alt)


def _caption(alt: str) -> None:
    # JupyterLab ignores the alternative text, so it also stands below as a caption, for everyone.
    display({"text/markdown": f"*{alt}*", "text/plain": alt}, raw=True)


def _png(figure: Figure, alt: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figure as data and metadata for ``display``; the figure is closed."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    plt.close(figure)
    return {"image/png": png.getvalue(), "text/plain": alt}, {"image/png": {"alt": alt}}


def image_grid(images: Tensor, titles: Sequence[str], *, columns: int, title: str) -> Figure:
    """uint8 images (N, 3, H, W) in rows of ``columns``, each under its own title."""
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.5 * columns, 1.75 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, text in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image.permute(1, 2, 0).numpy())
        axis.set_title(text, fontsize=8, loc="center")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def learning_curves(
    axis: Axes, histories: Mapping[str, Sequence[pd.DataFrame]], column: str, **labels: Any
) -> None:
    """The mean of a history column over runs, by epoch, in a band from lowest to highest."""
    for (name, runs), marker in zip(histories.items(), MARKERS, strict=False):
        values = np.stack([run[column].to_numpy() for run in runs])
        epochs = np.arange(1, values.shape[1] + 1)
        (line,) = axis.plot(epochs, values.mean(0), marker=marker, markersize=4, label=name)
        axis.fill_between(epochs, values.min(0), values.max(0), color=line.get_color(), alpha=0.1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="epoch", **labels)


def runs_and_means(axis: Axes, values: Mapping[str, Sequence[float]], **labels: Any) -> None:
    """One row a name: each run a dot, their mean a bar with its value."""
    for row, runs in enumerate(values.values()):
        mean = float(np.mean(runs))
        color = PALETTE[row % len(PALETTE)]
        axis.plot(runs, [row] * len(runs), "o", color=color, alpha=0.6, markersize=6)
        axis.plot([mean, mean], [row - 0.3, row + 0.3], color=color, linewidth=3)
        axis.text(mean, row - 0.32, f"{mean:.2f}", ha="center", va="bottom", fontsize=8)
    axis.set_yticks(range(len(values)), list(values))
    axis.set_ylim(len(values) - 0.5, -0.75)  # the first name on top
    axis.grid(axis="y", visible=False)
    axis.set(**labels)


def stage_shares(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Each stage's share in parameters, multiply–adds and activation memory, one row a network.

    ``tables`` are those of ``complexity``, by name.
    """
    columns = {
        "parameters": "parameters",
        "multiply_adds": "multiply–adds",
        "activation_bytes": "memory for training",
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 0.5 * len(tables) + 1.5), sharey=True)
    for axis, (column, title) in zip(axes, columns.items(), strict=True):
        for row, table in enumerate(tables.values()):
            shares = 100 * table[column] / table[column].sum()
            left = shares.cumsum() - shares
            axis.barh([row] * len(shares), shares, left=left, color=PALETTE, edgecolor="white")
        axis.set(title=title, xlabel="share (%)", xlim=(0, 100))
        axis.grid(visible=False)
    axes[0].set_yticks(range(len(tables)), list(tables))
    axes[0].invert_yaxis()
    stages = next(iter(tables.values())).index
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in PALETTE[: len(stages)]]
    figure.legend(handles, stages, loc="outside lower center", ncols=len(stages))
    return figure


def runs_over(
    axis: Axes, x: Sequence[float], values: Mapping[str, Sequence[Sequence[float]]], **labels: Any
) -> None:
    """For each name, runs (one row each) over ``x``: every run as dots, their mean as a line."""
    for (name, runs), marker, color in zip(values.items(), MARKERS, PALETTE, strict=False):
        axis.plot(x, np.transpose(runs), marker, color=color, alpha=0.4, markersize=5)
        axis.plot(x, np.mean(runs, axis=0), color=color, label=name)
    axis.legend()
    axis.set(**labels)


def named_points(axis: Axes, x: pd.Series, y: pd.Series, line: Sequence[str]) -> None:
    """A point for each name, and a line through some of them."""
    axis.plot(x[list(line)], y[list(line)], color=PALETTE[1], zorder=1)
    axis.plot(x, y, "o", color=PALETTE[0])
    for name in x.index:
        axis.annotate(name, (x[name], y[name]), (5, -9), textcoords="offset points", fontsize=7)


def means_over(axis: Axes, tables: Mapping[str, pd.DataFrame], **labels: Any) -> None:
    """For each name the mean over runs (columns) along the index, in a band of a standard error."""
    for (name, table), marker, color in zip(tables.items(), MARKERS, PALETTE, strict=False):
        mean, error = table.mean(axis=1), table.sem(axis=1)
        axis.plot(table.index, mean, marker + "-", color=color, label=name, markersize=5)
        axis.fill_between(table.index, mean - error, mean + error, color=color, alpha=0.12)
    axis.set(**labels)
