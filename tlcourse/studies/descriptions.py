"""Images as vectors without any training: a network's pooled stages, raw pixels and HOG."""

import numpy as np
from skimage.feature import hog
from torch.nn.functional import interpolate

from tlcourse.networks.backbones import Backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.shapes import Images

PIXELS = 16  # the side of the image that raw pixels are taken from
CELLS = 8  # of HOG along a side, as Dalal and Triggs have on the side of 64 px of their windows
LATE = ("stage3", "stage4", "neck")


def describe(backbone: Backbone, images: Images) -> dict[str, np.ndarray]:
    """Every stage, ``late`` (the last three together), ``pixels`` and ``hog``, (N, d) each.

    Parameters
    ----------
    backbone : Backbone
        With stages stage3 and stage4.
    images : Tensor
        uint8 (N, 3, S, S).

    Returns
    -------
    dict of str to ndarray
        float32; 256 grey values for ``pixels``, 1,764 normed counts of directions for ``hog``.

    References
    ----------
    .. [1] N. Dalal, B. Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005;
       computed by scikit-image with nine directions and blocks of two by two cells, as there.

    Examples
    --------
    >>> import torch
    >>> from tlcourse.networks.backbones import load_backbone
    >>> images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    >>> found = describe(load_backbone("efficientnet_lite0"), images)
    >>> {name: vectors.shape[1] for name, vectors in found.items() if name in ("pixels", "hog")}
    {'pixels': 256, 'hog': 1764}
    """
    stages = pooled_stages(backbone, images)
    return {
        **stages,
        "late": np.concatenate([stages[stage] for stage in LATE], axis=1),
        "pixels": _pixels(images),
        "hog": _hog(images),
    }


def _pixels(images: Images) -> np.ndarray:
    grey = images.float().mean(1, keepdim=True)
    return interpolate(grey, (PIXELS, PIXELS), mode="area").flatten(1).numpy()


def _hog(images: Images) -> np.ndarray:
    cell = images.shape[-1] // CELLS
    return np.stack(
        [
            hog(grey, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2))
            for grey in images.float().mean(1).numpy()
        ]
    ).astype(np.float32)
