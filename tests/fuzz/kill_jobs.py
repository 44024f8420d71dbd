"""The jobs that ``kills.py`` kills: tiny, whole, and the same every time."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from PIL import Image

from tlcourse import runtime
from tlcourse.advice import following, sweeps
from tlcourse.cli import main
from tlcourse.files import is_partial, replacing
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.feature_cache import DiskCache
from tlcourse.own_images import fitting, source_folder
from tlcourse.tuning.training import fit

State = dict[str, str]


def write_files(folder: Path, material: Path) -> None:
    for value in range(40):
        with replacing(folder / "file.bin") as temporary:
            temporary.write_bytes(bytes([value]) * 300_000)


def fill_cache(folder: Path, material: Path) -> None:
    cache = DiskCache(folder / "cache", max_bytes=400_000)  # of the 12 keys it keeps 9
    for number in range(24):
        cache[f"{number % 12:02d}"] = torch.full((10_000,), float(number % 12))
        cache.get(f"{(number + 5) % 12:02d}")


def train(folder: Path, material: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 200), torch.nn.ReLU(), torch.nn.Linear(200, 2))
    data = torch.randn(64, 8), torch.randint(0, 2, (64,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    fit(model, data, data, optimizer, epochs=8, seed=0, checkpoint=folder / "run.pt")
    with replacing(folder / "weights.bin") as temporary:
        temporary.write_bytes(b"".join(p.detach().numpy().tobytes() for p in model.parameters()))


def cell(*, number: int) -> dict[str, float]:
    return {"value": random.Random(number).random()}


def sweep(folder: Path, material: Path) -> None:
    @contextlib.contextmanager
    def one_process(*_):  # its workers are killed in tests/programs/test_sweeps.py
        yield lambda calls: (call(*given) for call, given, _ in calls)

    with mock.patch.object(sweeps, "pool", one_process):
        sweeps.sweep(cell, [{"number": n} for n in range(15)], folder / "results.sqlite")


def fit_source(source: str, strategy: str, *, whole: bool = False) -> Callable[[Path, Path], None]:
    """A fit on 32 px with a network without weights; ``whole``: with its exports and report."""

    def job(folder: Path, material: Path) -> None:
        def placeholder(name: str) -> Callable[..., None]:
            def write(*_) -> None:
                with replacing(folder / "out" / name) as temporary:
                    temporary.write_bytes(bytes(100_000))

            return write

        left_out = {
            "export_torch": placeholder("model.pt2"),
            "export_onnx": placeholder("model.onnx"),
            "write_report": placeholder("report.html"),
        }
        small = load_backbone("tlcourse/resnet20", pretrained=False, seed=0)
        with (
            mock.patch.object(runtime, "BUILD_DIR", folder / "build"),
            mock.patch.object(fitting, "STEPS", 20),
            mock.patch.object(following, "TUNING_STEPS", 10),
            mock.patch.multiple(
                source_folder, load_backbone=lambda name: small, **({} if whole else left_out)
            ),
        ):
            source_folder.fit_folder(
                material / source, folder / "out", strategy=strategy, image_size=32
            )

    return job


def predict(folder: Path, material: Path) -> None:
    with (folder / "answers.csv").open("w") as file, contextlib.redirect_stdout(file):
        assert main(["predict", str(material / "model"), str(material / "images")]) == 0


def explain(folder: Path, material: Path) -> None:
    output = folder / "why"
    typed = ["explain", str(material / "model"), str(material / "images"), "--output", str(output)]
    assert main(typed) == 0


def export(format: str) -> Callable[[Path, Path], None]:
    def job(folder: Path, material: Path) -> None:
        if not (folder / "out").exists():
            shutil.copytree(material / "model", folder / "copy", dirs_exist_ok=True)
            (folder / "copy").rename(folder / "out")
        assert main(["export", str(folder / "out"), "--format", format]) == 0

    return job


def images_in(folder: Path) -> None:
    """Two classes of 20 images, bright above or below, as a folder and as an archive of it."""
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number in range(40):
            pixels = generator.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[16 * (number % 2) : 16 * (number % 2) + 16] += 60
            path = folder / "images" / ("above", "below")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            archive.write(path, path.relative_to(folder / "images"))


def state(folder: Path) -> State:
    """Digests of the files below a folder; of results and caches, of what they hold."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.name.endswith(".sqlite"):
            found[name] = sweeps.read_results(path).to_json()
        elif path.name == "history.csv":
            found[name] = pd.read_csv(path).drop(columns="seconds", errors="ignore").to_json()
        elif path.suffix in (".pt", ".pt2", ".onnx", ".html", ".md") or path.name == "model.json":
            found[name] = "there"  # with times and places in them
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_partial(path)]


