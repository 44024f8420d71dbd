"""Data sets by name, a user's own folder, and scenes, all with the same description.

Beside them: archives that are unpacked safely, what is unusual about images, few labels, shifts.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tlcourse.datasets.archives import as_folder, is_archive, unpack
from tlcourse.datasets.cutouts import load_cutouts
from tlcourse.datasets.dataset import ImageDataset
from tlcourse.datasets.digits import load_handwritten_digits
from tlcourse.datasets.folder_checks import check_images
from tlcourse.datasets.folders import load_folder
from tlcourse.datasets.images import open_image
from tlcourse.datasets.photographs import photograph_crops
from tlcourse.datasets.rendered_digits import load_rendered_digits
from tlcourse.datasets.scenes import Scenes, checks, make_scenes, muted
from tlcourse.datasets.shifts import blur, noise, tint
from tlcourse.datasets.solar_cells import load_solar_cells
from tlcourse.datasets.subsets import few
from tlcourse.datasets.torchvision_sets import SOURCES, load_torchvision
from tlcourse.errors import ArchiveError, DatasetError, ImageError
from tlcourse.suggestions import did_you_mean

__all__ = [
    "OFFLINE",
    "ArchiveError",
    "DatasetError",
    "ImageDataset",
    "ImageError",
    "Scenes",
    "as_folder",
    "available",
    "blur",
    "check_images",
    "checks",
    "few",
    "is_archive",
    "load_dataset",
    "load_folder",
    "make_scenes",
    "muted",
    "noise",
    "open_image",
    "photograph_crops",
    "tint",
    "unpack",
]

OFFLINE: dict[str, Callable[[int], ImageDataset]] = {
    "cutouts": load_cutouts,
    "elpv": partial(load_solar_cells, by_module=True),
    "elpv_mono": partial(load_solar_cells, by_module=True, kind="mono"),
    "elpv_poly": partial(load_solar_cells, by_module=True, kind="poly"),
    "elpv_random": partial(load_solar_cells, by_module=False),
    "digits": load_handwritten_digits,
    "rendered_digits": load_rendered_digits,
}


def available() -> tuple[str, ...]:
    """Names that ``load_dataset`` takes; those in ``OFFLINE`` need no download.

    Examples
    --------
    >>> "eurosat" in available()
    True
    """
    return (*OFFLINE, *SOURCES)


def load_dataset(
    name: str, *, split_seed: int = 0, root: Path | None = None, download: bool = False
) -> ImageDataset:
    """A data set by name.

    Parameters
    ----------
    name
        One of ``available()``.
    split_seed
        Deals the images where the set has no official splits.
    root
        Where torchvision's sets are kept (None: data/downloads).
    download
        Fetch a set of torchvision's that is not there.

    Raises
    ------
    DatasetError
        For an unknown name and for missing or damaged files.

    Examples
    --------
    >>> cutouts = load_dataset("cutouts")
    >>> cutouts.class_names[:3], len(cutouts), cutouts.indices("test").size
    (('birds', 'fish', 'flowers'), 187, 47)
    """
    if name in OFFLINE:
        return OFFLINE[name](split_seed)
    if name in SOURCES:
        return load_torchvision(name, split_seed, root, download)
    names = available()
    raise DatasetError(
        f"no data set {name!r}; there are {', '.join(names)}{did_you_mean(name, names)}"
    )
