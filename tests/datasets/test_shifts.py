"""Shifts against what a blur and a lamp do to a point and to a colour."""

import torch

from tlcourse.datasets import blur, tint


def test_a_point_is_blurred_to_a_gaussian_of_the_stated_width():
    images = torch.zeros(1, 1, 80, 80, dtype=torch.uint8)
    images[0, 0, :, 40] = 255  # a line keeps enough light to measure its profile
    profile = blur(images, sigma=0.05)[0, 0, 40].double()
    places = torch.arange(80) - 40
    width = (profile * places**2).sum() / profile.sum()
    assert abs((profile * places).sum()) == 0
    assert abs(width.sqrt() - 4) < 0.2  # 0.05 times 80, less the cut at three widths
    assert torch.equal(blur(images), blur(images, sigma=0.02))


def test_tint_multiplies_rounds_and_stops_at_white():
    images = torch.tensor([200, 101, 3], dtype=torch.uint8).view(1, 3, 1, 1)
    assert tint(images, (1.5, 0.5, 1.0)).flatten().tolist() == [255, 50, 3]
    red, green, blue = tint(torch.full((1, 3, 1, 1), 100, dtype=torch.uint8)).flatten().tolist()
    assert red > 100 > green > blue