def check_files(folder: Path, wanted: State) -> None:
    """What is there under its own name after a kill is whole."""
    if (folder / "file.bin").exists():
        content = (folder / "file.bin").read_bytes()
        assert len(content) == 300_000 and len(set(content)) == 1
    for key, tensor in DiskCache(folder / "cache").items() if (folder / "cache").exists() else ():
        assert tensor.shape == (10_000,) and bool((tensor == float(key)).all())
    if (folder / "run.pt").exists():
        torch.load(folder / "run.pt", weights_only=True)
    if (folder / "results.sqlite").exists():
        _check_results(folder / "results.sqlite")
    if (folder / "why").exists():
        found = {f"why/{name}": digest for name, digest in state(folder / "why").items()}
        assert found == {name: digest for name, digest in wanted.items() if name[:4] == "why/"}
    output = folder / "out"
    if (output / "model.json").exists() and (output / "model.safetensors").exists():
        _check_model(output, wanted)
    if (output / "model.onnx").exists() and (output / "model.onnx").stat().st_size != 100_000:
        import onnx

        onnx.checker.check_model(onnx.load(output / "model.onnx"))


def _check_results(path: Path) -> None:
    for row in sweeps.read_results(path).to_dict("records"):
        assert row["value"] == cell(number=row["number"])["value"]


def _check_model(output: Path, wanted: State) -> None:
    """Without the mark of a fit under way, it is the model that a quiet fit gives."""
    json.loads((output / "model.json").read_text())
    if not (output / "started.json").exists():
        weights = hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()
        assert weights == wanted["out/model.safetensors"]
        assert {f"out/{path.name}" for path in output.iterdir()} >= {
            name for name in wanted if name.startswith("out/") and name.count("/") == 1
        } - {"out/model.onnx", "out/model.pt2"}


@dataclass(frozen=True)
class Kind:
    """A job, how many processes do it at the same time, and its share of the kills."""

    job: Callable[[Path, Path], None]
    share: float
    writers: int = 1


KINDS = {
    "replacing": Kind(write_files, 0.25, writers=2),
    "cache": Kind(fill_cache, 0.25, writers=2),
    "checkpoint": Kind(train, 0.2),
    "sweep": Kind(sweep, 0.12),
    "fit": Kind(fit_source("images", "head_first"), 0.06),
    "fit_archive": Kind(fit_source("images.zip", "head_first"), 0.04),
    "fit_whole": Kind(fit_source("images", "probe", whole=True), 0.01),
    "predict": Kind(predict, 0.03),
    "explain": Kind(explain, 0.03),
    "export_onnx": Kind(export("onnx"), 0.005),
    "export_torch": Kind(export("torch"), 0.005),
}
NEEDS_MODEL = {"predict", "explain", "export_onnx", "export_torch"}


def material_for(kinds: set[str], folder: Path) -> None:
    """The images, and a model where it is needed, as a stranger has them."""
    images_in(folder)
    if kinds & NEEDS_MODEL:
        KINDS["fit"].job(folder, folder)
        (folder / "out").rename(folder / "model")
        shutil.rmtree(folder / "build")
    os.sync()
