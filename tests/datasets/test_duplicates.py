"""Copies of one picture are found, also at another size or quality; others are not."""

import io

import numpy as np
import pytest
from PIL import Image

from tlcourse.datasets.duplicates import MAX_BITS, MAX_COLOUR, Look, look_alike, look_of


@pytest.fixture
def picture():
    colours = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((120, 120), Image.Resampling.BICUBIC)


def test_a_copy_of_half_the_size_and_of_low_quality_is_alike_and_a_mirrored_one_not(picture):
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=50)
    others = [picture.resize((60, 60)), Image.open(file), picture.transpose(0)]
    first, small, poor, mirrored = look_alike([look_of(image) for image in (picture, *others)])
    assert first == small == poor != mirrored


def test_plain_surfaces_are_alike_only_in_the_very_same_colour():
    looks = [look_of(Image.new("RGB", (40, 40), colour)) for colour in ("#101010", "#101011")]
    assert looks[0].tolerance == 0
    assert len(set(look_alike([*looks, looks[0]]))) == 2


@pytest.mark.parametrize(
    ("bits", "colour", "same"),
    [(MAX_BITS, MAX_COLOUR, True), (MAX_BITS + 1, 0, False), (0, MAX_COLOUR + 1, False)],
)
def test_borders_of_likeness(bits, colour, same):
    one = Look(0, np.full(48, 100, np.uint8), MAX_COLOUR)
    other = Look(2**bits - 1, np.full(48, 100 - colour, np.uint8), MAX_COLOUR)
    first, second = look_alike([one, other])
    assert (first == second) == same


def test_likeness_runs_in_chains():
    looks = [Look(2**bits - 1, np.zeros(48, np.uint8), MAX_COLOUR) for bits in (0, 2, 4, 12)]
    groups = look_alike(looks)
    assert groups[0] == groups[1] == groups[2] != groups[3]
