"""A user's folder, friendly and hostile."""

import os
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcourse.datasets import load_folder
from tlcourse.datasets.images import open_image
from tlcourse.errors import DatasetError, ImageError


def save(path: Path, color=(10, 20, 30), size=(40, 30), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of eight different images."""
    for label, red in {"ants": 0, "bees": 200}.items():
        for i in range(8):
            save(tmp_path / label / f"{i}.png", (red, 5 * i, 0))
    return tmp_path


def test_a_class_a_folder(folder):
    dataset = load_folder(folder)
    assert dataset.class_names == ("ants", "bees")
    assert len(dataset) == 16 and dataset.skipped == ()
    assert (dataset.size, dataset.channels) == ((30, 40), 3)
    images, labels = dataset.tensors("train", 32)
    assert images.shape[1:] == (3, 32, 32)
    assert ((images[:, 0] == 200).all(dim=(1, 2)) == (labels == 1)).all()


def test_train_val_and_test_folders_are_kept(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("presplit")
    for part in ("train", "val"):
        for i in range(8):
            save(root / part / "ants" / f"{part}{i}.png", (i, len(part), 0))
            save(root / part / "bees" / f"{part}{i}.png", (i, len(part), 99))
    dataset = load_folder(root)
    names = [file.parts[-3] for file in dataset.images.files]
    assert {names[i] for i in dataset.splits["validation"]} == {"val"}
    assert {names[i] for i in dataset.splits["train"]} == {"train"}
    assert {names[i] for i in dataset.splits["test"]} == {"train"}  # carved out
    assert "test is a quarter of train" in dataset.split_note


def test_what_cannot_be_read_is_left_out_and_reported(folder):
    (folder / "ants" / "empty.png").touch()
    (folder / "ants" / "notes.txt").write_text("not an image")
    (folder / "bees" / "text.jpg").write_text("an image by name only")
    whole = (folder / "bees" / "0.png").read_bytes()
    (folder / "bees" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "loose.png").write_bytes(whole)
    (folder / ".DS_Store").touch()
    (folder / "ants" / ".hidden.png").write_bytes(b"junk")
    with pytest.warns(
        UserWarning, match="16 images are used, 5 files or folders are left out"
    ) as caught:
        dataset = load_folder(folder)
    assert len(caught) == 1
    assert len(dataset) == 16
    for name, why in {
        "empty.png": "the file is empty",
        "notes.txt": "not an image file by its name",
        "text.jpg": "not an image that can be read",
        "truncated.png": "damaged or truncated",
        "loose.png": "lies outside the class folders",
    }.items():
        assert any(name in line and why in line for line in dataset.skipped), name


def test_copies_stay_together_and_contradictions_are_left_out(folder):
    for i in range(6):
        (folder / "ants" / f"copy{i}.png").write_bytes((folder / "ants" / "0.png").read_bytes())
    (folder / "bees" / "also.png").write_bytes((folder / "ants" / "1.png").read_bytes())
    with pytest.warns(UserWarning, match="the same file stands under ants and bees"):
        dataset = load_folder(folder)
    copies = {
        i for i, f in enumerate(dataset.images.files) if "copy" in f.name or f.name == "0.png"
    }
    copies = {i for i in copies if dataset.labels[i] == 0}
    assert len(copies) == 7
    assert tuple(sorted(copies)) in dataset.alike
    assert sum(bool(copies & set(part)) for part in dataset.splits.values()) == 1
    assert len(dataset) == 16 + 6 - 1


def test_a_loop_of_links_ends_and_odd_names_work(folder):
    save(folder / "bees" / ("ü" * 60 + " 蜂.png"), (7, 7, 7))
    try:
        os.symlink(folder, folder / "ants" / "loop", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.warns(UserWarning, match="loop: a link to a folder, not entered"):
        assert len(load_folder(folder)) == 17
    (folder / "ants" / "loop").unlink()
    os.symlink(folder / "ants", folder / "wasps", target_is_directory=True)
    with pytest.warns(UserWarning, match="wasps: a link to a folder, not entered"):
        assert load_folder(folder).class_names == ("ants", "bees")


def test_a_class_may_be_called_train(folder):
    (folder / "ants").rename(folder / "train")
    with pytest.warns(UserWarning, match="train is read as a class, though"):
        assert load_folder(folder).class_names == ("bees", "train")


def presplit(root: Path, parts: dict[str, int]) -> Path:
    for p, (part, count) in enumerate(parts.items()):
        for i in range(count):
            for c, label in enumerate(("ants", "bees")):
                save(root / part / label / f"{i}.png", (i, p, c))
    return root


def test_train_holds_no_copy_of_a_test_image(tmp_path):
    presplit(tmp_path, {"train": 8, "valid": 3, "test": 4})
    copy = tmp_path / "train" / "ants" / "copy.png"
    copy.write_bytes((tmp_path / "test" / "ants" / "0.png").read_bytes())
    with pytest.warns(UserWarning, match=r"copy.png: the same file stands in test, too"):
        dataset = load_folder(tmp_path)
    assert [len(dataset.splits[s]) for s in ("train", "validation", "test")] == [16, 6, 8]
    assert copy not in dataset.images.files


def test_copies_stay_together_when_a_part_is_carved_out_of_train(tmp_path):
    presplit(tmp_path, {"train": 12, "valid": 3})
    for i in range(6):
        copy = tmp_path / "train" / "ants" / f"copy{i}.png"
        copy.write_bytes((tmp_path / "train" / "ants" / "0.png").read_bytes())
    for seed in range(4):
        dataset = load_folder(tmp_path, split_seed=seed)
        copies = {i for i, f in enumerate(dataset.images.files) if "copy" in f.name}
        assert sum(bool(copies & set(part)) for part in dataset.splits.values()) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "is not there; expected FOLDER/class name/image files"),
        (lambda p: p.write_text("x"), "is a file"),
        (lambda p: p.mkdir(), "has no class; expected"),
        (lambda p: save(p / "ants" / "1.png"), r"one class \(ants\)"),
        (
            lambda p: [save(p / part / "1.png") for part in ("train", "test")],
            "has no class; .*1.png",
        ),
        (lambda p: presplit(p, {"val": 5, "test": 5}), "no usable image in a train folder"),
        (
            lambda p: (presplit(p, {"train": 8, "val": 4, "test": 4}), save(p / "test/c/1.png")),
            "no image of c is in train",
        ),
        (
            lambda p: (presplit(p, {"train": 8}), (p / "train" / "empty").mkdir()),
            "no usable image in class empty",
        ),
        (
            lambda p: (save(p / "a" / "1.png"), (p / "b").mkdir(), (p / "b" / "x.png").touch()),
            "no usable image in class b; add .* first left out: .*the file is empty",
        ),
        (
            lambda p: (save(p / "a" / "1.png"), save(p / "b" / "1.png", (1, 1, 1))),
            "class 'a' has 1 different images .* at least 7 are needed",
        ),
    ],
)
def test_folders_without_two_classes_are_refused(tmp_path, make, message):
    make(tmp_path / "images")
    with pytest.raises(DatasetError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_folder(tmp_path / "images")


def array(image) -> np.ndarray:
    return np.asarray(image)


def test_grey_colour_and_depth_become_8_bit(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.full((9, 9), 65535, np.uint16)).save(path)
    assert open_image(path).mode == "L" and (array(open_image(path)) == 255).all()
    Image.fromarray(np.full((9, 9), 257 * 100, np.uint16)).save(path)
    assert (array(open_image(path)) == 100).all()  # not clipped, as PIL's own convert does
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(path)
    assert open_image(path).mode == "RGB" and (array(open_image(path)) == 255).all()
    Image.new("LA", (9, 9), (0, 255)).save(path)
    assert (array(open_image(path)) == 0).all()
    Image.new("1", (9, 9), 1).save(path)
    assert (array(open_image(path)) == 255).all()
    Image.new("P", (9, 9), 0).save(path, transparency=0)
    assert (array(open_image(path)) == 255).all()
    Image.new("CMYK", (9, 9), (0, 0, 0, 0)).save(tmp_path / "x.jpg")
    assert (array(open_image(tmp_path / "x.jpg")) == 255).all()


def test_a_photograph_taken_sideways_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90°
    path = save(tmp_path / "x.jpg", size=(40, 30), exif=exif)
    assert open_image(path).size == (30, 40)


def test_absurd_sizes_and_depths_are_refused_before_decoding(tmp_path):
    huge = tmp_path / "huge.png"
    save(huge, size=(9, 9))
    content = bytearray(huge.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2  # width and height in the PNG header
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    huge.write_bytes(content)
    with pytest.raises(ImageError, match="above 50 megapixels"):
        open_image(huge)
    with pytest.raises(ImageError, match="9 × 7 px is too small; each side needs 8"):
        open_image(save(tmp_path / "thin.png", size=(9, 7)))
    with pytest.raises(ImageError, match="EPS is a drawing"):
        open_image(save(tmp_path / "drawing.eps"))
    Image.new("F", (9, 9)).save(tmp_path / "float.tiff")
    with pytest.raises(ImageError, match="32-bit values"):
        open_image(tmp_path / "float.tiff")


def test_the_smallest_and_the_narrowest_image_that_is_taken(tmp_path):
    assert open_image(save(tmp_path / "small.png", size=(8, 8))).size == (8, 8)
    assert open_image(save(tmp_path / "strip.png", size=(400, 8))).size == (400, 8)
    with pytest.raises(ImageError, match="401 × 8 px is a strip; one side may be 50 times"):
        open_image(save(tmp_path / "strip.png", size=(401, 8)))


def test_a_damaged_file_and_one_without_permission_are_told_apart(tmp_path, monkeypatch):
    path = save(tmp_path / "x.png")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageError, match=r"x.png: damaged or truncated$"):
        open_image(path)

    def refuse(_):
        raise PermissionError(13, "refused")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ImageError, match="may not be read"):
        open_image(path)
