"""From a folder or an archive of images to advice, or to a folder with a tested model."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tlcourse.advice.choosing import Advice
from tlcourse.advice.strategies import strategy_named
from tlcourse.datasets import as_folder, is_archive, unpack
from tlcourse.datasets.dataset import ImageFiles
from tlcourse.errors import DatasetError, OutputError
from tlcourse.files import drop_partials, is_partial, locked, replacing
from tlcourse.networks.backbones import BACKBONE, load_backbone
from tlcourse.own_images.export import CHECKED, export_onnx, export_torch, save_model
from tlcourse.own_images.fitting import (
    MINUTES,
    Fitted,
    OwnImages,
    advise_on,
    fit_images,
    read_images,
)
from tlcourse.own_images.report import write_report

STARTED = "started.json"  # there while a fit is under way: it may go on
FAILED = "failed"  # in it, after an error: another fit may begin in the folder
LOCK = ".lock"  # held by the process that fits
CHECKPOINTS, IMAGES, PARTIAL = "checkpoints", "images", "images.partial"
RESULTS = (
    "history.csv",
    "model.json",
    "model.safetensors",
    "load_model.py",
    "model.pt2",
    "model.onnx",
    "report.html",
    "MODEL_CARD.md",
)


def fit_folder(
    source: Path,
    output: Path,
    *,
    backbone_name: str = BACKBONE,
    strategy: str | None = None,
    image_size: int | None = None,
    minutes: float = MINUTES,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Fitted:
    """Images below ``source``, a folder or an archive of class folders, to a model in ``output``.

    Nothing is written elsewhere. An interrupted call goes on when it is called again in the same
    way; after one that failed, another may begin in its output.

    Parameters
    ----------
    source : Path
        One subfolder a class, or a zip or tar of that.
    output : Path
        A new or empty folder: for the model, its exports, card and report.
    backbone_name : str
        Name of a pretrained network.
    strategy : str, optional
        A name from ``STRATEGIES``, instead of the advised one.
    image_size : int, optional
        Side in pixels; by default the network's own.
    minutes : float
        Strategies that would take longer are not advised.
    seed : int
        Of split and training.
    say : callable
        Gets a line for each thing that happens.

    Returns
    -------
    Fitted
        The trained network with what was measured of it.

    Raises
    ------
    OutputError
        For an output that holds anything else, lies in the source, cannot be written or is another
        process's at this time.
    DatasetError
        For unusable images.
    """
    source, output = Path(source), Path(output)
    if strategy is not None:
        strategy_named(strategy)
    backbone = load_backbone(backbone_name)
    call = {
        "source": str(source.resolve()),
        "archive": _state_of(source),
        "backbone": backbone_name,
        "strategy": strategy,
        "image_size": image_size,
        "seed": seed,
    }
    with _attempt(source, output, call):
        images = read_images(backbone, _folder_of(source, output), seed=seed, image_size=image_size)
        say(f"{len(images.dataset)} images in {images.dataset.num_classes} classes")
        for line in images.findings:
            say(f"  note: {line}")
        fitted = fit_images(
            backbone,
            images,
            seed=seed,
            strategy=strategy,
            minutes=minutes,
            checkpoint=output / CHECKPOINTS,
            on_advice=lambda advice: say(str(advice)),
            on_epoch=lambda history: say(_epoch_line(history)),
        )
        _write(fitted, output)
    say(f"validation accuracy {fitted.accuracy('validation'):.4f}")
    say(f"test accuracy {fitted.accuracy('test'):.4f}")
    return fitted


@dataclass(frozen=True)
class FolderAdvice:
    """The images of a folder, and the advice on them."""

    images: OwnImages
    advice: Advice


def advise_folder(
    source: Path,
    *,
    backbone_name: str = BACKBONE,
    image_size: int | None = None,
    minutes: float = MINUTES,
    seed: int = 0,
) -> FolderAdvice:
    """Advice on the images below ``source``, and what was noticed; nothing is left behind.

    The parameters are those of ``fit_folder``.
    """
    _check_source(Path(source))
    backbone = load_backbone(backbone_name)
    with as_folder(Path(source)) as folder:
        images = read_images(backbone, folder, seed=seed, image_size=image_size)
        return FolderAdvice(images, advise_on(backbone, images, seed=seed, minutes=minutes))


@contextmanager
def _attempt(source: Path, output: Path, call: Mapping[str, object]) -> Iterator[None]:
    """Begin or go on; after an error, keep no more than what the same call can go on from."""
    _examine(source, output, call)  # before anything is written
    busy = OutputError(f"another fit is writing into {output}; wait until it ends")
    try:
        with locked(output / LOCK, busy):
            fresh = _begin(source, output, call)
            try:
                yield
            except Exception:
                with suppress(OSError, OutputError):  # a full disk: the first error is to be told
                    if fresh and not (output / CHECKPOINTS).exists():
                        _delete(output, STARTED, IMAGES, PARTIAL)  # of no use
                    else:
                        _mark(output, {**call, FAILED: True})
                raise
    finally:
        with suppress(OSError):  # it stays with anything in it
            output.rmdir()


def _examine(source: Path, output: Path, call: Mapping[str, object]) -> dict[str, object] | None:
    """Refuse what must not be written into; the call that began there before, if any."""
    _check_source(source)
    if output.resolve().is_relative_to(source.resolve()):
        raise OutputError(
            f"{output} lies in {source}: the next run would take it for a class; write elsewhere"
        )
    if not output.exists() or (output.is_dir() and all(map(_is_remains, output.iterdir()))):
        return None
    try:
        before = json.loads((output / STARTED).read_text(encoding="utf-8"))
        before.items()
    except (OSError, ValueError, AttributeError) as error:  # none, or not ours
        raise OutputError(
            f"{output} is not empty; nothing in it is overwritten: name another"
        ) from error
    if before != call and not before.get(FAILED, False):
        raise OutputError(
            f"{output} holds an interrupted fit with other images or options; call it as "
            "before to go on, or name another folder"
        )
    return before


def _check_source(source: Path) -> None:
    if not source.exists():
        raise DatasetError(f"{source} is not there; expected a folder with one subfolder a class")
    if not source.is_dir() and not is_archive(source):
        raise DatasetError(
            f"{source} is neither a folder nor a zip or tar archive that can be read; expected one "
            "subfolder a class: unpack other archives (7z, rar) into a folder"
        )


def _is_remains(path: Path) -> bool:
    """Whether a fit left it that was killed before it began."""
    return path.name == LOCK or is_partial(path)


def _begin(source: Path, output: Path, call: Mapping[str, object]) -> bool:
    """Mark the output folder as this call's, the only one that is writing; whether it is new."""
    before = _examine(source, output, call)  # another one may have ended just now
    for folder in (output, *(output / CHECKPOINTS).glob("**/")):
        drop_partials(folder, older=0)
    if before is not None and {**before, FAILED: True} != {**call, FAILED: True}:
        _delete(output, CHECKPOINTS, IMAGES, *RESULTS)  # of no use for this one
    _mark(output, call)
    return before is None


