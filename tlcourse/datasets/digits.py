"""1,797 digits written by hand, 8 × 8 px, from scikit-learn."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from tlcourse.datasets.dataset import ImageDataset
from tlcourse.datasets.splits import make_splits

DIGITS = tuple("0123456789")


def load_handwritten_digits(split_seed: int) -> ImageDataset:
    """scikit-learn's copy of UCI's optical digits; grey values 0…16 become 0…255."""
    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    return ImageDataset(
        name="digits",
        images=[Image.fromarray(array) for array in pixels],
        labels=labels,
        class_names=DIGITS,
        size=(8, 8),
        channels=1,
        licence="CC BY 4.0",
        citation=(
            "Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine "
            "Learning Repository, doi:10.24432/C50P49; test part, as in scikit-learn"
        ),
        splits=make_splits(labels, class_names=DIGITS, seed=split_seed),
        split_note=(
            "stratified by class; scikit-learn's copy does not say who wrote which digit, "
            "so one hand may be on both sides."
        ),
    )
