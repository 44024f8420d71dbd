"""What the names of folders say of the images below: class and split, by one rule for fit and
predict."""

import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlcourse.errors import DatasetError, ImageError

# Of train, trainset, Training, seg_train, train2017, trainval (which holds no test image) ...
SPLIT_WORD = re.compile(
    r"(?:(?P<train>train(?:ing)?|trainval)|(?P<validation>val(?:id(?:ation)?)?|dev)"
    r"|(?P<test>test(?:ing)?))(?:set|data|dataset|imgs?|images?)?"
)
PLAIN_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
# What Macs, Windows and NAS boxes leave beside a user's files; names with a dot in front, too.
CLUTTER = {
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip


@dataclass(frozen=True)
class ClassFolder:
    """A folder of images of one class, and of one split ("" where the layout has none)."""

    folder: Path
    label: str
    split: str


@dataclass
class Layout:
    """Class folders; a line for whatever lies beside them; a line for what could be meant
    otherwise."""

    class_folders: list[ClassFolder] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def split_of(name: str) -> str:
    """``train``, ``validation`` or ``test``, by the words in a folder's name; "" for any other.

    Examples
    --------
    >>> [split_of(name) for name in ("Training", "seg_test", "valSet", "train2017", "contest")]
    ['train', 'test', 'validation', 'train', '']
    """
    words = re.findall(r"[A-Z]*[a-z]+|[A-Z]+", name)
    found = {m.lastgroup for word in words if (m := SPLIT_WORD.fullmatch(word.lower()))}
    if found == {"train", "validation"}:
        return "train"
    return str(found.pop()) if len(found) == 1 else ""


def class_name(name: str) -> str:
    """A folder's name as a class: accents composed, so that Mac and Linux name the same one."""
    return unicodedata.normalize("NFC", name)


def printable(path: Path | str) -> str:
    """A path as one line that can be written as UTF-8, whatever bytes it has."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return re.sub(r"[\0-\x1f\x7f-\x9f]", lambda m: m[0].encode("unicode_escape").decode(), text)


def is_utf8(name: str) -> bool:
    """Whether a name can be written into a report."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def check_name(file: Path, root: Path) -> None:
    """Raise ImageError for a file below ``root`` of which no report could write the name."""
    if not is_utf8(os.path.relpath(file, root)):
        raise ImageError(f"{printable(file)}: its name is not UTF-8; rename it")


def is_clutter(name: str) -> bool:
    """Whether a file or folder is hidden, or made by a system for itself."""
    return name.startswith(".") or name.lower() in CLUTTER


def walk(folder: Path) -> Iterator[Path]:
    """Files at any depth, without clutter; and what is not entered: links to folders, of which
    loops are made, and folders that may not be listed."""
    closed: list[OSError] = []
    for parent, folders, files in os.walk(folder, followlinks=False, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        yield from (Path(parent) / name for name in folders if Path(parent, name).is_symlink())
        yield from (Path(parent) / name for name in sorted(files) if not is_clutter(name))
    yield from (Path(error.filename) for error in closed)


def true_class(file: Path, root: Path, classes: Collection[str]) -> str | None:
    """The class that folders name for a file, found below ``root`` or itself ``root``.

    By the paths as given, whatever links lead to: the outermost folder below ``root`` that is
    named after a class, as when the model was trained; where there is none, ``root`` or the
    nearest folder above. A folder in a class's own folder belongs to that class.
    """
    named = {class_name(name): name for name in classes}
    top = Path(os.path.abspath(root))
    above = [
        folder
        for folder in Path(os.path.abspath(file)).parents
        if class_name(folder.name) in named
        and not (split_of(folder.name) and _holds_classes(folder, named))  # a split's, not a class
    ]
    below = [p for p in above if p != top and p.is_relative_to(top)]
    if not above:
        return None
    folder = below[-1] if below else above[0]
    while folder.parent in above and not _holds_classes(folder.parent, named):
        folder = folder.parent
    return named[class_name(folder.name)]


def _holds_classes(folder: Path, named: Collection[str]) -> bool:
    """Whether it is a folder of class folders, which only happens to have a class's name."""
    return sum(class_name(child.name) in named for child in children(folder)[0]) > 1


def children(path: Path) -> tuple[list[Path], list[str]]:
    """Folders in ``path``, in one order on every system; and a line for anything else there."""
    try:
        visible = [child for child in path.iterdir() if not is_clutter(child.name)]
    except OSError as error:  # no permission, or removed a moment ago
        return [], [f"{printable(path)}: cannot be listed ({error.strerror})"]
    visible.sort(key=lambda child: child.name)  # paths themselves sort differently on Windows
    folders = [child for child in visible if child.is_dir() and not child.is_symlink()]
    lines = [
        f"{printable(child)}: a link to a folder, not entered"
        if child.is_dir()
        else f"{printable(child)}: lies outside the class folders"
        for child in visible
        if child not in folders
    ]
    return folders, lines


def unwrapped(root: Path) -> Path:
    """``root``, or the folder in it that holds the class folders and has none beside it."""
    folders, _ = children(root)
    while len(folders) == 1 and not split_of(folders[0].name) and children(folders[0])[0]:
        root = folders[0]
        folders, _ = children(root)
    return root


def read_layout(root: Path) -> Layout:
    """Class folders below ``root``: in it, below train, val and test, or these below each class.

    Raises DatasetError for a class whose name is not UTF-8.
    """
    layout = Layout()
    top = unwrapped(root)
    if top != root:
        layout.notes.append(f"read from {printable(top)}, the only folder there")
    for level in (top, *top.parents):
        if level.is_relative_to(root):
            layout.outside += children(level)[1]
    folders, _ = children(top)
    if _are_splits(folders):
        _read_splits(folders, layout)
    else:
        _read_classes(folders, layout)
    for item in layout.class_folders:
        if not is_utf8(item.label):
            raise DatasetError(
                f"{printable(item.folder)}: the class's name is not UTF-8; rename the folder"
            )
    return layout


def _are_splits(folders: Sequence[Path]) -> bool:
    splits = {folder: split_of(folder.name) for folder in folders}
    plain = any(folder.name.lower() in PLAIN_SPLITS for folder in folders)
    # Of test_tube and test_paper each is a class; train_images and test_images are not.
    if all(splits.values()) and (plain or len(set(splits.values())) != 1):
        return True
    # A class may be called train, or bullet_train: then it holds images, and its neighbours are
    # classes too. Splits hold the same classes.
    inside = {folder: _inside(folder, split) for folder, split in splits.items() if split}
    names = {folder: {class_name(p.name) for p in inside[folder]} for folder in inside}
    return any(
        names[train]
        and (
            train.name.lower() in PLAIN_SPLITS
            or any(names[train] & names[other] for other in names if splits[other] != "train")
        )
        for train in names
        if splits[train] == "train"
    )


def _inside(folder: Path, split: str) -> list[Path]:
    """Class folders in a split's, also below a folder of the same split: train/train/ants."""
    inside = children(folder)[0]
    while len(inside) == 1 and split_of(inside[0].name) == split and children(inside[0])[0]:
        inside = children(inside[0])[0]
    return inside


def _read_splits(folders: Sequence[Path], layout: Layout) -> None:
    read_as = []
    for folder in folders:
        split = split_of(folder.name)
        if not split:
            line = "is neither train, val nor test, as its neighbours are"
            layout.outside.append(f"{printable(folder)}: {line}")
            continue
        inside = _inside(folder, split)
        layout.outside += children(inside[0].parent if inside else folder)[1]
        layout.class_folders += [ClassFolder(f, class_name(f.name), split) for f in inside]
        if folder.name.lower() not in PLAIN_SPLITS:
            read_as.append(f"{printable(folder.name)} as {split}")
    if read_as:
        layout.notes.append(f"{', '.join(read_as)}: folders of splits, by their names")


def _read_classes(folders: Sequence[Path], layout: Layout) -> None:
    """Class folders; where each holds train and test or val, and nothing else, these are kept."""
    parts = {folder: children(folder) for folder in folders}
    splits = {folder: [split_of(f.name) for f in inside] for folder, (inside, _) in parts.items()}
    if all(all(s) and "train" in s and len(set(s)) > 1 for s in splits.values()):
        for folder, (inside, loose) in parts.items():
            layout.outside += loose
            layout.class_folders += [
                ClassFolder(f, class_name(folder.name), split)
                for f, split in zip(inside, splits[folder], strict=True)
            ]
        layout.notes.append("train, val and test are taken from the folders in each class's")
        return
    layout.class_folders += [ClassFolder(f, class_name(f.name), "") for f in folders]
    held = [{class_name(f.name) for f in inside} for inside, _ in parts.values()]
    alike = sorted(set.intersection(*held)) if len(held) > 1 else []
    if len(alike) > 1:
        layout.notes.append(
            f"each class holds the folders {', '.join(map(printable, alike))}, read as its parts; "
            f"if these are the classes, merge {', '.join(printable(f.name) for f in folders)}"
        )
    for folder in folders:
        if split_of(folder.name):
            layout.notes.append(
                f"{printable(folder)} is read as a class, though it is named like a split"
            )
        layout.notes += [
            f"{printable(f)} is read as a part of its class, though it is named like a split"
            for f in parts[folder][0]
            if split_of(f.name)
        ]
