"""A user's own images: one folder a class, checked file by file before anything is trained."""

import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tlcourse.datasets.dataset import THREADS, ImageDataset, ImageFiles
from tlcourse.datasets.duplicates import Look, look_alike, look_of
from tlcourse.datasets.images import decode
from tlcourse.datasets.layouts import check_name, printable, read_layout, walk
from tlcourse.datasets.splits import SPLITS, Splits, complete_splits
from tlcourse.errors import DatasetError, ImageError

SHOWN = 5  # of the files that are left out
DARK_BITS = 12
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
    bits: int | None  # of 16-bit grey
    pages: int


def load_folder(path: Path | str, *, split_seed: int = 0) -> ImageDataset:
    """The images of a folder with one subfolder a class, also below train, val and test.

    Every file is decoded once, here, so that none can fail during training. What cannot be read
    is left out, listed in ``skipped`` and announced in one warning, as is in ``notes`` what could
    be meant otherwise. Copies of one picture, also at another size or quality, stay on one side of
    the split; where train and test folders hold the same file, test keeps it. Links to files are
    read under their own names, linked folders are reported and not entered. Hidden files and what
    systems leave behind (``__MACOSX``, ``Thumbs.db``, ``@eaDir``) are passed over.

    A file is an image by its content, see ``open_image``. A class is named by the outermost folder:
    what lies deeper, in ``ants/red/1.jpg``, is of class ``ants``. Around the class folders may be
    folders that hold one folder only, and those of the splits, called ``train``, ``Training``,
    ``training_set`` or ``seg_train`` alike; where every class folder holds ``train`` and ``test``
    instead, these are the splits. 16-bit grey is scaled from as many bits as the folder's files
    use.

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
    >>> from PIL import Image
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
        raise DatasetError(f"{printable(root)} is {what}; {LAYOUT}")
    layout = read_layout(root)
    candidates = [
        _Candidate(file, item.label, item.split)
        for item in layout.class_folders
        for file in walk(item.folder)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        checked = list(pool.map(partial(_check, root), candidates))
    skipped = layout.outside + [item for item in checked if isinstance(item, str)]
    found, doubles = _without_doubles([item for item in checked if isinstance(item, _Found)])
    skipped += doubles
    class_names = sorted({item.label for item in layout.class_folders})
    _check_classes(root, class_names, found, skipped)
    bits, notes = _depth(found)
    notes = [*layout.notes, *notes, *_pages(found)]
    _announce(root, len(found), skipped, notes)
    labels = np.array([class_names.index(item.label) for item in found])
    groups = look_alike([item.look for item in found])
    splits, note = _splits(found, labels, groups, class_names, split_seed)
    sizes = tuple(item.size for item in found)
    width, height = sizes[0]
    return ImageDataset(
        name=printable(root.resolve().name),
        images=ImageFiles(tuple(item.file for item in found), sizes, bits),
        labels=labels,
        class_names=tuple(class_names),
        size=(height, width) if len(set(sizes)) == 1 else None,
        channels=3 if any(item.mode == "RGB" for item in found) else 1,
        licence="the owner's",
        citation="the user's own images",
        splits=splits,
        split_note=note,
        skipped=tuple(skipped),
        notes=tuple(notes),
        alike=_groups_of_several(groups),
    )


def _announce(root: Path, used: int, skipped: Sequence[str], notes: Sequence[str]) -> None:
    """One warning of all that a user should look at."""
    lines = [f"{printable(root)}: {used} images are used"]
    if skipped:
        lines[0] += f", {len(skipped)} files or folders are left out (see .skipped), the first:"
    lines += [f"  {line}" for line in skipped[:SHOWN]]
    lines += [f"note: {note}" for note in notes]
    if skipped or notes:
        warnings.warn("\n".join(lines), stacklevel=3)


def _depth(found: Sequence[_Found]) -> tuple[int | None, list[str]]:
    """Bits of which the 16-bit files make use, together; and what to know about them."""
    depths = [item.bits for item in found if item.bits]
    if not depths:
        return None, []
    bits = max(depths)
    if bits < 16:
        return bits, [
            f"{len(depths)} 16-bit files have no value above {2**bits - 1}: scaled from {bits} bits"
        ]
    dark = [item for item in found if item.bits and item.bits <= DARK_BITS]
    if not dark:
        return bits, []
    return bits, [
        f"{len(dark)} of {len(depths)} 16-bit files have no value above {2**DARK_BITS - 1} and are "
        f"nearly black beside the others, such as {dark[0].file}"
    ]


def _pages(found: Sequence[_Found]) -> list[str]:
    several = [item.file for item in found if item.pages > 1]
    if not several:
        return []
    return [f"of {len(several)} files with several pages the first is used, such as {several[0]}"]


def _groups_of_several(groups: np.ndarray) -> tuple[tuple[int, ...], ...]:
    several = np.flatnonzero(np.bincount(groups) > 1)
    return tuple(tuple(np.flatnonzero(groups == g).tolist()) for g in several)


def _check(root: Path, candidate: _Candidate) -> _Found | str:
    """The file decoded once: what it is, or one line that says why it is left out."""
    file = candidate.file
    try:
        check_name(file, root)
        decoded = decode(file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except (ImageError, OSError) as error:
        return str(error)
    image = decoded.in_8_bits()
    return _Found(
        file,
        candidate.label,
        candidate.split,
        sha256,
        look_of(image),
        image.mode,
        image.size,
        decoded.bits,
        decoded.pages,
    )


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
