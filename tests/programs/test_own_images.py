"""A stranger's folder in, a model out; and that model in a process without the course."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from tlcourse.advice import following
from tlcourse.cli import main
from tlcourse.datasets import check_images, load_dataset, load_folder, make_scenes
from tlcourse.errors import BackboneError, DatasetError, ImageError, ModelFolderError, OutputError
from tlcourse.networks.backbones import load_backbone, resolve
from tlcourse.networks.heads import mlp_head
from tlcourse.own_images import source_folder
from tlcourse.own_images.export import load_network, save_model
from tlcourse.own_images.fitting import Fitted
from tlcourse.own_images.load_model import load_model, prepare
from tlcourse.own_images.model_folder import explain_files, predict_files
from tlcourse.own_images.source_folder import fit_folder
from tlcourse.tuning.training import predict

HOSTILE = "<script>alert(1)</script> {{ 7*7 }} 🐦 ü"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two classes of 20 scenes, one with a name that a page must not run."""
    root = tmp_path_factory.mktemp("photographs")
    scenes = make_scenes("train", 150, image_size=96, object_size=80, seed=0)
    for name, folder in (("birds", HOSTILE.replace("/", "∕")), ("mammals", "mammals " + "x" * 200)):
        chosen = scenes.images[scenes.labels == scenes.class_names.index(name)][:20]
        (root / folder).mkdir()
        for number, image in enumerate(chosen):
            path = root / folder / f"{number}.jpg"
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return root


@pytest.fixture(scope="module")
def model(photographs) -> Path:
    """Fitted and exported once, by the first process of the session that asks for it."""
    output = Path(os.environ["TLCOURSE_BUILD_DIR"], "model of photographs")
    with FileLock(f"{output}.lock"):
        if not output.exists():
            options = {"image_size": 64, "strategy": "probe", "say": lambda line: None}
            fit_folder(photographs, output, **options)
    return output


def test_everything_is_there_and_the_page_runs_nothing_of_the_users(model):
    assert {path.name for path in model.iterdir()} == {
        "model.safetensors",
        "model.json",
        "load_model.py",
        "model.pt2",
        "model.onnx",
        "history.csv",
        "report.html",
        "MODEL_CARD.md",
    }
    for name in ("report.html", "MODEL_CARD.md"):
        text = (model / name).read_text(encoding="utf-8")
        assert "<script" not in text and "alert(1)" in text  # there, but escaped
        assert "{{ 7*7 }}" in text  # and not taken for a template
    page = (model / "report.html").read_text(encoding="utf-8")
    assert "http" not in page
    assert "Strategy: probe" in page and "Accuracy over" not in page  # which has no epochs


def test_all_three_files_give_the_models_logits_in_a_process_without_the_course(
    model, photographs, tmp_path
):
    images, _ = load_folder(photographs).tensors("test", 64, resize_size=73)
    script = """
import sys; sys.modules["tlcourse"] = None
import numpy as np, torch, onnxruntime
from load_model import load_model
images = np.load(sys.argv[1])
batch = torch.from_numpy(images)
safe = load_model(".")[0](batch).detach().numpy()
exported = torch.export.load("model.pt2").module()(batch).detach().numpy()
(onnx,) = onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})
np.savez(sys.argv[2], safe=safe, exported=exported, onnx=onnx)
"""
    np.save(tmp_path / "images.npy", images.numpy())
    command = [sys.executable, "-c", script, tmp_path / "images.npy", tmp_path / "logits.npz"]
    subprocess.run(command, cwd=model, check=True)
    expected = predict(load_network(model)[0], images).numpy()
    with np.load(tmp_path / "logits.npz") as logits:
        for name in logits:
            assert np.abs(logits[name] - expected).max() <= 1e-4, name
    one = {"images": images[:1].numpy()}  # any batch size
    (alone,) = onnxruntime.InferenceSession(model / "model.onnx").run(None, one)
    assert np.abs(alone - expected[:1]).max() <= 1e-4


