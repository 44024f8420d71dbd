"""Crops of photographs that nobody cut or pasted: a sample of what cameras see, as a reference."""

from pathlib import Path

import numpy as np
import skimage
import sklearn
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from tlcourse.errors import DatasetError

FOLDERS = {
    Path(skimage.__file__).parent / "data": (
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
        "motorcycle_left.png",
        "rocket.jpg",
    ),
    Path(sklearn.__file__).parent / "datasets" / "images": ("china.jpg", "flower.jpg"),
}
SHARES = (0.3, 0.9)  # of the shorter side that a crop takes


def photograph_crops(count: int, *, image_size: int, seed: int) -> UInt8[Tensor, "n 3 s s"]:
    """Square crops of seven colour photographs that come with scikit-image and scikit-learn.

    A person, a cat, a cup, a motorcycle, a rocket, a temple and a flower, as many crops of each (or
    one more): crops of one photograph are alike, so there are seven independent ones, not
    ``count``. uint8 (count, 3, S, S), in a drawn order.

    Raises
    ------
    DatasetError
        For fewer than one, and when the libraries came without their photographs.

    Examples
    --------
    >>> photograph_crops(3, image_size=32, seed=0).shape
    torch.Size([3, 3, 32, 32])
    """
    files = [folder / name for folder, names in FOLDERS.items() for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing or count < 1:
        told = f"{', '.join(missing)} missing: reinstall scikit-image and scikit-learn"
        raise DatasetError(told if missing else f"{count} crops; expected one or more")
    generator = np.random.default_rng(seed)
    crops = []
    for k in generator.permutation(count):
        with Image.open(files[k % len(files)]) as photograph:
            side = round(min(photograph.size) * generator.uniform(*SHARES))
            left, top = (int(generator.integers(length - side + 1)) for length in photograph.size)
            crop = photograph.convert("RGB").crop((left, top, left + side, top + side))
        crops.append(np.asarray(crop.resize((image_size, image_size), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
