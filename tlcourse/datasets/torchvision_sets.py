"""torchvision's data sets behind the course's interface; downloaded only when asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets as tv

from tlcourse.datasets.dataset import ImageDataset
from tlcourse.datasets.errors import DatasetError
from tlcourse.datasets.splits import Splits, carve_test, carve_validation
from tlcourse.runtime import DATA_DIR


@dataclass(frozen=True)
class _Source:
    """How torchvision makes a set, its official parts, and what to know before a download."""

    make: Callable[..., Any]
    parts: dict[str, dict[str, Any]]  # our split (or "all") → torchvision's arguments
    megabytes: int
    licence: str
    citation: str
    size: tuple[int, int] | None = None


SOURCES = {
    "flowers102": _Source(
        tv.Flowers102,
        {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}},
        330,
        "not stated by its authors; for research",
        "Nilsback & Zisserman 2008, Automated Flower Classification over a Large Number of Classes",
    ),
    "oxford_iiit_pet": _Source(
        tv.OxfordIIITPet,
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
        790,
        "CC BY-SA 4.0",
        "Parkhi et al. 2012, Cats and Dogs",
    ),
    "eurosat": _Source(
        tv.EuroSAT,
        {"all": {}},
        94,
        "MIT",
        "Helber et al. 2019, EuroSAT",
        (64, 64),
    ),
    "pcam": _Source(
        tv.PCAM,
        {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}},
        6500,
        "CC0",
        "Veeling et al. 2018, Rotation Equivariant CNNs for Digital Pathology",
        (96, 96),
    ),
    "cifar10": _Source(
        tv.CIFAR10,
        {"train": {"train": True}, "test": {"train": False}},
        170,
        "not stated by its authors",
        "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        (32, 32),
    ),
    "dtd": _Source(
        tv.DTD,
        {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}},
        600,
        "for research",
        "Cimpoi et al. 2014, Describing Textures in the Wild",
    ),
}
_PCAM_CLASSES = ("no tumour", "tumour")


class _Joined(Sequence[Image.Image]):
    """The images of several torchvision sets, one after another."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        part = int(np.searchsorted(self.ends, index, side="right"))
        start = self.ends[part - 1] if part else 0
        image = self.parts[part][index - start][0]
        return image if image.mode == "L" else image.convert("RGB")


def load_torchvision(name: str, split_seed: int, root: Path | None, download: bool) -> ImageDataset:
    """A torchvision set with its official parts; those it lacks are carved out of train.

    Raises DatasetError that names size, licence and the way to get it when it is not there.
    """
    source = SOURCES[name]
    folder = root or DATA_DIR / "downloads"
    try:
        parts = {
            part: source.make(str(folder), download=download, **arguments)
            for part, arguments in source.parts.items()
        }
    except (RuntimeError, OSError) as error:
        raise DatasetError(
            f"{name} is not complete in {folder} ({error}). It takes about {source.megabytes} MB, "
            f"licence: {source.licence}; load_dataset({name!r}, download=True) fetches it"
        ) from error
    labels = np.concatenate([_labels(part) for part in parts.values()])
    splits, note = _splits(parts, labels, split_seed)
    first = next(iter(parts.values()))
    names = getattr(first, "classes", None) or _PCAM_CLASSES
    return ImageDataset(
        name=name,
        images=_Joined(list(parts.values())),
        labels=labels,
        class_names=tuple(str(label) for label in names),
        size=source.size,
        channels=3,
        licence=source.licence,
        citation=source.citation,
        splits=splits,
        split_note=note,
    )


def _labels(part: Any) -> np.ndarray:
    """Labels without decoding the images where torchvision keeps them apart."""
    for attribute in ("targets", "_labels"):
        if hasattr(part, attribute):
            return np.asarray(getattr(part, attribute), dtype=np.int64)
    return np.array([part[index][1] for index in range(len(part))], dtype=np.int64)


def _splits(parts: dict[str, Any], labels: np.ndarray, seed: int) -> tuple[Splits, str]:
    splits: Splits = {}
    start = 0
    for name, part in parts.items():
        splits[name] = np.arange(start, start + len(part))
        start += len(part)
    notes = ["torchvision's official parts"]
    if "all" in splits:
        splits["train"], splits["test"] = carve_test(labels, splits.pop("all"), seed=seed)
        notes = ["no official parts; test is a quarter of all, stratified"]
    if "validation" not in splits:
        train, validation = carve_validation(labels, splits["train"], seed=seed)
        splits |= {"train": train, "validation": validation}
        notes.append("validation is a fifth of train")
    return splits, "; ".join(notes) + ". Near duplicates were not looked for."
