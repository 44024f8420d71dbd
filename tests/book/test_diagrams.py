"""Diagrams: what is named is drawn, and a branch returns where room was left for it."""

from itertools import combinations

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Annotation

from tlcourse.book.diagrams import (
    branch,
    chain,
    encoder_block,
    residual_blocks,
    squeeze_excitation_block,
)


def test_layers_stand_in_order_and_a_branch_ends_in_its_sign():
    figure, axis = plt.subplots()
    chain(axis, ["conv", "norm", ""], title="block")
    branch(axis, 1, 3, "+", layers=["gate"])
    heights = {text.get_text(): text.get_position()[1] for text in axis.texts if text.get_text()}
    assert heights["x"] < heights["conv"] < heights["norm"] < heights["+"] == 3
    assert heights["conv"] - 1 < heights["gate"] < heights["+"]
    assert axis.get_title() == "block"
    plt.close(figure)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("layers", [(), ("gate",)])
def test_a_branch_leaves_below_its_first_layer_and_returns_to_its_sign(left, layers):
    figure, axis = plt.subplots()
    chain(axis, ["conv", "norm", ""], title="block")
    branch(axis, 2, 3, "+", layers=layers, left=left)
    (line,) = axis.lines
    (start, *_), ys = line.get_data()
    x = line.get_xdata()[-1]
    assert start == 0 and list(ys) == [1.5, 1.5, 3] and (x < 0) == left and abs(x) > 0.85
    back = next(a for a in arrows(axis) if a.xyann == (x, 3))
    assert back.xy[1] == 3 and 0 < back.xy[0] / x < 0.25  # ends at the circle's edge
    plt.close(figure)


def arrows(axis) -> list[Annotation]:
    return [text for text in axis.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize("draw", [residual_blocks, squeeze_excitation_block, encoder_block])
def test_nothing_overlaps_or_is_cut_off(draw):
    figure = draw()
    figure.canvas.draw()
    for axis in figure.axes:
        labels = [text for text in axis.texts if text.get_text()]
        extents = [(label.get_bbox_patch() or label).get_window_extent() for label in labels]
        for extent in extents:
            assert axis.bbox.containsx(extent.x0) and axis.bbox.containsx(extent.x1)
            assert axis.bbox.containsy(extent.y0) and axis.bbox.containsy(extent.y1)
        assert not any(one.overlaps(other) for one, other in combinations(extents, 2))
        heads = axis.transData.transform([arrow.xy for arrow in arrows(axis)])
        for box in (label.get_bbox_patch() for label in labels):
            if box:  # an arrow ends at each box and sign, give or take some pixels
                (left, low), (right, high) = box.get_window_extent().get_points()
                below = [abs(y - low) < 9 for x, y in heads if left < x < right]
                beside = [abs(x - e) < 9 for x, y in heads for e in (left, right) if low < y < high]
                assert any(below) or any(beside)
    plt.close(figure)
