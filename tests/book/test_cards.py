"""Cards: readable without colour, on every theme, and as plain text."""

import re

from tlcourse.book.cards import EDGES, card, present
from tlcourse.book.plotting import PALETTE
from tlcourse.book.statements import SIGNS


def contrast(color: str, other: float) -> float:
    """WCAG's ratio of a colour to a grey of luminance ``other``."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    low, high = sorted((luminance, other))
    return (high + 0.05) / (low + 0.05)


def test_edges_stand_out_on_light_and_dark_and_come_from_the_palette():
    assert set(SIGNS.values()) < set(EDGES)
    for color in EDGES.values():
        assert color in PALETTE or color == "#808080"
        assert contrast(color, 1.0) >= 2.9 and contrast(color, 0.006) >= 2.9  # white, #111111


def test_a_card_without_its_styles_still_says_all():
    html = card("✔", "confirmed", "a & b", ("measured 1", ""), "source: me")
    text = re.sub(r"<[^>]+>", "\n", html).split("\n")
    assert [part for part in text if part] == [
        "✔ confirmed", " · a &amp; b", "measured 1", "source: me"
    ]  # fmt: skip


def test_outside_a_notebook_the_text_is_printed(capsys):
    present("plain", "<b>rich</b>")
    assert capsys.readouterr().out == "plain\n"
