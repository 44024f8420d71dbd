"""From images to a trained model: what is tried, which is kept, and how an interrupted fit ends."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlcourse.advice import following
from tlcourse.advice.strategy_training import Trained
from tlcourse.errors import OutputError
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.own_images import fitting, source_folder
from tlcourse.own_images.fitting import advise_on, fit_images, read_images
from tlcourse.own_images.source_folder import fit_folder


@pytest.fixture
def images(tmp_path) -> Path:
    """Two classes of 20, dark and bright: a training learns something from them."""
    generator = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "images" / ("bright", "dark")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 120, (32, 32, 3), dtype=np.uint8) + 60 * (1 - number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "images"


@pytest.fixture
def small() -> Backbone:
    return load_backbone("tlcourse/resnet20", pretrained=False, seed=0)


def test_an_interrupted_fit_goes_on_to_the_same_model(images, small, tmp_path, monkeypatch):
    monkeypatch.setattr(source_folder, "load_backbone", lambda name: small)
    for export in ("export_torch", "export_onnx"):  # they come after the model and take long
        monkeypatch.setattr(source_folder, export, lambda folder, images: None)
    monkeypatch.setattr(fitting, "STEPS", 10)
    monkeypatch.setattr(following, "TUNING_STEPS", 10)
    quiet, output = tmp_path / "quiet", tmp_path / "out"
    options = {"image_size": 32, "strategy": "head_first"}

    def interrupt(line: str) -> None:
        if line.startswith("epoch 4"):
            raise KeyboardInterrupt

    told: list[str] = []
    fit_folder(images, quiet, **options, say=told.append)
    assert sum(line.startswith("epoch ") for line in told) == 10  # of the full training alone
    with pytest.raises(KeyboardInterrupt):
        fit_folder(images, output, **options, say=interrupt)
    assert not (output / "model.json").exists()
    with pytest.raises(OutputError, match="with other images or options"):
        fit_folder(images, output, image_size=32, strategy="one_rate")
    left, *_ = (output / "checkpoints").glob("*/* short")
    half = left / f".phase0.pt.{32 * '0'}.partial"  # as a killed process leaves it
    half.touch()
    lines: list[str] = []

    def say(line: str) -> None:
        assert not half.exists()  # gone before anything is done
        lines.append(line)

    fit_folder(images, output, **options, say=say)
    assert [line for line in lines if line.startswith("epoch ")] == [
        line for line in told if line.startswith("epoch ")
    ][4:]  # four were done
    sha256 = [json.loads((m / "model.json").read_text())["sha256"] for m in (output, quiet)]
    assert sha256[0] == sha256[1]
    assert not (output / "checkpoints").exists()
    assert "Accuracy over 10 epochs" in (output / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("reached", "tried", "kept"),
    [
        ({"probe": 0.8, "one_rate": 0.9}, ["probe", "one_rate"], "one_rate"),
        ({"probe": 0.9, "one_rate": 0.9}, ["probe", "one_rate"], "probe"),  # the cheaper of equals
        ({"probe": 1.0, "one_rate": 1.0}, ["probe"], "probe"),  # nothing is left to gain
    ],
)
def test_a_probe_is_tried_before_the_advised_strategy_and_the_better_on_validation_is_kept(
    reached, tried, kept, images, small, monkeypatch
):
    own = read_images(small, images, seed=0, image_size=32)
    advice = replace(advise_on(small, own, seed=0), strategy="one_rate")
    followed = []

    def follow(backbone, strategy, *data, **options):
        followed.append(strategy.name)
        network = load_backbone(backbone.name, pretrained=False, num_classes=2)
        row = {"best": True, "validation_accuracy": reached[strategy.name]}
        return Trained(network, pd.DataFrame([row]))

    monkeypatch.setattr(fitting, "advise_on", lambda *_, **__: advice)
    monkeypatch.setattr(fitting, "follow", follow)
    fitted = fit_images(small, own, seed=0)
    assert followed == tried and fitted.strategy == kept
    assert fitted.tried == {name: reached[name] for name in tried}
