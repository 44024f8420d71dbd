"""The folder that ``tlcourse fit`` writes and that ``predict``, ``explain`` and ``export`` read."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from tlcourse.advice.advisor import Advice
from tlcourse.advice.strategies import strategy_named
from tlcourse.datasets.archives import is_archive, unpack
from tlcourse.datasets.folders import walk
from tlcourse.datasets.images import open_image
from tlcourse.errors import DatasetError, ImageError
from tlcourse.files import replacing
from tlcourse.networks.backbones import BACKBONE, load_backbone
from tlcourse.own_images.export import export_onnx, export_torch, load_network, save_model
from tlcourse.own_images.fitting import (
    MINUTES,
    Fitted,
    OwnImages,
    advise_on,
    fit_images,
    read_images,
    sizes,
)
from tlcourse.own_images.load_model import load_model, prepare
from tlcourse.own_images.report import explain, write_report
from tlcourse.runtime import progress
from tlcourse.tuning.training import predict

STARTED = "started.json"  # there while a fit is under way: it may go on
CHECKED = 4  # images on which the exported models are compared
BATCH = 32


def fit_folder(
    source: Path,
    output: Path,
    *,
    backbone: str = BACKBONE,
    strategy: str | None = None,
    image_size: int | None = None,
    minutes: float = MINUTES,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Fitted:
    """Images below ``source``, a folder or an archive of class folders, to a model in ``output``.

    Nothing is written elsewhere. An interrupted call goes on when it is called again in the same
    way. Raises DatasetError for an output that holds anything else, and for unusable images.
    """
    source, output = Path(source), Path(output)
    if strategy is not None:
        strategy_named(strategy)
    network = load_backbone(backbone)
    call = {
        "source": str(source.resolve()),
        "backbone": backbone,
        "strategy": strategy,
        "image_size": image_size,
        "seed": seed,
    }
    fresh = _begin(source, output, call)
    try:
        images = read_images(_folder_of(source, output), network, seed=seed, image_size=image_size)
    except Exception:
        if fresh:  # all there is in it is ours, and of no use
            shutil.rmtree(output)
        raise
    say(f"{len(images.dataset)} images in {images.dataset.num_classes} classes")
    for line in images.findings:
        say(f"  note: {line}")
    fitted = fit_images(
        images,
        network,
        seed=seed,
        strategy=strategy,
        minutes=minutes,
        checkpoint=output / "checkpoints",
        on_advice=lambda advice: say(str(advice)),
        on_epoch=lambda history: say(_epoch_line(history)),
    )
    _write(fitted, output, image_size)
    say(f"validation accuracy {fitted.accuracy('validation'):.4f}")
    say(f"test accuracy {fitted.accuracy('test'):.4f}")
    return fitted


def advise_folder(
    source: Path,
    *,
    backbone: str = BACKBONE,
    image_size: int | None = None,
    minutes: float = MINUTES,
    seed: int = 0,
) -> tuple[OwnImages, Advice]:
    """Advice on the images below ``source``, and what was noticed; nothing is left behind."""
    network = load_backbone(backbone)
    with TemporaryDirectory() as temporary:
        folder = _folder_of(Path(source), Path(temporary))
        images = read_images(folder, network, seed=seed, image_size=image_size)
        return images, advise_on(images, network, seed=seed, minutes=minutes)


def _begin(source: Path, output: Path, call: dict[str, object]) -> bool:
    """Make the output folder, or find in it the same call, interrupted; whether it is new."""
    if not source.exists():
        raise DatasetError(f"{source} is not there; expected a folder with one subfolder a class")
    if output.resolve().is_relative_to(source.resolve()):
        raise DatasetError(
            f"{output} lies in {source}: the next run would take it for a class; write elsewhere"
        )
    fresh = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if not fresh:
        started = output / STARTED
        if not started.is_file():
            raise DatasetError(f"{output} is not empty; nothing in it is overwritten: name another")
        if json.loads(started.read_text(encoding="utf-8")) != call:
            raise DatasetError(
                f"{output} holds an interrupted fit with other images or options; call it as "
                "before to go on, or name another folder"
            )
    with replacing(output / STARTED) as temporary:
        temporary.write_text(json.dumps(call), encoding="utf-8")
    return fresh


def _folder_of(source: Path, output: Path) -> Path:
    """``source`` itself, or where its archive was unpacked, without folders that hold one only."""
    if not is_archive(source):
        return source
    folder = output / "images"
    if not folder.exists():
        partial = output / "images.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of an interrupted call of ours
        unpack(source, partial)
        partial.rename(folder)
    while len(inside := [p for p in folder.iterdir() if p.is_dir()]) == 1:
        (folder,) = inside
    return folder


def _epoch_line(history: pd.DataFrame) -> str:
    row = history.iloc[-1]
    return (
        f"epoch {row['epoch'] + 1:.0f}: training {row['train_accuracy']:.3f}, "
        f"validation {row['validation_accuracy']:.3f}"
    )


def _write(fitted: Fitted, output: Path, image_size: int | None) -> None:
    """Everything into the output folder; ``model.json`` comes before the marker goes."""
    network, dataset = fitted.trained.network, fitted.images.dataset
    size, resize = sizes(network, image_size)
    with replacing(output / "history.csv") as temporary:
        fitted.trained.history.round(5).to_csv(temporary, index=False)
    settings = {
        "classes": list(dataset.class_names),
        "image_size": size,
        "resize_size": resize,
        "interpolation": network.preprocessing.interpolation,
        "temperature": fitted.temperature,
        "strategy": fitted.strategy,
        "validation_accuracy": fitted.accuracy("validation"),
        "test_accuracy": fitted.accuracy("test"),
    }
    save_model(network.cpu(), output, settings)
    some = fitted.images.parts["test"][0][:CHECKED]
    export_torch(output, some)
    export_onnx(output, some)
    write_report(fitted, output)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    (output / STARTED).unlink()


@dataclass(frozen=True)
class Answers:
    """``table`` has file, class, confidence and, where folders are named after classes, truth.

    ``unreadable`` has a line for each file that is no image.
    """

    table: pd.DataFrame
    unreadable: tuple[str, ...]

    @property
    def unscored(self) -> list[str]:
        """The files that lie in no folder named after a class of the model."""
        return list(self.table["file"][self.table["truth"].isna()])

    @property
    def accuracy(self) -> float:
        """Share of right answers, without ``unscored``; raises DatasetError when all are."""
        scored = self.table.dropna(subset="truth")
        if scored.empty:
            raise DatasetError(
                f"{self.unscored[0]} lies in no folder named after a class of the model, nor does "
                "any other image, so they cannot be scored"
            )
        return float((scored["truth"] == scored["class"]).mean())


def predict_files(model_folder: Path, path: Path) -> Answers:
    """Answers for an image, or for all images below a folder; links are not entered.

    The truth is the nearest folder above an image that is named after a class. Raises DatasetError
    where there is no readable image.
    """
    model, settings = load_model(_checked(model_folder))
    rows, unreadable = [], []
    classes = settings["classes"]
    for files, images, lines in _batches(Path(path), settings):
        unreadable += lines
        if not files:
            continue
        logits = predict(model, images) / settings.get("temperature", 1.0)
        confidence, best = logits.softmax(dim=1).max(dim=1)
        for file, answer, sure in zip(files, best.tolist(), confidence.tolist(), strict=True):
            truth = next((p.name for p in file.resolve().parents if p.name in classes), None)
            row = {"file": str(file), "class": classes[answer]}
            rows.append({**row, "confidence": sure, "truth": truth})
    if not rows:
        raise DatasetError(_nothing_read(path, unreadable))
    return Answers(pd.DataFrame(rows), tuple(unreadable))


def explain_files(model_folder: Path, path: Path, output: Path) -> tuple[list[Path], list[str]]:
    """Pictures in a new folder that show where each image speaks for the model's answer.

    Gives their paths and a line for each file that is no image. Raises DatasetError
    when ``output`` is there already, and where there is no readable image.
    """
    output = Path(output)
    if output.exists():
        raise DatasetError(f"{output} is there already; nothing is overwritten: name another")
    network, settings = load_network(_checked(model_folder))
    written, unreadable = [], []
    for files, images, lines in _batches(Path(path), settings):
        unreadable += lines
        if not files:
            continue
        answers = predict(network, images).argmax(dim=1)
        output.mkdir(parents=True, exist_ok=True)
        for file, picture, answer in zip(
            files, explain(network, images, answers), answers.tolist(), strict=True
        ):
            name = f"{len(written):04d}_{settings['classes'][answer]}_{file.stem}"[:80]
            safe = "".join(c if c.isalnum() or c in "-_ " else "_" for c in name)
            target = output / f"{safe}.png"
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(target)
            written.append(target)
    if not written:
        raise DatasetError(_nothing_read(path, unreadable))
    return written, unreadable


def export_folder(model_folder: Path, format: Literal["onnx", "torch"]) -> Path:
    """Write the model anew as ``model.onnx`` or ``model.pt2`` and check it; its path."""
    folder = _checked(model_folder)
    size = load_model(folder)[1]["image_size"]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (CHECKED, 3, size, size), generator=generator).to(torch.uint8)
    return {"onnx": export_onnx, "torch": export_torch}[format](folder, images)


def _nothing_read(path: Path, unreadable: list[str]) -> str:
    because = f"; first: {unreadable[0]}" if unreadable else ""
    return f"{path}: no image that can be read{because}"


def _checked(folder: Path) -> Path:
    """The folder, if there is a model in it."""
    folder = Path(folder)
    if not (folder / "model.json").is_file():
        raise DatasetError(f"{folder} holds no model.json; expected the output folder of a fit")
    return folder


def _batches(path: Path, settings: dict) -> Iterator[tuple[list[Path], Tensor, list[str]]]:
    """Files with their images, uint8 (N, 3, S, S), and a line for each that cannot be read."""
    if not path.exists():
        raise DatasetError(f"{path} is not there; expected an image or a folder of images")
    files = sorted(walk(path)) if path.is_dir() else [path]
    groups = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
    for group in progress(groups, desc="images"):
        read, images, lines = [], [], []
        for file in group:
            try:
                images.append(prepare(open_image(file), settings))
                read.append(file)
            except ImageError as error:
                lines.append(str(error))
        yield read, torch.stack(images) if images else torch.empty(0), lines
