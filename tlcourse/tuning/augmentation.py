"""Augmentation: named ways to vary a training image, and several views of a test image."""

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.transforms import v2

from tlcourse.shapes import Logits
from tlcourse.suggestions import did_you_mean
from tlcourse.tuning.training import predict

POLICIES = {
    "none": "the image as it is",
    "mirrored": "left and right change places in every other image",
    "light": "a crop of 60 % of the area or more, and a mirror",
    "colour": "brightness, contrast, saturation and hue vary",
    "heavy": "a crop of 25 % of the area or more, a mirror, and two operations of RandAugment",
}


def augmentation(name: str, image_size: int, *, mirror: bool = True) -> nn.Module | None:
    """A policy by name, as a module that varies one image of ``fit`` at a time; None for ``none``.

    Parameters
    ----------
    name : str
        Of ``POLICIES``.
    image_size : int
        The side to which crops are enlarged, in pixels.
    mirror : bool
        Whether ``light`` and ``heavy`` may mirror: not where a mirrored image is of another class.

    Raises
    ------
    ValueError
        For an unknown name.

    References
    ----------
    Szegedy et al. (2015), Going deeper with convolutions, for the crop; Cubuk et al. (2020),
    RandAugment, with two operations of strength 9 of 30, torchvision's default.

    Examples
    --------
    >>> image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    >>> augmentation("light", 32)(image).shape, augmentation("none", 32)
    (torch.Size([3, 32, 32]), None)
    """
    flip = [v2.RandomHorizontalFlip()] if mirror else []
    match name:
        case "none":
            return None
        case "mirrored":
            return v2.RandomHorizontalFlip()
        case "light":
            crop = v2.RandomResizedCrop(image_size, scale=(0.6, 1.0), antialias=True)
            return v2.Compose([crop, *flip]) if flip else crop
        case "colour":
            return v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        case "heavy":
            crop = v2.RandomResizedCrop(image_size, scale=(0.25, 1.0), antialias=True)
            return v2.Compose([crop, *flip, v2.RandAugment(num_ops=2, magnitude=9)])
    near = did_you_mean(name, POLICIES)
    raise ValueError(f"no augmentation {name!r}; there are {', '.join(POLICIES)}{near}")


def predict_views(model: nn.Module, views: Sequence[torch.Tensor]) -> Logits:
    """Test-time augmentation: the mean over views of the probabilities (N, C) of N images.

    Parameters
    ----------
    model : Module
        Images to logits.
    views : sequence of tensors
        The same N images in each, one way or another: (N, 3, H, W), of any size that the model
        takes; at least one.

    Raises
    ------
    ValueError
        For no views, and for views of different numbers of images.

    References
    ----------
    Krizhevsky, Sutskever & Hinton (2012), ImageNet classification, section 4.1: ten crops.

    Examples
    --------
    >>> images = torch.rand(2, 3, 8, 8)
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    >>> predict_views(model, [images, images.flip(-1)]).sum(dim=1).round(decimals=3)
    tensor([1., 1.])
    """
    counts = [len(view) for view in views]
    if len(set(counts)) != 1:
        raise ValueError(
            f"views hold {counts} images; expected one view or more of the same images, as in "
            "[images, images.flip(-1)]"
        )
    return torch.stack([predict(model, view).softmax(dim=1) for view in views]).mean(dim=0)
