"""Mixed batches: two images in one, and a target that is shared between their classes."""

import torch
from torch import Tensor, nn


def mixed(mix: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A batch through ``torchvision.transforms.v2.MixUp`` or ``CutMix``: images and shares (N, C).

    MixUp's weighted means are rounded, so that a network still gets uint8 and normalises it by its
    own constants.

    Examples
    --------
    >>> from torchvision.transforms import v2
    >>> images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    >>> x, shares = mixed(v2.MixUp(num_classes=3), images, torch.tensor([0, 1, 2, 0]))
    >>> x.dtype, shares.shape, shares.sum(dim=1).round(decimals=3).tolist()
    (torch.uint8, torch.Size([4, 3]), [1.0, 1.0, 1.0, 1.0])
    """
    x, shares = mix(images.float(), labels)
    return x.round().to(torch.uint8), shares


def check_mix(mix: nn.Module, num_classes: int) -> None:
    """Raise ValueError where ``mix`` makes shares of other classes than the model has logits."""
    made = getattr(mix, "num_classes", None)
    if made != num_classes:
        raise ValueError(
            f"{type(mix).__name__} was made with num_classes={made}, but the model has "
            f"{num_classes} classes; make it with num_classes={num_classes}"
        )
