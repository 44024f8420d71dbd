"""ELPV: solar cells seen by electroluminescence, grey, far from ImageNet's domain."""

from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from tlcourse.datasets.dataset import ImageDataset, ImageFiles
from tlcourse.datasets.splits import make_splits
from tlcourse.errors import DatasetError

NUM_CELLS = 2624
CELLS_PER_MODULE = 60


Kind = Literal["mono", "poly"]


def load_solar_cells(split_seed: int, *, by_module: bool, kind: Kind | None = None) -> ImageDataset:
    """2,624 cells, ``defective`` where the experts' probability is 0.5 or more (2/3 and 1).

    ``by_module`` keeps the cells of one module together; otherwise they are dealt at random, as in
    the published experiments. ``kind`` takes mono- or polycrystalline cells alone, 1,074 and 1,550.
    Raises DatasetError when the package is missing or incomplete.
    """
    folder = _folder()
    text = (folder / "labels.csv").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if line.strip()]
    files = tuple(folder / row[0] for row in rows)
    absent = [file.name for file in files if not file.is_file()]
    if len(rows) != NUM_CELLS or absent:
        raise DatasetError(
            f"elpv-dataset is incomplete: {len(rows)} labels, {len(absent)} images missing; "
            "run: pip install --force-reinstall --no-deps elpv-dataset"
        )
    labels = np.array([float(row[1]) >= 0.5 for row in rows], dtype=np.int64)
    class_names = ("functional", "defective")
    groups = infer_modules([row[2] for row in rows]) if by_module else None
    if kind is not None:
        chosen = np.flatnonzero([row[2] == kind for row in rows])
        files, labels = tuple(files[row] for row in chosen), labels[chosen]
        groups = groups if groups is None else groups[chosen]
    return ImageDataset(
        name="_".join(filter(None, ("elpv", kind, None if by_module else "random"))),
        images=ImageFiles(files),
        labels=labels,
        class_names=class_names,
        size=(300, 300),
        channels=1,
        licence="CC BY-NC-SA 4.0",
        citation=(
            "Deitsch et al. 2019, Solar Energy 185, 455–468, doi:10.1016/j.solener.2019.02.067; "
            "Deitsch et al. 2021, Machine Vision and Applications 32(4), "
            "doi:10.1007/s00138-021-01191-9"
        ),
        splits=make_splits(labels, groups, class_names=class_names, seed=split_seed),
        split_note=(
            "the cells of one module stay together: they look more alike, and more often share "
            "their label, than cells of two modules. The package does not name the modules; they "
            "are inferred from the order of its files, so borders may be off by a few cells. "
            "Class shares differ between the splits, because whole modules do."
            if by_module
            else "dealt at random within the classes, three quarters to one as in the published "
            "experiments: cells of one module, which look more alike and more often share their "
            "label than others, are on both sides."
        ),
        groups=groups,
    )


def infer_modules(cell_types: list[str]) -> np.ndarray:
    """A module number for each cell, inferred from the order of the cell types.

    The package does not name the 44 modules (18 mono- and 26 polycrystalline, Deitsch 2019), but
    its files come in ten runs of one type, 48 to 714 cells long. Divided evenly into about 60
    cells each they give exactly 18 and 26 parts. This is an inference; what supports it, besides
    the count, is that two cells equally far apart in the files agree more within a part than
    across a border, and most so with the borders where they are (tested on the labels).
    """
    modules: list[int] = []
    count = 0
    for _, run in groupby(cell_types):
        length = len(list(run))
        parts = max(1, round(length / CELLS_PER_MODULE))
        modules += [count + position * parts // length for position in range(length)]
        count += parts
    return np.array(modules)


def _folder() -> Path:
    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise DatasetError("the ELPV images are not installed; run: pip install elpv-dataset")
    return Path(spec.origin).parent / "data"
