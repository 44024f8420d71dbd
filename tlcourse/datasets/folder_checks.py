"""What is unusual about a user's images: said before they are trained on."""

import numpy as np

from tlcourse.datasets.dataset import ImageDataset, ImageFiles
from tlcourse.datasets.splits import SPLITS

IMBALANCE = 3  # the largest class to the smallest
FEW = 20  # images a class
SHOWN = 5


def check_images(dataset: ImageDataset, image_size: int) -> list[str]:
    """One line for each thing to know: files left out, copies, imbalance, few or tiny images.

    Parameters
    ----------
    dataset
        From ``load_folder``.
    image_size
        Side in pixels at which the images will be used.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from tlcourse.datasets import load_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(14):
    ...         Path(folder, f"class{i % 2}").mkdir(exist_ok=True)
    ...         Image.new("L", (64, 64), 9 * i).save(Path(folder, f"class{i % 2}", f"{i}.png"))
    ...     print(*check_images(load_folder(folder), 64))
    class0 has only 7 images: expect a rough estimate
    """
    return [
        *dataset.notes,
        *_left_out(dataset),
        *_copies(dataset),
        *_class_sizes(dataset),
        *_tiny(dataset, image_size),
    ]


def _left_out(dataset: ImageDataset) -> list[str]:
    if not dataset.skipped:
        return []
    more = len(dataset.skipped) - SHOWN
    shown = [f"left out: {line}" for line in dataset.skipped[:SHOWN]]
    return shown + ([f"left out: {more} more"] if more > 0 else [])


def _copies(dataset: ImageDataset) -> list[str]:
    if not dataset.alike:
        return []
    files = _files(dataset).files
    images = sum(map(len, dataset.alike))
    first = ", ".join(files[i].name for i in dataset.alike[0])
    lines = [
        f"pictures that are there more than once, perhaps at another size or quality: "
        f"{len(dataset.alike)}, {images} images in all, such as {first}; where the split is made "
        "here, they are on one side of it"
    ]
    split = {int(i): name for name in SPLITS for i in dataset.splits[name]}
    across = [group for group in dataset.alike if len({split[i] for i in group if i in split}) > 1]
    if across:
        names = " and ".join(str(files[i]) for i in across[0][:2])
        lines.append(
            f"pictures in two of your train, val and test folders: {len(across)}, such as {names}; "
            "the accuracy will look better than it is"
        )
    torn = [group for group in dataset.alike if len(set(dataset.labels[list(group)])) > 1]
    if torn:
        names = " and ".join(str(files[i]) for i in torn[0][:2])
        lines.append(f"pictures under two classes: {len(torn)}, such as {names}")
    return lines


def _class_sizes(dataset: ImageDataset) -> list[str]:
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    small, large = int(counts.argmin()), int(counts.argmax())
    names = dataset.class_names
    lines = []
    if counts[large] > IMBALANCE * counts[small]:
        lines.append(
            f"{names[large]} has {counts[large]} images, {names[small]} {counts[small]}: read the "
            "accuracy of each class, not only the mean"
        )
    if counts[small] < FEW:
        lines.append(f"{names[small]} has only {counts[small]} images: expect a rough estimate")
    return lines


def _tiny(dataset: ImageDataset, image_size: int) -> list[str]:
    tiny = sum(min(size) < image_size / 2 for size in _files(dataset).sizes)
    if not tiny:
        return []
    return [
        f"{tiny} of {len(dataset)} images have a side below {image_size // 2} px and are enlarged "
        f"to {image_size} px, which adds no detail"
    ]


def _files(dataset: ImageDataset) -> ImageFiles:
    assert isinstance(dataset.images, ImageFiles), "only images in files can be checked"
    return dataset.images