def _delete(output: Path, *names: str) -> None:
    for path in (output / name for name in names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _state_of(source: Path) -> list[int] | None:
    """What tells an archive from another that was put in its place; None for a folder."""
    status = source.stat() if source.is_file() else None
    return status and [status.st_size, status.st_mtime_ns]


def _mark(output: Path, call: Mapping[str, object]) -> None:
    with replacing(output / STARTED) as temporary:
        temporary.write_text(json.dumps(call), encoding="utf-8")


def _folder_of(source: Path, output: Path) -> Path:
    """``source`` itself, or where its archive was unpacked."""
    if not is_archive(source):
        return source
    folder = output / IMAGES
    if not folder.exists():
        partial = output / PARTIAL
        shutil.rmtree(partial, ignore_errors=True)  # of an interrupted call of ours
        unpack(source, partial)
        partial.rename(folder)
    return folder


def _epoch_line(history: pd.DataFrame) -> str:
    row = history.iloc[-1]
    return (
        f"epoch {row['epoch'] + 1:.0f}: training {row['train_accuracy']:.3f}, "
        f"validation {row['validation_accuracy']:.3f}"
    )


def _write(fitted: Fitted, output: Path) -> None:
    """Everything into the output folder; ``model.json`` comes before the marker goes."""
    network, images = fitted.trained.network, fitted.images
    assert isinstance(images.dataset.images, ImageFiles), "fit_folder reads files"
    with replacing(output / "history.csv") as temporary:
        fitted.trained.history.round(5).to_csv(temporary, index=False)
    settings = {
        "classes": list(images.dataset.class_names),
        "image_size": images.image_size,
        "resize_size": images.resize_size,
        "interpolation": network.preprocessing.interpolation,
        "bits": images.dataset.images.bits,
        "temperature": fitted.temperature,
        "strategy": fitted.strategy,
        "validation_accuracy": fitted.accuracy("validation"),
        "test_accuracy": fitted.accuracy("test"),
    }
    save_model(network.cpu(), output, settings)
    some = images.splits["test"][0][:CHECKED]
    export_torch(output, some)
    export_onnx(output, some)
    write_report(fitted, output)
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    (output / STARTED).unlink()
