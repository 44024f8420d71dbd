"""The data sets that need no download: counts against their sources, splits, integrity."""

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
import torchvision
from PIL import Image, ImageDraw
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from torchvision.transforms import v2

from tlcourse.datasets import OFFLINE, ImageDataset, available, load_dataset
from tlcourse.datasets.cutouts import FOLDER, _OnWhiteSquare, damaged_files, read_index
from tlcourse.datasets.solar_cells import infer_modules
from tlcourse.datasets.splits import make_splits
from tlcourse.errors import DatasetError


@pytest.mark.parametrize("name", OFFLINE)
def test_every_set_is_split_into_all_its_images(name):
    dataset = load_dataset(name)
    used = np.concatenate([dataset.splits[s] for s in ("train", "validation", "test")])
    assert sorted(used) == list(range(len(dataset)))
    counts = dataset.counts()
    assert list(counts.columns) == ["train", "validation", "test", "all"]
    assert (counts["all"] == counts[["train", "validation", "test"]].sum(axis=1)).all()
    assert counts["all"].sum() == len(dataset) and (counts > 0).all(axis=None)
    assert dataset.licence and dataset.citation and dataset.split_note
    again, other = load_dataset(name), load_dataset(name, split_seed=1)
    assert np.array_equal(dataset.splits["test"], again.splits["test"])
    assert not np.array_equal(dataset.splits["test"], other.splits["test"])
    image = dataset.images[0]
    assert image.mode == {1: "L", 3: "RGB"}[dataset.channels]
    assert (image.height, image.width) == dataset.size


def test_elpv_is_what_its_package_says():
    dataset = load_dataset("elpv")
    path = next(iter(dataset.images.files)).parents[1] / "labels.csv"
    probabilities = np.loadtxt(path, usecols=1)
    assert np.array_equal(dataset.labels, probabilities >= 0.5)
    assert len(dataset) == 2624


def test_the_inferred_modules_are_the_44_of_the_paper_and_stay_together():
    dataset = load_dataset("elpv")
    folder = next(iter(dataset.images.files)).parents[1]
    types = np.loadtxt(folder / "labels.csv", usecols=2, dtype=str)
    modules = infer_modules(list(types))
    counts = {kind: len(np.unique(modules[types == kind])) for kind in ("mono", "poly")}
    assert counts == {"mono": 18, "poly": 26}  # Deitsch et al. 2019, section 4.1
    assert np.bincount(modules).min() >= 48 and np.bincount(modules).max() <= 72
    parts = [set(modules[dataset.splits[s]]) for s in ("train", "validation", "test")]
    assert sum(map(len, parts)) == 44


def test_cells_of_one_inferred_module_share_more_labels_than_equally_distant_ones():
    dataset = load_dataset("elpv")
    folder = next(iter(dataset.images.files)).parents[1]
    types = np.loadtxt(folder / "labels.csv", usecols=2, dtype=str)
    labels, modules = dataset.labels, infer_modules(list(types))
    runs = np.cumsum(np.r_[0, types[1:] != types[:-1]])

    def advantage(shift: int) -> float:
        """Agreement of labels inside modules minus across borders, at equal distance in a run."""
        shifted = np.concatenate(
            [
                m[np.clip(np.arange(len(m)) - shift, 0, len(m) - 1)]
                for m in (modules[runs == run] for run in range(runs.max() + 1))
            ]
        )
        gaps = []
        for distance in range(1, 30):
            in_run = runs[distance:] == runs[:-distance]
            agree = labels[distance:] == labels[:-distance]
            same = shifted[distance:] == shifted[:-distance]
            gaps.append(agree[in_run & same].mean() - agree[in_run & ~same].mean())
        return float(np.mean(gaps))

    at_borders = advantage(0)
    assert at_borders > 0.05
    assert at_borders > max(advantage(shift) for shift in (-15, -10, -5, 5, 10, 15))


def test_a_cutout_is_enlarged_and_lies_in_the_middle_of_its_square(tmp_path):
    Image.new("RGB", (40, 20), "black").save(tmp_path / "wide.png")
    square = np.asarray(_OnWhiteSquare((tmp_path / "wide.png",))[0])
    assert square.shape == (160, 160, 3)
    assert not square[40:120].any() and (square[:40] == 255).all() and (square[120:] == 255).all()


