"""A user's own images: one folder a class, checked file by file before anything is trained."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tlcourse.datasets.dataset import THREADS, ImageDataset, ImageFiles
from tlcourse.datasets.duplicates import Look, look_alike, look_of
from tlcourse.datasets.images import open_image
from tlcourse.datasets.splits import SPLITS, Splits, complete_splits
from tlcourse.errors import DatasetError, ImageError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
LAYOUT = "expected FOLDER/class name/image files, or the same below FOLDER/train, val and test"


@dataclass(frozen=True)
class _Candidate:
    """A file in a class folder, of a split ("" where the layout has none)."""

    file: Path
    label: str
    split: str


@dataclass(frozen=True)
class _Found(_Candidate):
    """A readable image file, and its content."""

    sha256: str
    look: Look
    mode: str
    size: tuple[int, int]  # width, height


def load_folder(path: Path | str, *, split_seed: int = 0) -> ImageDataset:
    """The images of a folder with one subfolder a class, also below train, val and test.

    Every file is decoded once, here, so that none can fail during training. What cannot be read
    is left out, listed in ``skipped`` and announced in one warning. Copies of one picture, also
    at another size or quality, stay on one side of the split; where train and test folders hold
    the same file, test keeps it. Hidden files are passed over, linked folders are reported and not
    entered.

    Parameters
    ----------
    path
        The folder.
    split_seed
        Deals the images where the folder has no train, val and test.

    Raises
    ------
    DatasetError
        For a path without at least two classes of readable images, or with a class that has none.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(14):
    ...         Path(folder, f"class{i % 2}").mkdir(exist_ok=True)
    ...         Image.new("L", (64, 64), 9 * i).save(Path(folder, f"class{i % 2}", f"{i}.png"))
    ...     dataset = load_folder(folder)
    >>> dataset.class_names, len(dataset)
    (('class0', 'class1'), 14)
    """
    root = Path(path)
    if not root.is_dir():
        what = "a file" if root.exists() else "not there"
        raise DatasetError(f"{root} is {what}; {LAYOUT}")
    class_folders, skipped = _class_folders(root)
    candidates = [
        _Candidate(file, folder.name, split)
        for folder, split in class_folders
        for file in walk(folder)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        checked = list(pool.map(_check, candidates))
    skipped += [item for item in checked if isinstance(item, str)]
    found, doubles = _without_doubles([item for item in checked if isinstance(item, _Found)])
    skipped += doubles
    class_names = sorted({folder.name for folder, _ in class_folders})
    _check_classes(root, class_names, found, skipped)
    if skipped:
        first = "\n  ".join(skipped[:5])
        warnings.warn(
            f"{root}: {len(found)} images are used, {len(skipped)} files or folders are left out "
            f"(see .skipped), the first:\n  {first}",
            stacklevel=2,
        )
    labels = np.array([class_names.index(item.label) for item in found])
    groups = look_alike([item.look for item in found])
    splits, note = _splits(found, labels, groups, class_names, split_seed)
    sizes = tuple(item.size for item in found)
    width, height = sizes[0]
    return ImageDataset(
        name=root.resolve().name,
        images=ImageFiles(tuple(item.file for item in found), sizes),
        labels=labels,
        class_names=tuple(class_names),
        size=(height, width) if len(set(sizes)) == 1 else None,
        channels=3 if any(item.mode == "RGB" for item in found) else 1,
        licence="the owner's",
        citation="the user's own images",
        splits=splits,
        split_note=note,
        skipped=tuple(skipped),
        alike=_groups_of_several(groups),
    )


def _groups_of_several(groups: np.ndarray) -> tuple[tuple[int, ...], ...]:
    several = np.flatnonzero(np.bincount(groups) > 1)
    return tuple(tuple(np.flatnonzero(groups == g).tolist()) for g in several)


def _class_folders(root: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """Class folders, each with its split; and a line for whatever lies beside them."""
    folders, outside = _children(root)
    splits = [SPLIT_NAMES.get(folder.name.lower(), "") for folder in folders]
    # A class may be called train: then it holds images, and its neighbours are classes too.
    presplit = all(splits) or any(
        split == "train" and _children(folder)[0]
        for folder, split in zip(folders, splits, strict=True)
    )
    if not presplit:
        return [(folder, "") for folder in folders], outside
    class_folders = []
    for folder, split in zip(folders, splits, strict=True):
        if not split:
            outside.append(f"{folder}: is neither train, val nor test, as its neighbours are")
            continue
        inside, loose = _children(folder)
        class_folders += [(class_folder, split) for class_folder in inside]
        outside += loose
    return class_folders, outside


def _children(path: Path) -> tuple[list[Path], list[str]]:
    """Folders in ``path``, in one order on every system; and a line for anything else there."""
    try:
        visible = [child for child in path.iterdir() if not child.name.startswith(".")]
    except OSError as error:  # no permission, or removed a moment ago
        return [], [f"{path}: cannot be listed ({error.strerror})"]
    visible.sort(key=lambda child: child.name)  # paths themselves sort differently on Windows
    folders = [child for child in visible if child.is_dir() and not child.is_symlink()]
    lines = [
        f"{child}: a link to a folder, not entered"
        if child.is_dir()
        else f"{child}: lies outside the class folders"
        for child in visible
        if child not in folders
    ]
    return folders, lines


def walk(folder: Path) -> Iterator[Path]:
    """Files and linked folders at any depth; links are not entered, so that a loop of them ends."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in folders if Path(parent, name).is_symlink())
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith("."))


