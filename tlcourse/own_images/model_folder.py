"""What is done with a model in the folder that ``tlcourse fit`` wrote: predict, explain, export."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from tlcourse.datasets import as_folder, open_image
from tlcourse.datasets.layouts import check_name, printable, true_class, unwrapped, walk
from tlcourse.diagnosis.maps import explain
from tlcourse.errors import DatasetError, ImageError, ModelFolderError, OutputError
from tlcourse.files import new_folder, writing
from tlcourse.own_images.export import CHECKED, export_onnx, export_torch, load_network
from tlcourse.own_images.load_model import load_model, prepare
from tlcourse.runtime import progress
from tlcourse.tuning.training import predict

BATCH = 32

M = TypeVar("M", bound=nn.Module)
Settings = dict[str, Any]
Format = Literal["onnx", "torch"]


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
    """Answers for an image, or for all images below a folder or in an archive.

    Files are read as by ``load_folder``, and folders name the truth as there: the outermost below
    ``path`` that is named after a class, else ``path`` or the nearest above. Raises DatasetError
    where there is no readable image, ModelFolderError where there is no model.
    """
    model, settings = _load(load_model, model_folder)
    rows, unreadable = [], []
    classes, path = settings["classes"], Path(path)
    top = unwrapped(path)
    for files, images, lines in _batches(path, settings):
        unreadable += lines
        if not files:
            continue
        logits = predict(model, images) / settings.get("temperature", 1.0)
        confidence, best = logits.softmax(dim=1).max(dim=1)
        for file, answer, sure in zip(files, best.tolist(), confidence.tolist(), strict=True):
            row = {"file": printable(file), "class": classes[answer], "confidence": sure}
            rows.append({**row, "truth": true_class(file, top, classes)})
    if not rows:
        raise DatasetError(_nothing_read(path, unreadable))
    return Answers(pd.DataFrame(rows), tuple(unreadable))


@dataclass(frozen=True)
class Explained:
    """The pictures that were written, and a line for each file that is no image."""

    written: tuple[Path, ...]
    unreadable: tuple[str, ...]


def explain_files(model_folder: Path, path: Path, output: Path) -> Explained:
    """Pictures in a new folder that show where each image speaks for the model's answer.

    Raises OutputError when ``output`` is there already or cannot be written, ModelFolderError where
    there is no model and DatasetError where there is no readable image.
    """
    output = Path(output)
    if output.exists():
        raise OutputError(f"{output} is there already; nothing is overwritten: name another")
    backbone, settings = _load(load_network, model_folder)
    written: list[Path] = []
    unreadable: list[str] = []
    with new_folder(output) as folder:
        for files, images, lines in _batches(Path(path), settings):
            unreadable += lines
            if not files:
                continue
            answers = predict(backbone, images).argmax(dim=1)
            for file, picture, answer in zip(
                files, explain(backbone, images, answers), answers.tolist(), strict=True
            ):
                name = f"{len(written):04d}_{settings['classes'][answer]}_{file.stem}"[:60]
                safe = "".join(c if c.isalnum() or c in "-_ " else "_" for c in name)
                target = output / f"{safe}.png"
                with writing(target):
                    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / target.name)
                written.append(target)
        if not written:
            raise DatasetError(_nothing_read(path, unreadable))
    return Explained(tuple(written), tuple(unreadable))


def export_folder(model_folder: Path, format: Format) -> Path:
    """Write the model anew as ``model.onnx`` or ``model.pt2`` and check it; its path."""
    size = _load(load_model, model_folder)[1]["image_size"]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (CHECKED, 3, size, size), generator=generator).to(torch.uint8)
    return {"onnx": export_onnx, "torch": export_torch}[format](Path(model_folder), images)


def _nothing_read(path: Path, unreadable: list[str]) -> str:
    because = f"; first: {unreadable[0]}" if unreadable else ""
    return f"{printable(path)}: no image that can be read{because}"


def _load(
    load: Callable[[Path], tuple[M, dict[str, Any]]], folder: Path
) -> tuple[M, dict[str, Any]]:
    """The model in a folder, or a ModelFolderError that says what is wrong with it."""
    folder = Path(folder)
    for name in ("model.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ModelFolderError(f"{folder} holds no {name}; expected the output folder of a fit")
    try:
        return load(folder)
    except ValueError as error:  # no JSON, or not the weights that were written
        raise ModelFolderError(str(error)) from error
    except (RuntimeError, TypeError, KeyError) as error:  # an unknown network, or of other sizes
        raise ModelFolderError(
            f"{folder / 'model.json'} names a network that cannot be built here, or does not fit "
            f"model.safetensors: {error}"
        ) from error


def _batches(
    path: Path, settings: dict[str, Any]
) -> Iterator[tuple[list[Path], Tensor, list[str]]]:
    """Files, as below ``path``, with their images, uint8 (N, 3, S, S), and a line for each that
    cannot be read."""
    if not path.exists():
        raise DatasetError(
            f"{printable(path)} is not there; expected an image, or a folder or archive of images"
        )
    with as_folder(path) as root:
        files = sorted(walk(root)) if root.is_dir() else [root]
        groups = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
        for group in progress(groups, desc="images"):
            read, images, lines = [], [], []
            for file in group:
                try:
                    check_name(file, root)
                    image = open_image(file, bits=settings.get("bits"))
                except ImageError as error:
                    lines.append(str(error).replace(str(root), printable(path), 1))
                else:
                    images.append(prepare(image, settings))
                    read.append(path / file.relative_to(root))
            yield read, torch.stack(images) if images else torch.empty(0), lines
