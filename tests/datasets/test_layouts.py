"""Folders as people have them: which file is of which class and split, for fit and predict."""

import os
import struct
import unicodedata
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcourse.datasets import check_images, load_folder
from tlcourse.datasets.images import open_image
from tlcourse.datasets.layouts import read_layout, split_of, true_class, walk
from tlcourse.errors import DatasetError, ImageError

KINDS = ("ants", "bees")


def fill(folder: Path, seed: int = 0, count: int = 8, suffix: str = "png") -> Path:
    """Different images, of which no two look alike."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(zlib.crc32(os.fsencode(folder)) + seed)
    for i in range(count):
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.{suffix}")
    return folder


def loaded(root: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_folder(root)


def read(root: Path) -> dict[str, set[str]]:
    """Split → folders of its images, below the root."""
    dataset = loaded(root)
    return {
        split: {str(dataset.images.files[i].parent.relative_to(root)) for i in indices}
        for split, indices in dataset.splits.items()
    }


@pytest.mark.parametrize(
    ("split", "names"),
    {
        "train": "train Training TRAIN training_set seg_train TrainSet trainset train2017 trainval",
        "validation": "val valid Validation val_images dev",
        "test": "test Testing test_set seg_test testset Test-Data test1",
        "": "contest trains tests validity trainers attested train_test latest ants 1",
    }.items(),
)
def test_one_vocabulary_of_splits(split, names):
    assert {split_of(name) for name in names.split()} == {split}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("wrapped/deep/train", "wrapped/deep/test"),
    ],
)
def test_folders_of_splits_are_found_whatever_they_are_called(tmp_path, train, test):
    for split in (train, test):
        for kind in KINDS:
            fill(tmp_path / split / kind)
    dataset = loaded(tmp_path)
    assert dataset.class_names == KINDS and dataset.skipped == ()
    splits = read(tmp_path)
    assert splits["test"] == {f"{test}/{kind}" for kind in KINDS}
    assert splits["train"] | splits["validation"] == {f"{train}/{kind}" for kind in KINDS}
    said = " ".join(check_images(dataset, 8))
    assert (train == "Training") != ("as train" in said or "the only folder there" in said)


def test_splits_below_each_class_are_kept(tmp_path):
    for kind in KINDS:
        fill(tmp_path / kind / "train")
        fill(tmp_path / kind / "test")
    dataset = loaded(tmp_path)
    assert dataset.class_names == KINDS and "in each class" in dataset.notes[0]
    assert read(tmp_path)["test"] == {"ants/test", "bees/test"}
    fill(tmp_path / "wasps")  # has no test: the folders are parts of their classes
    dataset = loaded(tmp_path)
    assert len(dataset) == 40 and sum("part of its class" in note for note in dataset.notes) == 4


def test_classes_below_train_are_these_whatever_lies_beside_it(tmp_path):
    for kind in KINDS:
        fill(tmp_path / "train" / kind)
    fill(tmp_path / "extra")
    assert loaded(tmp_path).class_names == KINDS


def test_a_class_named_like_a_split_is_noted(tmp_path):
    for kind in ("bullet_train", "car"):
        fill(tmp_path / kind / "red")
    with pytest.warns(UserWarning, match="bullet_train is read as a class"):
        assert load_folder(tmp_path).class_names == ("bullet_train", "car")
    for kind in ("test_paper", "test_tube"):
        fill(tmp_path / "laboratory" / kind)
    assert loaded(tmp_path / "laboratory").class_names == ("test_paper", "test_tube")


def test_folders_with_the_same_folders_in_them_may_not_be_the_classes(tmp_path):
    for name in ("site1/ants", "site1/bees", "site2/ants", "site2/bees", "site2/wasps"):
        (tmp_path / name).mkdir(parents=True)
    (note,) = read_layout(tmp_path).notes
    assert note.startswith("each class holds the folders ants, bees, read as its parts")
    assert note.endswith("merge site1, site2")
    (tmp_path / "site3" / "ants").mkdir(parents=True)
    assert not read_layout(tmp_path).notes


def test_what_systems_leave_behind_is_no_class_and_no_image(tmp_path):
    for kind in KINDS:
        fill(tmp_path / kind)
        fill(tmp_path / kind / "@eaDir", seed=1)
        (tmp_path / kind / "Thumbs.db").write_bytes(b"thumbs")
        (tmp_path / kind / ".DS_Store").write_bytes(b"store")
        (tmp_path / kind / "._0.png").write_bytes(b"fork")
    fill(tmp_path / "__MACOSX" / "ants")
    dataset = load_folder(tmp_path)
    assert (dataset.class_names, len(dataset), dataset.skipped) == (KINDS, 16, ())
    assert len(list(walk(tmp_path))) == 16


def test_accents_composed_and_decomposed_are_one_class(tmp_path):
    name = "käfer"
    for kind in (name, "ants"):
        fill(tmp_path / "train" / unicodedata.normalize("NFC", kind))
        fill(tmp_path / "test" / unicodedata.normalize("NFD", kind))
    dataset = loaded(tmp_path)
    assert dataset.class_names == ("ants", unicodedata.normalize("NFC", name))
    assert len(dataset.splits["test"]) == 16
    for form in ("NFC", "NFD"):
        file = tmp_path / unicodedata.normalize(form, name) / "1.png"
        assert true_class(file, tmp_path, dataset.class_names) == dataset.class_names[1]


def test_the_outermost_folder_names_the_class_for_fit_and_for_predict(tmp_path):
    root = tmp_path / "ants"  # a project in a folder with a class's name
    for kind in KINDS:
        fill(root / kind)
    fill(root / "ants" / "bees", seed=1)
    fill(root / "ants" / "red" / "bees", seed=2)
    dataset = loaded(root)
    for file, label in zip(dataset.images.files, dataset.labels, strict=True):
        assert true_class(file, root, KINDS) == KINDS[label]
    inner = root / "ants" / "bees" / "0.png"
    assert [true_class(inner, p, KINDS) for p in (inner.parent, inner)] == ["ants", "ants"]
    bee = root / "bees" / "0.png"
    assert [true_class(bee, p, KINDS) for p in (bee.parent, bee)] == ["bees", "bees"]
    assert true_class(tmp_path / "1.png", tmp_path, KINDS) is None


def test_a_class_may_be_called_train_below_train(tmp_path):
    for split in ("train", "test"):
        for kind in ("car", "train"):
            fill(tmp_path / split / kind)
    dataset = loaded(tmp_path)
    assert dataset.class_names == ("car", "train") and dataset.skipped == ()
    truth = [true_class(file, tmp_path, dataset.class_names) for file in dataset.images.files]
    assert truth == [dataset.class_names[label] for label in dataset.labels]


def test_links_count_by_their_own_path(tmp_path):
    pool = fill(tmp_path / "pool" / "bees", count=16)
    for i in range(16):
        link = tmp_path / "images" / KINDS[i % 2] / f"{i}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(pool / f"{i}.png")
        except OSError:
            pytest.skip("no symbolic links here")
    dataset = loaded(tmp_path / "images")
    assert dataset.counts()["all"].tolist() == [8, 8]
    truth = [true_class(file, tmp_path / "images", KINDS) for file in dataset.images.files]
    assert truth == [KINDS[label] for label in dataset.labels]
    os.symlink(tmp_path / "nowhere", tmp_path / "images" / "ants" / "gone.png")
    assert "a link to nothing" in loaded(tmp_path / "images").skipped[0]


def test_names_that_are_not_utf8_are_said_early(tmp_path):
    for kind in KINDS:
        fill(tmp_path / kind)
    try:
        os.rename(tmp_path / "ants" / "0.png", os.fsencode(tmp_path / "ants") + b"/k\xe4fer.png")
    except OSError:
        pytest.skip("names are UTF-8 here")
    dataset = loaded(tmp_path)
    assert len(dataset) == 15
    assert dataset.skipped[0].endswith(r"k\xe4fer.png: its name is not UTF-8; rename it")
    os.rename(tmp_path / "bees", os.fsencode(tmp_path) + b"/\xfcbel")
    with pytest.raises(DatasetError, match=r"\\xfcbel: the class's name is not UTF-8"):
        load_folder(tmp_path)


def test_content_decides_what_is_an_image(tmp_path):
    for kind in KINDS:
        fill(tmp_path / kind)
    for name in ("photo.heic", "no_suffix", "photo.txt"):
        fill(tmp_path / "new", count=1, seed=len(name), suffix="jpg")
        os.replace(tmp_path / "new" / "0.jpg", tmp_path / "ants" / name)
        assert open_image(tmp_path / "ants" / name).size == (8, 8)
    (tmp_path / "new").rmdir()
    (tmp_path / "bees" / "iphone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    header = bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 9, 0, 24, 0])  # a TGA of 9 × 9 px
    (tmp_path / "bees" / "table.bin").write_bytes(header + bytes(243))
    (tmp_path / "bees" / "film.jpg").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))
    dataset = loaded(tmp_path)
    assert len(dataset) == 19
    assert dataset.skipped[0].endswith("film.jpg: not an image that can be read")
    assert dataset.skipped[1].endswith(
        "a HEIC photograph; save it as JPEG, or read it through pillow-heif"
    )
    assert dataset.skipped[2].endswith("not an image file by its name, nor by its content")
    os.rename(tmp_path / "bees" / "table.bin", tmp_path / "bees" / "table.tga")
    assert len(loaded(tmp_path)) == 20


def deep(path: Path, top: int, bits_up: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(len(str(path)) + top)
    pixels = generator.integers(0, top + 1, (16, 16)) * bits_up
    pixels[0, 0], pixels[0, 1] = top * bits_up, 0
    Image.fromarray(pixels.astype(np.uint16)).save(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_files_are_scaled_from_the_bits_that_all_together_use(tmp_path, bits):
    top = 2**bits - 1
    for k, kind in enumerate(KINDS):
        for i in range(8):
            deep(tmp_path / kind / f"{i}{'x' * k * 9}.png", (top >> (i == 3)) - i * (i != 0))
    dataset = loaded(tmp_path)
    for file, image in zip(dataset.images.files, dataset.images, strict=True):
        raw = np.asarray(Image.open(file)).astype(float)
        assert np.abs(np.asarray(image) - raw / top * 255).max() <= 0.5
    assert (f"scaled from {bits} bits" in "".join(dataset.notes)) == (bits < 16)
    if bits == 16:
        deep(tmp_path / "bees" / "dark.png", 4095)
        assert "1 of 17 16-bit files have no value above 4095" in loaded(tmp_path).notes[0]


def test_white_chalk_is_seen_on_black_and_other_drawings_on_white(tmp_path):
    chalk = Image.new("RGBA", (9, 9), (255, 255, 255, 0))
    chalk.putpixel((4, 4), (255, 255, 255, 128))
    chalk.save(tmp_path / "chalk.png")
    seen = open_image(tmp_path / "chalk.png")
    assert (seen.getpixel((4, 4)), seen.getpixel((0, 0))) == ((128,) * 3, (0,) * 3)
    ink = Image.new("RGBA", (9, 9), (0, 0, 0, 0))
    ink.putpixel((4, 4), (0, 0, 0, 255))
    ink.save(tmp_path / "ink.png")
    seen = open_image(tmp_path / "ink.png")
    assert (seen.getpixel((4, 4)), seen.getpixel((0, 0))) == ((0,) * 3, (255,) * 3)


def test_a_document_gives_its_first_page_and_that_is_noted(tmp_path):
    for kind in KINDS:
        fill(tmp_path / kind)
    first, second = (Image.new("L", (9, 9), level) for level in (10, 20))
    first.save(tmp_path / "ants" / "pages.tiff", save_all=True, append_images=[second])
    assert open_image(tmp_path / "ants" / "pages.tiff").getpixel((0, 0)) == 10
    (note,) = loaded(tmp_path).notes
    assert note.startswith("of 1 files with several pages the first is used")


def test_dark_deep_colour_is_left_out_rather_than_black(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(_png_of_16_bit_colour(np.full((9, 9, 3), 4000)))
    with pytest.raises(ImageError, match="12 bits or fewer are used"):
        open_image(path)
    path.write_bytes(_png_of_16_bit_colour(np.full((9, 9, 3), 257 * 100)))
    assert open_image(path).getpixel((0, 0)) == (100, 100, 100)


def _png_of_16_bit_colour(pixels: np.ndarray) -> bytes:
    """As the PNG standard has it, which PIL does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body