def test_cutouts_are_intact_and_each_has_its_origin():
    assert damaged_files() == []
    rows = read_index()
    assert len({row["file"].lower() for row in rows}) == len(rows)
    on_disk = {path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.webp")}
    assert {row["file"] for row in rows} == on_disk
    assert all(row["origin"].endswith(".png") for row in rows)
    assert "GNU GENERAL PUBLIC LICENSE" in (FOLDER / "LICENCE").read_text(encoding="utf-8")
    for row in rows:
        with Image.open(FOLDER / row["file"]) as image:
            assert max(image.size) <= 160 and image.mode == "RGBA"


@pytest.fixture(scope="module")
def rebuild():
    spec = importlib.util.spec_from_file_location("rebuild", FOLDER / "rebuild.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.rebuild


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.suffix in (".webp", ".csv")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_rebuilding_cuts_reduces_and_leaves_drawings_out(rebuild, tmp_path):
    source, target = tmp_path / "stamps", tmp_path / "cutouts"
    target.mkdir()
    for name in ("mammals/pig.png", "mammals/cats/cartoon/lion.png", "fish/lobster.png"):
        stamp = Image.new("RGBA", (600, 400))
        ImageDraw.Draw(stamp).ellipse((100, 100, 499, 299), fill="red")
        (source / "animals" / name).parent.mkdir(parents=True)
        stamp.save(source / "animals" / name)
    assert rebuild(source, target) == 2
    first = contents(target)
    assert set(first) == {"index.csv", "mammals/pig.webp", "invertebrates/lobster.webp"}
    with Image.open(target / "mammals" / "pig.webp") as image:
        assert image.size == (160, 80) and image.mode == "RGBA"
    assert rebuild(source, target) == 2 and contents(target) == first


@pytest.mark.skipif("TUXPAINT_STAMPS" not in os.environ, reason="TUXPAINT_STAMPS is not set")
def test_the_cutouts_are_those_of_the_package(rebuild, tmp_path):
    rebuild(Path(os.environ["TUXPAINT_STAMPS"]), tmp_path)
    assert contents(tmp_path) == contents(FOLDER)


def test_pictures_of_one_subject_stay_together():
    subjects = np.array([row["subject"] for row in read_index()])
    for seed in range(5):
        splits = load_dataset("cutouts", split_seed=seed).splits
        parts = [set(subjects[splits[s]]) for s in ("train", "validation", "test")]
        assert sum(map(len, parts)) == len(set(subjects))


def test_digits_are_scikit_learns():
    dataset = load_dataset("digits")
    bunch = sklearn.datasets.load_digits()
    assert np.array_equal(dataset.labels, bunch.target)
    assert np.allclose(np.asarray(dataset.images[5]) / 255 * 16, bunch.images[5], atol=0.04)


def test_rendered_digits_keep_a_font_together():
    dataset = load_dataset("rendered_digits")
    per_font = 10 * 5
    fonts = np.arange(len(dataset)) // per_font
    parts = [set(fonts[dataset.splits[s]]) for s in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(dataset) // per_font > 15


def test_rendered_digits_are_digits():
    """Symbol fonts draw ∞ for 1; scikit-learn's nearest neighbour finds such a font out."""
    dataset = load_dataset("rendered_digits")
    pixels = np.stack([np.asarray(image) for image in dataset.images]).reshape(len(dataset), -1)
    fonts = np.arange(len(dataset)) // 50
    neighbour = KNeighborsClassifier(1)
    right = cross_val_predict(
        neighbour, pixels / 255, dataset.labels, groups=fonts, cv=LeaveOneGroupOut()
    )
    share = [(right == dataset.labels)[fonts == font].mean() for font in np.unique(fonts)]
    assert min(share) > 0.5


@pytest.mark.parametrize(
    ("width", "height"), [(300, 200), (151, 333), (64, 64), (31, 47), (40, 9), (57, 58)]
)
def test_tensors_are_resized_and_cropped_as_torchvision_does(width, height):
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    images = [Image.fromarray(a) for a in arrays]
    labels = np.array([0, 1] * 4)
    splits = {"train": np.arange(4), "validation": np.arange(4, 6), "test": np.arange(6, 8)}
    dataset = ImageDataset("x", images, labels, ("a", "b"), None, 3, "-", "-", splits, "-")
    tensors, targets = dataset.tensors("validation", 50, resize_size=57)
    reference = torchvision.transforms.Compose(
        [v2.Resize(57, v2.InterpolationMode.BICUBIC), v2.CenterCrop(50), v2.PILToTensor()]
    )
    assert torch.equal(tensors, torch.stack([reference(images[i]) for i in (4, 5)]))
    assert targets.tolist() == [0, 1]
    small, _ = dataset.tensors("validation", 57)  # the shorter side, where nothing else is said
    assert torch.equal(small, dataset.tensors("validation", 57, resize_size=57)[0])
    with pytest.raises(DatasetError, match="image_size 58 must be positive and at most resize_si"):
        dataset.tensors("validation", 58, resize_size=57)


def test_splits_are_stratified_and_groups_whole():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    for seed in range(4):
        splits = make_splits(labels, class_names="abc", seed=seed)
        for part, share in {"train": 0.6, "validation": 0.15, "test": 0.25}.items():
            assert len(splits[part]) == pytest.approx(share * 400, abs=2)
            for label in range(3):
                expected = share * (labels == label).sum()
                assert (labels[splits[part]] == label).sum() == pytest.approx(expected, abs=2)
    groups = np.repeat(np.arange(80), 5)
    splits = make_splits(np.repeat(np.arange(80) % 3, 5), groups, class_names="abc", seed=0)
    assert sum(len(set(groups[part])) for part in splits.values()) == 80


def test_what_cannot_be_split_is_refused():
    with pytest.raises(DatasetError, match="class 'rare' has 6 images .* at least 7 are needed"):
        make_splits(np.array([0] * 20 + [1] * 6), class_names=("many", "rare"), seed=0)
    enough = make_splits(np.array([0] * 20 + [1] * 7), class_names=("many", "rare"), seed=0)
    assert all((indices >= 20).any() for indices in enough.values())
    copies = np.array([0] * 20), np.zeros(20, dtype=int)
    with pytest.raises(DatasetError, match="class 'one' has 1 different"):
        make_splits(*copies, class_names=("one",), seed=0)


def test_wrong_descriptions_are_refused():
    good = load_dataset("digits")
    with pytest.raises(DatasetError, match="no split 'val'; splits are train, validation, test"):
        good.tensors("val", 8)
    fields = {**vars(good), "labels": good.labels + 1}
    with pytest.raises(DatasetError, match="labels run from 1 to 10; 10 classes are 0 to 9"):
        ImageDataset(**fields)
    with pytest.raises(DatasetError, match="labels are float64"):
        ImageDataset(**{**vars(good), "labels": good.labels / 2})
    with pytest.raises(DatasetError, match="no interpolation 'cubic'; there are nearest"):
        good.tensors("train", 8, interpolation="cubic")
    with pytest.raises(DatasetError, match="split indices run from 0 to 1797"):
        ImageDataset(**{**vars(good), "splits": {**good.splits, "test": np.array([0, 1797])}})
    with pytest.raises(DatasetError, match="split indices run from -1 to"):
        ImageDataset(**{**vars(good), "splits": {**good.splits, "test": np.array([-1])}})
    with pytest.raises(DatasetError, match="a classifier needs at least two"):
        ImageDataset(**{**vars(good), "class_names": ("0",), "labels": 0 * good.labels})
    with pytest.raises(DatasetError, match="1796 images but 1797 labels"):
        ImageDataset(**{**vars(good), "images": good.images[1:]})
    with pytest.raises(DatasetError, match="no images in test"):
        ImageDataset(**{**vars(good), "splits": {**good.splits, "test": np.array([], int)}})
    with pytest.raises(DatasetError, match="the splits share images"):
        ImageDataset(**{**vars(good), "splits": {s: np.arange(5) for s in good.splits}})
    with pytest.raises(DatasetError, match="did you mean cutouts"):
        load_dataset("cutout")
    assert "cutouts" in available() and "eurosat" in available()


def test_a_missing_or_changed_cutout_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("tlcourse.datasets.cutouts.FOLDER", tmp_path)
    with pytest.raises(DatasetError, match="git checkout -- data/cutouts"):
        load_dataset("cutouts")
    content = b"changed"
    row = {"file": "birds/duck.webp", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "index.csv").write_text("file,sha256\n" + ",".join(row.values()))
    (tmp_path / "birds").mkdir()
    (tmp_path / row["file"]).write_bytes(content)
    assert damaged_files() == []
    (tmp_path / row["file"]).write_bytes(content + b"!")
    assert len(damaged_files()) == 1
