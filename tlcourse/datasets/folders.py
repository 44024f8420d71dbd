"""A user's own images: one folder a class, checked file by file before anything is trained."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tlcourse.datasets.dataset import THREADS, ImageDataset, ImageFiles
from tlcourse.datasets.errors import DatasetError, ImageError
from tlcourse.datasets.images import open_image
from tlcourse.datasets.splits import Splits, carve_test, carve_validation, make_splits

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
LAYOUT = "expected FOLDER/class name/image files, or the same below FOLDER/train, val and test"


@dataclass(frozen=True)
class _Found:
    """A readable image file: its class, its part ("" where the layout has none), its content."""

    file: Path
    label: str
    part: str
    sha256: str
    mode: str
    size: tuple[int, int]  # width, height


def load_folder(path: Path | str, *, split_seed: int = 0) -> ImageDataset:
    """The images below ``path``, one folder a class, also with train, val and test folders.

    Every file is decoded once, here, so that none can fail during training. What cannot be read
    is left out, listed in ``skipped`` and announced in one warning. Copies of one file stay on
    one side of the split. Hidden files are passed over, linked folders are not entered. Raises
    DatasetError for a path without at least two classes of readable images.
    """
    root = Path(path)
    if not root.is_dir():
        what = "a file" if root.is_file() else "not there"
        raise DatasetError(f"{root} is {what}; {LAYOUT}")
    candidates, loose = _list_files(root)
    with ThreadPoolExecutor(THREADS) as pool:
        checked = list(pool.map(_check, candidates))
    found = [item for item in checked if isinstance(item, _Found)]
    skipped = loose + [item for item in checked if isinstance(item, str)]
    class_names = _class_names(root, candidates, found, skipped)
    found, conflicts = _without_contradictions(found)
    skipped += conflicts
    if skipped:
        first = "\n  ".join(skipped[:5])
        warnings.warn(
            f"{len(skipped)} of {len(candidates) + len(loose)} files in {root} are left out "
            f"(see .skipped), the first:\n  {first}",
            stacklevel=2,
        )
    labels = np.array([class_names.index(item.label) for item in found])
    splits, note = _splits(found, labels, class_names, split_seed)
    sizes = {item.size for item in found}
    width, height = next(iter(sizes))
    return ImageDataset(
        name=root.resolve().name,
        images=ImageFiles(tuple(item.file for item in found)),
        labels=labels,
        class_names=class_names,
        size=(height, width) if len(sizes) == 1 else None,
        channels=3 if any(item.mode == "RGB" for item in found) else 1,
        licence="the owner's",
        citation="the user's own images",
        splits=splits,
        split_note=note,
        skipped=tuple(skipped),
    )


def _list_files(root: Path) -> tuple[list[tuple[Path, str, str]], list[str]]:
    """Files with class and part, in one order on every system; and lines for those outside."""
    folders = _folders(root)
    presplit = "train" in {PART_NAMES.get(folder.name.lower()) for folder in folders}
    loose = [f"{file}: lies outside the class folders" for file in _files(root)]
    candidates: list[tuple[Path, str, str]] = []
    for folder in folders:
        part = PART_NAMES.get(folder.name.lower(), "") if presplit else ""
        if presplit and not part:
            loose.append(f"{folder}: is neither train, val nor test, as its neighbours are")
            continue
        if part:
            loose += [f"{file}: lies outside the class folders" for file in _files(folder)]
        for class_folder in _folders(folder) if part else [folder]:
            candidates += [(file, class_folder.name, part) for file in _walk(class_folder)]
    return candidates, loose


def _folders(path: Path) -> list[Path]:
    children = sorted(path.iterdir())
    return [p for p in children if p.is_dir() and not p.name.startswith(".")]


def _files(path: Path) -> list[Path]:
    children = sorted(path.iterdir())
    return [p for p in children if p.is_file() and not p.name.startswith(".")]


def _walk(folder: Path) -> Iterator[Path]:
    """Files at any depth; linked folders are not entered, so that a loop of links ends."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith("."))


def _check(candidate: tuple[Path, str, str]) -> "_Found | str":
    """The file decoded once: what it is, or one line that says why it is left out."""
    file, label, part = candidate
    if file.suffix.lower() not in Image.registered_extensions():
        return f"{file}: not an image file by its name"
    try:
        image = open_image(file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except (ImageError, OSError) as error:
        return str(error)
    return _Found(file, label, part, sha256, image.mode, image.size)


def _class_names(
    root: Path,
    candidates: list[tuple[Path, str, str]],
    found: list[_Found],
    skipped: list[str],
) -> tuple[str, ...]:
    class_names = sorted({item.label for item in found})
    lost = sorted({label for _, label, _ in candidates} - set(class_names))
    because = f"; first file left out: {skipped[0]}" if skipped else ""
    if lost:
        raise DatasetError(f"{root}: no readable image in class {', '.join(lost)}{because}")
    if len(class_names) < 2:
        names = f"one class ({class_names[0]})" if class_names else "no class"
        raise DatasetError(f"{root} has {names} with readable images; {LAYOUT}{because}")
    return tuple(class_names)


def _without_contradictions(found: list[_Found]) -> tuple[list[_Found], list[str]]:
    """Leave out files whose very bytes also stand under another class: one label must be wrong."""
    labels: dict[str, set[str]] = {}
    for item in found:
        labels.setdefault(item.sha256, set()).add(item.label)
    kept = [item for item in found if len(labels[item.sha256]) == 1]
    lines = [
        f"{item.file}: the same file stands under {' and '.join(sorted(labels[item.sha256]))}"
        for item in found
        if len(labels[item.sha256]) > 1
    ]
    return kept, lines


def _splits(
    found: list[_Found], labels: np.ndarray, class_names: tuple[str, ...], seed: int
) -> tuple[Splits, str]:
    if not any(item.part for item in found):
        _, groups = np.unique([item.sha256 for item in found], return_inverse=True)
        splits = make_splits(labels, groups, class_names=class_names, seed=seed)
        return splits, (
            "stratified by class; copies of one file stay together. "
            "Pictures of one object taken twice may be on both sides."
        )
    parts = np.array([item.part for item in found])
    splits = {part: np.flatnonzero(parts == part) for part in ("train", "validation", "test")}
    notes = ["as the folders are named"]
    if len(splits["test"]) == 0:
        splits["train"], splits["test"] = carve_test(labels, splits["train"], seed=seed)
        notes.append("test is a quarter of train")
    if len(splits["validation"]) == 0:
        splits["train"], splits["validation"] = carve_validation(labels, splits["train"], seed=seed)
        notes.append("validation is a fifth of train")
    return splits, "; ".join(notes) + ". Whether one object is on both sides was not checked."
