"""torchvision's data sets behind the course's interface; downloaded only when asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets as tv

from tlcourse.datasets.dataset import ImageDataset
from tlcourse.datasets.splits import Splits, complete_splits
from tlcourse.errors import DatasetError
from tlcourse.runtime import DOWNLOADS_DIR


@dataclass(frozen=True)
class _Source:
    """How torchvision makes a set, its official splits, and what to know before a download."""

    make: Callable[..., Any]
    splits: dict[str, dict[str, Any]]  # our split → torchvision's arguments
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
        {"train": {}},
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

    def __init__(self, sets: Sequence[Any]) -> None:
        self.sets = sets
        self.ends = np.cumsum([len(one) for one in sets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        index = range(len(self))[index]  # counts negative ones from the end, refuses those outside
        which = int(np.searchsorted(self.ends, index, side="right"))
        start = self.ends[which - 1] if which else 0
        image = self.sets[which][index - start][0]
        return image if image.mode == "L" else image.convert("RGB")


def load_torchvision(name: str, split_seed: int, root: Path | None, download: bool) -> ImageDataset:
    """A torchvision set with its official splits; those it lacks are carved out of train.

    Raises DatasetError that names size, licence and the way to get it when it is not there.
    """
    if name == "pcam" and find_spec("h5py") is None:
        raise DatasetError("pcam is kept in HDF5 files; to read them run: pip install h5py")
    source = SOURCES[name]
    folder = root or DOWNLOADS_DIR
    try:
        sets = {
            split: source.make(str(folder), download=download, **arguments)
            for split, arguments in source.splits.items()
        }
    except (RuntimeError, OSError) as error:
        if download:
            raise DatasetError(f"{name} could not be downloaded to {folder}") from error
        raise DatasetError(
            f"{name} is not complete in {folder}. It takes about {source.megabytes} MB, "
            f"licence: {source.licence}; load_dataset({name!r}, download=True) fetches it"
        ) from error
    labels = np.concatenate([_labels(one) for one in sets.values()])
    names = _PCAM_CLASSES if name == "pcam" else tuple(sets["train"].classes)
    splits, note = _splits(sets, labels, names, split_seed)
    return ImageDataset(
        name=name,
        images=_Joined(list(sets.values())),
        labels=labels,
        class_names=names,
        size=source.size,
        channels=3,
        licence=source.licence,
        citation=source.citation,
        splits=splits,
        split_note=note,
    )


def _labels(one: Any) -> np.ndarray:
    """Labels from where torchvision keeps them, without decoding an image."""
    if isinstance(one, tv.PCAM):  # in a file of their own, which only its __getitem__ opens
        file = one._base_folder / one._FILES[one._split]["targets"][0]
        with one.h5py.File(file) as targets:
            return targets["y"][:, 0, 0, 0].astype(np.int64)
    labels = one.targets if hasattr(one, "targets") else one._labels
    return np.asarray(labels, dtype=np.int64)


def _splits(
    sets: dict[str, Any], labels: np.ndarray, class_names: Sequence[str], seed: int
) -> tuple[Splits, str]:
    ends = np.cumsum([len(one) for one in sets.values()])
    given = dict(zip(sets, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    notes = ["torchvision's official splits" if "test" in given else "no official splits"]
    if "test" not in given:
        notes.append("test is a quarter of all, stratified")
    if "validation" not in given:
        notes.append("validation is a fifth of train, stratified")
    note = "; ".join(notes) + ". Near duplicates were not looked for."
    return complete_splits(given, labels, class_names=class_names, seed=seed), note
