"""Figures as the notebook file keeps them, and what their axes show."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import ImageColor

from tlcourse.book import plotting
from tlcourse.book.plotting import (
    PALETTE,
    Picture,
    image_grid,
    learning_curves,
    named_points,
    runs_and_means,
    runs_over,
    show,
    stage_shares,
)


def test_a_figure_is_shown_as_png_with_its_text_beside_and_below(monkeypatch):
    shown = []
    monkeypatch.setattr(plotting, "display", lambda data, **options: shown.append((data, options)))
    figure, _ = plt.subplots()
    show(*Picture(figure, "An empty plot."))
    (picture, options), (caption, _) = shown
    assert picture["image/png"].startswith(b"\x89PNG")
    assert picture["text/plain"] == caption["text/plain"] == "An empty plot."
    assert options["metadata"]["image/png"]["alt"] == "An empty plot."
    assert not plt.fignum_exists(figure.number)


def test_a_figure_without_alternative_text_is_refused():
    figure, _ = plt.subplots()
    with pytest.raises(ValueError, match="say in a sentence"):
        show(figure, " ")
    plt.close(figure)


def test_colours_differ_in_luminance_or_blueness():
    """What red–green blind readers still tell apart: brightness and blue against yellow."""
    seen = []
    for color in PALETTE:
        r, g, b = (channel / 255 for channel in ImageColor.getrgb(color))
        seen.append((0.2126 * r + 0.7152 * g + 0.0722 * b, b - (r + g) / 2))
    distances = [np.hypot(a[0] - c[0], a[1] - c[1]) for i, a in enumerate(seen) for c in seen[:i]]
    assert min(distances) > 0.1


def test_image_grid_has_a_place_for_each_image():
    images = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    figure = image_grid(images, list("abcde"), columns=2, title="five")
    titles = [axis.get_title(loc="center") for axis in figure.axes]
    assert titles == ["a", "b", "c", "d", "e", ""]
    assert sum(len(axis.images) for axis in figure.axes) == 5
    plt.close(figure)


def test_curves_are_means_in_a_band_of_all_runs():
    runs = [pd.DataFrame({"loss": [3.0, 1.0]}), pd.DataFrame({"loss": [5.0, 2.0]})]
    figure, axis = plt.subplots()
    learning_curves(axis, {"a": runs}, "loss", ylabel="nats")
    (line,) = axis.lines
    assert list(line.get_xdata()) == [1, 2] and list(line.get_ydata()) == [4.0, 1.5]
    heights = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1, 5)
    plt.close(figure)


def test_the_first_name_is_on_top_on_shared_axes_too():
    figure, axes = plt.subplots(1, 2, sharey=True)
    for axis in axes:
        runs_and_means(axis, {"first": [0.1, 0.3], "second": [0.5, 0.6]})
        low, high = axis.get_ylim()
        assert low > high
        assert [text.get_text() for text in axis.texts] == ["0.20", "0.55"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["first", "second"]
    plt.close(figure)


def test_runs_over_draws_every_run_and_their_mean():
    figure, axis = plt.subplots()
    runs_over(axis, [1, 2], {"a": [[0.0, 2.0], [2.0, 4.0]]}, xlabel="x")
    *_, mean = axis.lines
    assert mean.get_ydata().tolist() == [1.0, 3.0] and len(axis.lines) == 3
    assert axis.get_xlabel() == "x"
    plt.close(figure)


def test_shares_of_a_network_fill_its_row():
    columns = ["parameters", "multiply_adds", "activation_bytes"]
    table = pd.DataFrame([[1, 2, 3], [3, 2, 1]], index=["stem", "head"], columns=columns)
    figure = stage_shares({"net": table})
    widths = [[bar.get_width() for bar in axis.patches] for axis in figure.axes]
    assert widths == [[25, 75], [50, 50], [75, 25]]
    lefts = [[bar.get_x() for bar in axis.patches] for axis in figure.axes]
    assert lefts == [[0, 25], [0, 50], [0, 75]]  # each begins where the one before ends
    plt.close(figure)


def test_points_are_named():
    figure, axis = plt.subplots()
    x, y = pd.Series({"a": 1, "b": 2}), pd.Series({"a": 3, "b": 4})
    named_points(axis, x, y, ["b"])
    assert [text.get_text() for text in axis.texts] == ["a", "b"]
    assert axis.lines[0].get_xydata().tolist() == [[2, 4]]
    plt.close(figure)
