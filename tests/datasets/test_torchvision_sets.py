"""torchvision's own classes over small trees made here, laid out as theirs."""

import sys

import numpy as np
import pytest
from PIL import Image

from tlcourse.datasets import load_dataset
from tlcourse.errors import DatasetError


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), (value, 0, 0)).save(path)


def test_a_set_without_official_parts_is_split(tmp_path):
    for label in ("Forest", "River"):
        for i in range(20):
            save(tmp_path / "eurosat" / "2750" / label / f"{label}_{i}.jpg", 5 * i)
    dataset = load_dataset("eurosat", root=tmp_path)
    assert dataset.class_names == ("Forest", "River")
    assert {part: len(indices) for part, indices in dataset.splits.items()} == {
        "train": 24,
        "validation": 6,
        "test": 10,
    }
    images, labels = dataset.tensors("test", 32)
    assert images.shape == (10, 3, 32, 32)
    assert np.bincount(labels).tolist() == [5, 5]


def test_official_parts_are_kept(tmp_path):
    folder = tmp_path / "dtd" / "dtd"
    for part, count in {"train": 8, "val": 4, "test": 2}.items():
        lines = []
        for i in range(count):
            label = ("dotted", "woven")[i % 2]
            save(folder / "images" / label / f"{part}{i}.jpg", i)
            lines.append(f"{label}/{part}{i}.jpg")
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{part}1.txt").write_text("\n".join(lines))
    dataset = load_dataset("dtd", root=tmp_path)
    sizes = {part: len(indices) for part, indices in dataset.splits.items()}
    assert sizes == {"train": 8, "validation": 4, "test": 2}
    assert dataset.labels[dataset.splits["test"]].tolist() == [0, 1]
    assert dataset.images[13].mode == "RGB"
    assert dataset.images[-1].tobytes() == dataset.images[13].tobytes()
    with pytest.raises(IndexError):
        dataset.images[14]


def test_a_missing_set_says_how_to_get_it(tmp_path):
    with pytest.raises(DatasetError) as error:
        load_dataset("oxford_iiit_pet", root=tmp_path)
    for part in (str(tmp_path), "790 MB", "CC BY-SA 4.0", "download=True"):
        assert part in str(error.value)
    assert not any(tmp_path.iterdir())  # nothing was fetched or left


def test_pcam_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DatasetError, match="pip install h5py"):
        load_dataset("pcam", root=tmp_path)


def test_pcam_labels_are_read_from_their_own_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "pcam").mkdir()
    truth = {"train": [0, 1, 1, 0], "valid": [1, 0], "test": [0, 1]}
    for part, labels in truth.items():
        base = f"camelyonpatch_level_2_split_{part}"
        images = np.zeros((len(labels), 96, 96, 3), np.uint8)
        targets = np.array(labels, np.uint8).reshape(-1, 1, 1, 1)
        for suffix, key, values in (("x", "x", images), ("y", "y", targets)):
            with h5py.File(tmp_path / "pcam" / f"{base}_{suffix}.h5", "w") as file:
                file[key] = values
    dataset = load_dataset("pcam", root=tmp_path)
    assert dataset.labels.tolist() == [0, 1, 1, 0, 1, 0, 0, 1]
    assert dataset.tensors("test", 32)[1].tolist() == [0, 1]
