"""One description for every data set: images, labels, names, licence and splits."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from tlcourse.datasets.images import open_image
from tlcourse.datasets.splits import SPLITS
from tlcourse.errors import DatasetError
from tlcourse.shapes import Labels

THREADS = 4  # PIL lets other threads run while it decodes and resizes


@dataclass(frozen=True)
class ImageDataset:
    """Images with labels, and which of them are for training, for choices and for the test.

    Attributes
    ----------
    images
        Gives a decoded 8-bit grey or RGB image for an index.
    labels
        int64 (N,), counted in ``class_names``.
    size
        (height, width) in pixels, None where images differ.
    channels
        1 or 3.
    splits
        Maps train, validation and test to disjoint indices.
    split_note
        What the split guards against, and what not.
    skipped
        One line a file left out.
    notes
        What else was noticed while the files were read.
    alike
        Groups of indices whose images are copies of one picture, as far as was looked for.
    groups
        int64 (N,), equal where images show one thing (an animal, a module, a font); None where
        that is unknown.

    Raises
    ------
    DatasetError
        For labels, names and splits that do not fit one another.

    Examples
    --------
    >>> from tlcourse.datasets import load_dataset
    >>> digits = load_dataset("digits")
    >>> len(digits), digits.size, digits.num_classes
    (1797, (8, 8), 10)
    >>> digits.counts().loc["7"].tolist()  # train, validation, test, all
    [107, 27, 45, 179]
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
    notes: tuple[str, ...] = ()
    groups: np.ndarray | None = None

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
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise DatasetError(f"{len(self.groups)} groups but {len(self.labels)} labels")
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
        """Images by class (rows) and split (columns: train, validation, test, all)."""
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
    ) -> tuple[UInt8[Tensor, "n 3 s s"], Labels]:
        """Images and labels of a split, as torchvision prepares images for evaluation.

        The shorter side is resized and the centre cut out; grey images are repeated three times.

        Parameters
        ----------
        split
            ``train``, ``validation``, ``test``, or ``all`` images.
        image_size
            Side of the images that come out, in pixels.
        resize_size
            Pixels to which the shorter side is resized before (None: ``image_size``).
        interpolation
            A name of torchvision's ``InterpolationMode``.

        Raises
        ------
        DatasetError
            For an unknown split or interpolation, and for a ``resize_size`` below ``image_size``.

        Examples
        --------
        >>> from tlcourse.datasets import load_dataset
        >>> images, labels = load_dataset("digits").tensors("test", 16)
        >>> images.shape, labels.shape
        (torch.Size([450, 3, 16, 16]), torch.Size([450]))
        """
        shorter = resize_size or image_size
        if not 1 <= image_size <= shorter:
            raise DatasetError(
                f"image_size {image_size} must be positive and at most resize_size {shorter}"
            )
        names = [mode.value for mode in InterpolationMode]
        if interpolation not in names:
            raise DatasetError(f"no interpolation {interpolation!r}; there are {', '.join(names)}")
        mode = InterpolationMode(interpolation)

        def prepare(index: int) -> Tensor:
            image = center_crop(resize(self.images[index], [shorter], mode), [image_size])
            return pil_to_tensor(image.convert("RGB"))

        indices = self.indices(split)
        with ThreadPoolExecutor(THREADS) as pool:
            images = torch.stack(list(pool.map(prepare, indices.tolist())))
        return images, torch.from_numpy(self.labels[indices])


@dataclass(frozen=True)
class ImageFiles(Sequence[Image.Image]):
    """Image files that are decoded when indexed; ``sizes`` (width, height) if they were checked.

    ``bits`` are those of which 16-bit files make use, see ``open_image``.
    """

    files: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...] = ()
    bits: int | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image.Image:  # type: ignore[override]
        return open_image(self.files[index], bits=self.bits)
