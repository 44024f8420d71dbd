"""Photographs of animals and plants with their background cut away, close to ImageNet's domain."""

import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from tlcourse.datasets.dataset import ImageDataset, ImageFiles
from tlcourse.datasets.images import on_white
from tlcourse.datasets.splits import make_splits
from tlcourse.errors import DatasetError
from tlcourse.runtime import DATA_DIR

FOLDER = DATA_DIR / "cutouts"
SIZE = 160


class _OnWhiteSquare(ImageFiles):
    """Cutouts on a white square of 160 px, small ones enlarged."""

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        with Image.open(self.files[index]) as file:
            image = on_white(file)
        scale = SIZE / max(image.size)
        width, height = (max(1, round(scale * side)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        square = Image.new("RGB", (SIZE, SIZE), "white")
        square.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
        return square


def load_cutouts(split_seed: int) -> ImageDataset:
    """The 187 cutouts in seven classes; raises DatasetError when files are missing."""
    rows = read_index()
    files = tuple(FOLDER / row["file"] for row in rows)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} cutouts are missing from data/cutouts, {missing[0]} first; "
            "restore them with: git checkout -- data/cutouts"
        )
    class_names = tuple(sorted({row["class"] for row in rows}))
    labels = np.array([class_names.index(row["class"]) for row in rows])
    _, subjects = np.unique([row["subject"] for row in rows], return_inverse=True)
    return ImageDataset(
        name="cutouts",
        images=_OnWhiteSquare(files),
        labels=labels,
        class_names=class_names,
        size=(SIZE, SIZE),
        channels=3,
        licence="GPL-2.0-only",
        citation=(
            "Tux Paint stamps 2022.06.04, Bill Kendrick and contributors, "
            "as packaged by Debian (tuxpaint-stamps-default)"
        ),
        splits=make_splits(labels, subjects, class_names=class_names, seed=split_seed),
        split_note=(
            "stratified by class; pictures of one animal or fruit stay together. "
            "Two animals of one species may still be on both sides."
        ),
        groups=subjects,
    )


def read_index() -> list[dict[str, str]]:
    """The rows of data/cutouts/index.csv: file, class, subject, origin, width, height, sha256."""
    path = FOLDER / "index.csv"
    if not path.is_file():
        raise DatasetError(
            "data/cutouts/index.csv is missing; work in a clone of the course (pip install -e .), "
            "or restore it with: git checkout -- data/cutouts"
        )
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def damaged_files() -> list[Path]:
    """Cutouts that are missing or whose SHA-256 is not the one in the index."""
    damaged = []
    for row in read_index():
        file = FOLDER / row["file"]
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != row["sha256"]:
            damaged.append(file)
    return damaged
