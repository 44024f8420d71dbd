"""One description for every data set: images, labels, names, licence and splits."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from tlcourse.datasets.images import open_image
from tlcourse.datasets.splits import SPLITS
from tlcourse.errors import DatasetError

THREADS = 4  # PIL lets other threads run while it decodes and resizes


@dataclass(frozen=True)
class ImageDataset:
    """Images with labels, and which of them are for training, for choices and for the test.

    ``images`` gives a decoded 8-bit grey or RGB image for an index; ``labels`` is int64 (N,);
    ``size`` is (height, width) in pixels, None where images differ; ``channels`` is 1 or 3;
    ``splits`` maps train, validation and test to disjoint indices; ``split_note`` says what the
    split guards against and what not; ``skipped`` has one line a file left out; ``alike`` groups
    the indices of images that are copies of one picture, as far as was looked for. Raises
    DatasetError for labels, names and splits that do not fit one another.
    """

    name: str
    images: Sequence[Image.Image]
    labels: np.ndarray
    class_names: tuple[str, ...]
    size: tuple[int, int] | None
    channels: int
    licence: str
    citation: str
    splits: Mapping[str, np.ndarray]
    split_note: str
    skipped: tuple[str, ...] = ()
    alike: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DatasetError(f"{len(self.images)} images but {len(self.labels)} labels")
        if len(self.class_names) < 2:
            raise DatasetError(f"classes are {self.class_names}; a classifier needs at least two")
        if self.labels.dtype != np.int64 or self.labels.ndim != 1:
            raise DatasetError(
                f"labels are {self.labels.dtype} {self.labels.shape}; expected int64 (N,)"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < self.num_classes:
            raise DatasetError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; "
                f"{self.num_classes} classes are 0 to {self.num_classes - 1}"
            )
        empty = [split for split in SPLITS if len(self.indices(split)) == 0]
        if empty:
            raise DatasetError(f"no images in {', '.join(empty)}; each split needs some")
        used = np.concatenate([self.indices(split) for split in SPLITS])
        if not 0 <= used.min() <= used.max() < len(self):
            raise DatasetError(
                f"split indices run from {used.min()} to {used.max()}; "
                f"{len(self)} images are 0 to {len(self) - 1}"
            )
        if len(np.unique(used)) != len(used):
            raise DatasetError("the splits share images; train, validation and test must not")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def indices(self, split: str) -> np.ndarray:
        """Indices of a split, or of ``all`` images; raises DatasetError for an unknown split."""
        if split == "all":
            return np.arange(len(self))
        if split not in self.splits:
            raise DatasetError(f"no split {split!r}; splits are {', '.join(self.splits)}")
        return self.splits[split]

    def counts(self) -> pd.DataFrame:
        """Images by class (rows): train, validation, test and all (columns)."""
        columns = {
            split: np.bincount(self.labels[self.splits[split]], minlength=self.num_classes)
            for split in SPLITS
        }
        columns["all"] = np.bincount(self.labels, minlength=self.num_classes)
        return pd.DataFrame(columns, index=pd.Index(self.class_names, name="class"))

    def tensors(
        self,
        split: str,
        image_size: int,
        *,
        resize_size: int | None = None,
        interpolation: str = "bicubic",
    ) -> tuple[Tensor, Tensor]:
        """Images of a split, uint8 (n, 3, image_size, image_size); labels, int64 (n,).

        The shorter side is resized to ``resize_size`` pixels (None: to ``image_size``) and the
        centre is cut out, as torchvision does for evaluation; grey images are repeated three
        times. The split ``all`` is every image. Raises DatasetError for a ``resize_size`` smaller
        than ``image_size`` and for an ``interpolation`` that PIL does not name.
        """
        shorter = resize_size or image_size
        if not 1 <= image_size <= shorter:
            raise DatasetError(
                f"image_size {image_size} must be positive and at most resize_size {shorter}"
            )
        names = [method.name.lower() for method in Image.Resampling]
        if interpolation not in names:
            raise DatasetError(f"no interpolation {interpolation!r}; there are {', '.join(names)}")
        resample = Image.Resampling[interpolation.upper()]

        def prepare(index: int) -> np.ndarray:
            return _resize_and_crop(self.images[index], image_size, shorter, resample)

        indices = self.indices(split)
        with ThreadPoolExecutor(THREADS) as pool:
            arrays = list(pool.map(prepare, indices))
        images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
        return images, torch.from_numpy(self.labels[indices])


@dataclass(frozen=True)
class ImageFiles(Sequence[Image.Image]):
    """Image files that are decoded when indexed; ``sizes`` (width, height) if they were checked."""

    files: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        return open_image(self.files[index])


def _resize_and_crop(
    image: Image.Image, image_size: int, shorter: int, resample: Image.Resampling
) -> np.ndarray:
    """torchvision's Resize and CenterCrop on a PIL image; uint8 (image_size, image_size, 3)."""
    width, height = image.size
    # Whole pixels by cutting off, not by rounding, as torchvision computes the longer side.
    longer = shorter * max(width, height) // min(width, height)
    resized = (shorter, longer) if width <= height else (longer, shorter)
    if image.size != resized:
        image = image.resize(resized, resample)
    left = round((resized[0] - image_size) / 2)
    top = round((resized[1] - image_size) / 2)
    image = image.crop((left, top, left + image_size, top + image_size))
    return np.asarray(image.convert("RGB"))