def _check(candidate: _Candidate) -> _Found | str:
    """The file decoded once: what it is, or one line that says why it is left out."""
    file = candidate.file
    if file.is_dir():
        return f"{file}: a link to a folder, not entered"
    if not file.is_file():  # a broken link, or a pipe that would be waited on for ever
        return f"{file}: neither a file nor a folder"
    if file.suffix.lower() not in Image.registered_extensions():
        return f"{file}: not an image file by its name"
    try:
        image = open_image(file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except ImageError as error:
        return str(error)
    look = look_of(image)
    return _Found(file, candidate.label, candidate.split, sha256, look, image.mode, image.size)


def _without_doubles(found: list[_Found]) -> tuple[list[_Found], list[str]]:
    """Leave out files that stand under two classes, and train's copies of held-out files.

    Of the very same bytes under two labels, one label must be wrong, and nobody knows which.
    """
    labels: dict[str, set[str]] = {}
    splits: dict[str, set[str]] = {}
    for item in found:
        labels.setdefault(item.sha256, set()).add(item.label)
        splits.setdefault(item.sha256, set()).add(item.split)
    kept, lines = [], []
    for item in found:
        names, last = sorted(labels[item.sha256]), max(splits[item.sha256], key=_order)
        if len(names) > 1:
            lines.append(f"{item.file}: the same file stands under {' and '.join(names)}")
        elif item.split != last:
            lines.append(f"{item.file}: the same file stands in {last}, too")
        else:
            kept.append(item)
    return kept, lines


def _order(split: str) -> int:
    return SPLITS.index(split) if split else 0


def _check_classes(
    root: Path, class_names: Sequence[str], found: list[_Found], skipped: list[str]
) -> None:
    because = f"; first left out: {skipped[0]}" if skipped else ""
    if len(class_names) < 2:
        names = f"one class ({class_names[0]})" if class_names else "no class"
        raise DatasetError(f"{root} has {names}; {LAYOUT}{because}")
    lost = [name for name in class_names if name not in {item.label for item in found}]
    if lost:
        raise DatasetError(
            f"{root}: no usable image in class {', '.join(lost)}; "
            f"add images or remove the folder{because}"
        )
    if any(item.split for item in found) and not any(item.split == "train" for item in found):
        raise DatasetError(f"{root} has no usable image in a train folder; {LAYOUT}{because}")


def _splits(
    found: list[_Found],
    labels: np.ndarray,
    groups: np.ndarray,
    class_names: Sequence[str],
    seed: int,
) -> tuple[Splits, str]:
    named = np.array([item.split or "train" for item in found])
    given = {split: np.flatnonzero(named == split) for split in SPLITS if split in named}
    splits = complete_splits(given, labels, groups, class_names=class_names, seed=seed)
    if not any(item.split for item in found):
        return splits, (
            "stratified by class; copies of one picture stay together, also at another size or "
            "quality. Pictures of one object taken twice may be on both sides."
        )
    carved = {"test": "a quarter of train", "validation": "a fifth of train"}
    notes = [f"{split} is {share}" for split, share in carved.items() if split not in given]
    return splits, "; ".join(["as the folders are named", *notes]) + (
        ". Copies of one file are on one side only; "
        "pictures of one object taken twice may be on both."
    )