def test_images_are_prepared_as_in_training(photographs, model):
    dataset = load_folder(photographs)
    images, _ = dataset.tensors("all", 64, resize_size=73)
    settings = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert (settings["image_size"], settings["resize_size"]) == (64, 73)
    prepared = torch.stack([prepare(image, settings) for image in dataset.images])
    assert torch.equal(prepared, images)


def test_predict_scores_and_explain_draws(model, photographs, tmp_path, capsys):
    assert main(["predict", str(model), str(photographs), "--score"]) == 0
    lines = capsys.readouterr().out.splitlines()
    accuracy = float(lines[-1].removeprefix("accuracy "))
    assert lines[0] == "file,class,confidence,truth" and len(lines) == 42
    assert accuracy == pytest.approx(predict_files(model, photographs).accuracy, abs=1e-4)
    assert accuracy > 0.7
    one = next(photographs.rglob("3.jpg"))
    assert len(predict_files(model, one).table) == 1
    explained = explain_files(model, one, tmp_path / "why")
    assert Image.open(explained.written[0]).size == (64, 64)
    with pytest.raises(OutputError, match="is there already"):
        explain_files(model, one, tmp_path / "why")
    stray = tmp_path / "stray"
    stray.mkdir()
    shutil.copy(one, stray)
    with pytest.raises(DatasetError, match="no folder named after a class"):
        _ = predict_files(model, stray).accuracy
    shutil.copytree(one.parent, stray / one.parent.name)  # now some lie in such a folder
    (stray / "broken.jpg").write_bytes(b"no image")
    assert main(["predict", str(model), str(stray), "--score"]) == 0
    output = capsys.readouterr()
    assert "not scored" in output.err and "left out:" in output.err
    alone = predict_files(model, one.parent).accuracy
    assert output.out.splitlines()[-1] == f"accuracy {alone:.4f}"


def test_a_damaged_model_folder_is_refused_and_the_fault_named(model, tmp_path, capsys):
    copy = shutil.copytree(model, tmp_path / "copy")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert main(["predict", str(copy), str(copy)]) == 1
    found, expected = (
        hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:8]
        for folder in (copy, model)
    )
    error = capsys.readouterr().err
    assert (
        f"damaged or another model's: its SHA-256 starts with {found}, expected {expected};"
        in error
    )
    settings = copy / "model.json"
    written = json.loads(settings.read_text(encoding="utf-8"))
    shutil.copyfile(model / "model.safetensors", copy / "model.safetensors")
    for text, fault in (
        ("{}", "does not say 'sha256'"),
        ("{", "Expecting property name"),
        ("", "is damaged"),
        ("[]", "holds no settings"),
        ("\xff", "is damaged"),
        (json.dumps({**written, "architecture": "resnet"}), "cannot be built"),
        (json.dumps({**written, "architecture": "resnet18"}), "resnet18 differ"),
        (json.dumps({**written, "classes": ["one"]}), "expected two different names or more"),
        (json.dumps({**written, "classes": ["a", "b", "c"]}), "does not fit"),
    ):
        settings.write_text(text, encoding="latin-1")
        with pytest.raises(ModelFolderError, match=rf"(?s)copy.model\.(json|safetensors).*{fault}"):
            predict_files(copy, copy)
    settings.unlink()
    with pytest.raises(ModelFolderError, match="holds no model.json"):
        explain_files(copy, copy, tmp_path / "why")


@pytest.mark.unchecked
def test_accuracy_is_that_of_the_split_that_is_named():
    predictions = {
        split: (torch.eye(2)[[answer] * 4], torch.tensor([0, 0, 0, 1]))
        for split, answer in (("train", 0), ("test", 1))
    }
    fitted = Fitted(*[None] * 6, predictions)
    assert (fitted.accuracy("train"), fitted.accuracy("test")) == (0.75, 0.25)
    with pytest.raises(ValueError, match="no split 'tets'.*did you mean test"):
        fitted.accuracy("tets")


