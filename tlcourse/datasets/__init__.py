"""Data sets by name, and a user's own folder, all described by one dataclass."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tlcourse.datasets.cutouts import load_cutouts
from tlcourse.datasets.dataset import ImageDataset
from tlcourse.datasets.digits import load_handwritten_digits
from tlcourse.datasets.folders import load_folder
from tlcourse.datasets.rendered_digits import load_rendered_digits
from tlcourse.datasets.solar_cells import load_solar_cells
from tlcourse.datasets.torchvision_sets import SOURCES, load_torchvision
from tlcourse.errors import DatasetError, ImageError
from tlcourse.suggestions import did_you_mean

__all__ = [
    "OFFLINE",
    "DatasetError",
    "ImageDataset",
    "ImageError",
    "available",
    "load_dataset",
    "load_folder",
]

OFFLINE: dict[str, Callable[[int], ImageDataset]] = {
    "cutouts": load_cutouts,
    "elpv": partial(load_solar_cells, by_module=True),
    "elpv_random": partial(load_solar_cells, by_module=False),
    "digits": load_handwritten_digits,
    "rendered_digits": load_rendered_digits,
}


def available() -> tuple[str, ...]:
    """Names that ``load_dataset`` takes; those in ``OFFLINE`` need no download."""
    return (*OFFLINE, *SOURCES)


def load_dataset(
    name: str, *, split_seed: int = 0, root: Path | None = None, download: bool = False
) -> ImageDataset:
    """A data set by name, split by ``split_seed`` where it has no official parts.

    ``root`` is where torchvision's sets are kept (data/downloads); they are fetched only with
    ``download=True``. Raises DatasetError for an unknown name and for missing or damaged files.
    """
    if name in OFFLINE:
        return OFFLINE[name](split_seed)
    if name in SOURCES:
        return load_torchvision(name, split_seed, root, download)
    names = available()
    raise DatasetError(
        f"no data set {name!r}; there are {', '.join(names)}{did_you_mean(name, names)}"
    )
