"""Diagrams: what is named is drawn, and a branch returns where room was left for it."""

import matplotlib.pyplot as plt

from tlcourse.book.diagrams import branch, chain


def test_layers_stand_in_order_and_a_branch_ends_in_its_sign():
    figure, axis = plt.subplots()
    chain(axis, ["conv", "norm", ""], title="block")
    branch(axis, 1, 3, "+", layers=["gate"])
    heights = {text.get_text(): text.get_position()[1] for text in axis.texts if text.get_text()}
    assert heights["x"] < heights["conv"] < heights["norm"] < heights["+"] == 3
    assert heights["conv"] - 1 < heights["gate"] < heights["+"]
    assert axis.get_title() == "block"
    plt.close(figure)