def test_nothing_of_the_users_is_overwritten_and_nothing_lands_elsewhere(photographs, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for output, message in ((mine, "is not empty"), (photographs / "out", "lies in")):
        with pytest.raises(OutputError, match=message):
            fit_folder(photographs, output)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    with pytest.raises(DatasetError, match="is not there"):
        fit_folder(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="did you mean gradual"):
        fit_folder(photographs, tmp_path / "out", strategy="graduall")
    with pytest.raises(DatasetError, match="no class"):
        fit_folder(next(photographs.iterdir()), tmp_path / "out")
    with pytest.raises(BackboneError, match="at least 32 × 32 px"):
        fit_folder(photographs, tmp_path / "out", image_size=20)
    assert not (tmp_path / "out").exists()


def test_an_archive_with_one_folder_around_it_is_advised_on(photographs, tmp_path, capsys):
    archive = tmp_path / "photographs.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in photographs.rglob("*.jpg"):
            target.write(file, Path("holiday") / file.relative_to(photographs))
    before = sorted(tmp_path.rglob("*"))
    assert main(["advise", str(archive), "--image-size", "64"]) == 0
    out = capsys.readouterr().out
    assert "advice: " in out and "images a class" in out and "xxx has only 20" not in out
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["advise", str(tmp_path / "photographs.zap")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_what_is_unusual_is_said(tmp_path):
    generator = np.random.default_rng(0)

    def save(path: Path, side: int = 120, quality: int = 95, seed: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        source = generator if seed is None else np.random.default_rng(seed)
        blotches = Image.fromarray(source.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        blotches.resize((120, 120), Image.BICUBIC).resize((side, side)).save(path, quality=quality)

    for number in range(30):
        save(tmp_path / "train" / "many" / f"{number}.jpg")
        save(tmp_path / "test" / "many" / f"{number}.jpg")
    for part in ("train", "test"):
        for number in range(8):
            save(tmp_path / part / "few" / f"{number}.jpg", side=40)
    save(tmp_path / "train" / "many" / "again.jpg", seed=7)
    save(tmp_path / "test" / "many" / "small.jpg", side=80, quality=60, seed=7)
    (tmp_path / "train" / "many" / "not.jpg").write_text("no image")
    with pytest.warns(UserWarning, match="left out"):
        text = "\n".join(check_images(load_folder(tmp_path), 128))
    for expected in (
        "left out: ",
        "quality: 1, 2 images in all, such as small.jpg, again.jpg",
        "pictures in two of your train, val and test folders: 1, such as ",
        "many has 62 images, few 16",
        "few has only 16 images",
        "16 of 78 images have a side below 64 px",
    ):
        assert expected in text
    assert "Nothing" not in text


def test_a_folder_that_changes_while_it_is_read_is_named(photographs, tmp_path):
    folder = shutil.copytree(photographs, tmp_path / "photographs")
    dataset = load_folder(folder)
    dataset.images.files[3].unlink()
    with pytest.raises(ImageError, match="is gone; was it moved while the folder was read"):
        dataset.tensors("all", 64)


def test_a_strip_of_100000_pixels_is_refused_before_it_is_enlarged(photographs, tmp_path):
    folder = shutil.copytree(photographs, tmp_path / "photographs")
    Image.new("L", (100_000, 10)).save(next(folder.iterdir()) / "strip.png")
    with pytest.warns(UserWarning, match=r"100000 × 10 px is a strip"):
        load_folder(folder)


SIZES = {"image_size": 64, "resize_size": 64, "interpolation": "bilinear"}


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "timm/resnet18",
        "tlcourse/resnet20",
        "timm/test_convnext",
        "timm/ghostnet_050",
        "timm/test_nfnet",
        "mnasnet0_5",
        "googlenet",
    ],
)
def test_models_are_saved_under_their_librarys_names(name, tmp_path):
    network = load_backbone(name, pretrained=False, num_classes=3, seed=1)
    save_model(network, tmp_path, {"classes": list("abc"), **SIZES})
    again, settings = load_model(tmp_path)
    assert settings["library"] == resolve(name)[0]
    backbone, _ = load_network(tmp_path)
    assert backbone.name == network.name and backbone.provenance == network.provenance
    images = load_dataset("digits").tensors("test", 64)[0][:2]
    with torch.inference_mode():
        assert torch.allclose(again(images), network(images), atol=1e-5)
        assert torch.allclose(backbone(images), network(images), atol=1e-5)


def test_an_encoder_is_saved_under_its_librarys_names_with_its_new_head(tmp_path):
    network = load_backbone("eva02_tiny_patch14_224", pretrained=False, num_classes=3)
    sizes = {"image_size": 224, "resize_size": 224, "interpolation": "bicubic"}
    save_model(network, tmp_path, {"classes": list("abc"), **sizes})
    again, _ = load_model(tmp_path)
    backbone, _ = load_network(tmp_path)
    images = load_dataset("digits").tensors("test", 224)[0][:1]
    with torch.inference_mode():
        assert torch.allclose(again(images), network(images), atol=1e-5)
        assert torch.equal(backbone(images), network(images))


def test_a_head_is_saved_as_the_linear_layer_that_it_is(tmp_path):
    network = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    settings = {"classes": list("abc"), **SIZES}
    images = load_dataset("digits").tensors("test", 64)[0][:2]
    heads = [torch.nn.Linear(network.feature_size, 3, bias=bias) for bias in (False, True, True)]
    for network.head in (heads[0], weight_norm(heads[1]), spectral_norm(heads[2]).eval()):
        save_model(network, tmp_path, settings)
        with torch.inference_mode():
            assert torch.allclose(load_model(tmp_path)[0](images), network(images), atol=1e-5)
    assert parametrize.is_parametrized(network.head)  # what was saved stays as it was
    network.head = mlp_head(network.feature_size, 3, hidden=4)
    with pytest.raises(BackboneError, match="linear head"):
        save_model(network, tmp_path, settings)


def test_a_network_that_is_not_the_librarys_is_not_saved_as_such(tmp_path):
    network = load_backbone("resnet18", pretrained=False, num_classes=3)
    weight_norm(network.stage1[0].conv1)
    save_model(network, tmp_path, {"classes": list("abc"), **SIZES})
    network.stage1[0].relu = torch.nn.Softplus()
    with pytest.raises(BackboneError, match="no longer the library's resnet18.*logits are others"):
        save_model(network, tmp_path, {"classes": list("abc"), **SIZES})
    network.stage1[0].relu = torch.nn.PReLU()
    with pytest.raises(BackboneError, match=r"(?s)no longer the library's resnet18.*relu.weight"):
        save_model(network, tmp_path, {"classes": list("abc"), **SIZES})


def test_the_output_of_a_fit_that_failed_can_be_used_again(photographs, tmp_path, monkeypatch):
    def stop(at: str, error: type[BaseException]):
        def say(line: str) -> None:
            if at in line:
                raise error(at)

        return say

    small = load_backbone("tlcourse/resnet20", pretrained=False)
    monkeypatch.setattr(source_folder, "load_backbone", lambda name: small)
    monkeypatch.setattr(following, "TUNING_STEPS", 10)
    output = tmp_path / "out"
    options = {"image_size": 32, "strategy": "head_first"}
    with pytest.raises(RuntimeError, match="advice"):  # before anything was learnt
        fit_folder(photographs, output, **options, say=stop("advice", RuntimeError))
    assert not output.exists()
    with pytest.raises(RuntimeError, match="epoch 2"):
        fit_folder(photographs, output, **options, say=stop("epoch 2", RuntimeError))
    assert (output / "checkpoints" / "head_first").is_dir()
    with pytest.raises(KeyboardInterrupt):
        fit_folder(photographs, output, **options, seed=1, say=stop("images", KeyboardInterrupt))
    assert not (output / "checkpoints").exists()
    with pytest.raises(OutputError, match="interrupted fit"):  # which goes on
        fit_folder(photographs, output, **options, seed=2)
