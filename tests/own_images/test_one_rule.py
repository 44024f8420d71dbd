"""What fit reads, predict reads, under the same class; without a training."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tlcourse.cli import main
from tlcourse.datasets import load_folder
from tlcourse.errors import BackboneError
from tlcourse.networks.backbones import load_backbone
from tlcourse.own_images.export import save_model
from tlcourse.own_images.fitting import read_images
from tlcourse.own_images.load_model import load_model, prepare
from tlcourse.own_images.model_folder import explain_files, predict_files


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Untrained, of two classes, for 12-bit files."""
    folder = tmp_path_factory.mktemp("model")
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=2, seed=1)
    sizes = {"image_size": 32, "resize_size": 32, "interpolation": "bilinear", "bits": 12}
    save_model(backbone, folder, {"classes": ["ants", "bees"], **sizes})
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """Links to 12-bit files in a folder named after one class, and what a Mac adds."""
    generator = np.random.default_rng(0)
    root = tmp_path / "images"
    for i in range(16):
        original = tmp_path / "bees" / f"{i}.png"
        original.parent.mkdir(exist_ok=True)
        pixels = generator.integers(0, 4096, (40, 40), dtype=np.uint16)
        Image.fromarray(pixels).save(original)
        link = root / ("ants", "bees")[i % 2] / f"{i}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(original)
        except OSError:
            pytest.skip("no symbolic links here")
    (root / "ants" / "._0.png").write_bytes(b"fork")
    (root / "ants" / "notes.txt").write_text("seen on Monday")
    return root


def test_fit_and_predict_read_the_same_files_under_the_same_classes(model, folder):
    with pytest.warns(UserWarning, match="scaled from 12 bits"):
        dataset = load_folder(folder)
    answers = predict_files(model, folder)
    table = answers.table.set_index("file")
    names = [dataset.class_names[label] for label in dataset.labels]
    assert dict(table["truth"]) == dict(zip(map(str, dataset.images.files), names, strict=True))
    assert answers.unreadable == dataset.skipped and len(answers.unreadable) == 1
    network, settings = load_model(model)
    images = torch.stack([prepare(image, settings) for image in dataset.images])
    expected = network(images).softmax(dim=1).amax(dim=1).tolist()
    confidence = table["confidence"][list(map(str, dataset.images.files))]
    assert confidence.tolist() == pytest.approx(expected, abs=1e-5)


def test_an_archive_is_predicted_and_explained_like_its_folder(model, folder, tmp_path, capsys):
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in folder.rglob("*"):
            if file.is_file():
                target.write(file, Path("holiday") / file.relative_to(folder))
        target.writestr("__MACOSX/holiday/ants/._0.png", b"fork")
    assert main(["predict", str(model), str(archive), "--score"]) == 0
    printed = capsys.readouterr()
    rows = [line.split(",") for line in printed.out.splitlines()[1:-1]]
    inside = {row[0].replace("\\", "/").split("images.zip/holiday/")[1]: row[3] for row in rows}
    assert len(inside) == 16 and all(name.split("/")[0] == truth for name, truth in inside.items())
    assert f"left out: {archive}" in printed.err and "._0.png" not in printed.err
    assert len(explain_files(model, archive, tmp_path / "why").written) == 16


@pytest.mark.parametrize("size", [0, -5])
def test_a_size_below_1_is_refused_not_replaced(folder, size):
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=2)
    with pytest.raises(BackboneError, match=f"image_size is {size}"):
        read_images(backbone, folder, seed=0, image_size=size)
