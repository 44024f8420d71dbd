"""Trees of folders with any names: every image is used or said to be left out, once, and its class
is what predict would call the truth."""

import os
import unicodedata
import warnings
from pathlib import Path

import numpy as np
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlcourse.datasets import load_folder
from tlcourse.datasets.layouts import is_clutter, true_class, unwrapped
from tlcourse.errors import DatasetError

SPLIT_NAMES = ["train", "test", "val", "Training", "seg_test", "training_set", "test_set"]
CLASS_NAMES = ["ants", "bees", "käfer", unicodedata.normalize("NFD", "käfer"), "a b", "蜂"]
OTHERS = ["__MACOSX", "@eaDir", ".hidden", "bullet_train", "contest", "photos"]
FILES = st.lists(st.sampled_from(["image"] * 6 + ["text", "empty", "link", "._x.png"]), max_size=3)
CHARACTERS = st.characters(exclude_characters='/\0\\:*?"<>|', exclude_categories=["Cs"])
NAMES = st.sampled_from(CLASS_NAMES * 3 + SPLIT_NAMES + OTHERS) | st.text(
    CHARACTERS, min_size=1, max_size=4
).filter(lambda name: name.strip(". ") and name.isprintable())
CLASS = st.tuples(FILES, st.just({}))
TREES = st.recursive(
    CLASS,
    lambda trees: st.tuples(FILES, st.dictionaries(NAMES, trees, max_size=4)),
    max_leaves=12,
)


def grow(folder: Path, tree, generator: np.random.Generator, least: int) -> None:
    """Write a tree; a folder with images has ``least`` of them."""
    files, folders = tree
    folder.mkdir(exist_ok=True)
    for i, kind in enumerate(files + ["image"] * (least if "image" in files else 0)):
        path = folder / f"{i}.png"
        if kind == "image":
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        elif kind == "link":
            try:
                os.symlink(folder, path, target_is_directory=True)
            except OSError:
                continue
        else:
            (path if kind != "._x.png" else folder / kind).write_text(
                "" if kind == "empty" else kind
            )
    for name, inside in folders.items():
        grow(folder / name, inside, generator, least)


def visible(root: Path) -> list[Path]:
    """Files and links, without clutter."""
    found = []
    for child in root.iterdir():
        if is_clutter(child.name):
            continue
        found += visible(child) if child.is_dir() and not child.is_symlink() else [child]
    return found


@fuzz
@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=5), st.integers(0, 9))
def test_every_file_is_used_or_named(tmp_path_factory, folders, seed):
    root = tmp_path_factory.mktemp("f")
    grow(root, ([], folders), np.random.default_rng(seed), least=9)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = load_folder(root)
    except DatasetError as error:
        assert "\n" not in str(error)
        return
    used = dataset.images.files
    left_out = [Path(line.split(": ")[0]) for line in dataset.skipped]
    for file in visible(root):
        named = sum(file == out or file.is_relative_to(out) for out in left_out)
        assert (file in used) + named == 1, file
    assert all(unicodedata.is_normalized("NFC", name) for name in dataset.class_names)
    for file, label in zip(used, dataset.labels, strict=True):
        assert unicodedata.normalize("NFC", str(file)).count(dataset.class_names[label])
        truth = true_class(file, unwrapped(root), dataset.class_names)
        assert truth == dataset.class_names[label], file
    held_out = {split: {used[i] for i in dataset.splits[split]} for split in ("train", "test")}
    assert not held_out["train"] & held_out["test"]
