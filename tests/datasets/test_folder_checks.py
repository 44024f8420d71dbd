"""What is said of images before they are trained on, each at the border of its rule."""

from pathlib import Path

import numpy as np
import pytest

from tlcourse.datasets import ImageDataset, check_images
from tlcourse.datasets.dataset import ImageFiles

pytestmark = pytest.mark.unchecked  # a check of types would open a file that is not there


def described(counts, *, side=64, alike=(), skipped=(), labels=None):
    """A data set of so many images a class, whose files nobody opens."""
    labels = np.repeat(np.arange(len(counts)), counts) if labels is None else labels
    files = tuple(Path(f"{i}.png") for i in range(len(labels)))
    rows = np.arange(len(labels))
    splits = {"train": rows[2:], "validation": rows[:1], "test": rows[1:2]}
    return ImageDataset(
        "x", ImageFiles(files, ((side, 200),) * len(files)), labels, ("ants", "bees"),
        None, 3, "-", "-", splits, "-", skipped, alike,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((20, 60), []),
        ((20, 61), ["bees has 61 images, ants 20: read the accuracy of each class"]),
        ((40, 19), ["bees has only 19 images"]),
    ],
)
def test_sizes_of_classes(counts, expected):
    lines = check_images(described(counts), 64)
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True))


def test_tiny_images_are_those_below_half_the_size():
    assert check_images(described((20, 20), side=32), 64) == []
    (line,) = check_images(described((20, 20), side=31), 64)
    assert line.startswith("40 of 40 images have a side below 32 px and are enlarged to 64 px")


def test_copies_across_splits_and_classes():
    (line,) = check_images(described((20, 20), alike=((2, 3), (5, 6, 7))), 64)
    assert "quality: 2, 5 images in all, such as 2.png, 3.png" in line
    _, across = check_images(described((20, 20), alike=((1, 2),)), 64)
    assert across.startswith(
        "pictures in two of your train, val and test folders: 1, such as 1.png"
    )
    _, torn = check_images(described((20, 20), alike=((19, 20),)), 64)
    assert torn == "pictures under two classes: 1, such as 19.png and 20.png"


def test_five_of_the_files_left_out_are_named():
    five = tuple("abcde")
    assert check_images(described((20, 20), skipped=five), 64)[-1] == "left out: e"
    assert check_images(described((20, 20), skipped=(*five, "f")), 64)[-1] == "left out: 1 more"
