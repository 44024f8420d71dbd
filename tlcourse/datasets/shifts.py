"""Controlled shifts: the same test images as another camera or another light would show them."""

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

TINT = (1.15, 0.95, 0.7)  # a warm lamp: factors on red, green and blue


def blur(images: Tensor, *, sigma: float = 0.02) -> Tensor:
    """uint8 images (N, 3, S, S) out of focus: a Gaussian of ``sigma`` times their side."""
    width = sigma * images.shape[-1]
    kernel = 2 * round(3 * width) + 1
    return gaussian_blur(images, [kernel, kernel], [width, width])


def tint(images: Tensor, factors: tuple[float, float, float] = TINT) -> Tensor:
    """uint8 images (N, 3, H, W) with each channel multiplied by its factor."""
    scale = torch.tensor(factors).view(3, 1, 1)
    return (images * scale).round().clamp(0, 255).to(torch.uint8)
