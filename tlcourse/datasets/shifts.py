"""Controlled shifts: the same test images as another camera or another light would show them."""

import torch
from torchvision.transforms.v2.functional import gaussian_blur

from tlcourse.shapes import Images

TINT = (1.15, 0.95, 0.7)  # a warm lamp: factors on red, green and blue


def blur(images: Images, *, sigma: float = 0.02) -> Images:
    """uint8 images (N, C, H, W) out of focus: a Gaussian of ``sigma`` times their width.

    Examples
    --------
    >>> checks = torch.tensor([[0, 200], [200, 0]], dtype=torch.uint8).repeat(1, 3, 16, 16)
    >>> blurred = blur(checks, sigma=0.1)
    >>> bool(checks.float().std() > 5 * blurred.float().std())
    True
    """
    width = sigma * images.shape[-1]
    kernel = 2 * round(3 * width) + 1
    return gaussian_blur(images, [kernel, kernel], [width, width])


def tint(images: Images, factors: tuple[float, float, float] = TINT) -> Images:
    """uint8 images (N, 3, H, W) with each channel multiplied by its factor.

    Examples
    --------
    >>> grey = torch.full((1, 3, 1, 1), 100, dtype=torch.uint8)
    >>> tint(grey, (2.0, 1.0, 0.5)).flatten().tolist()
    [200, 100, 50]
    """
    scale = torch.tensor(factors).view(3, 1, 1)
    return (images * scale).round().clamp(0, 255).to(torch.uint8)


def noise(images: Images, *, sigma: float = 0.1, seed: int = 0) -> Images:
    """uint8 images with Gaussian noise of ``sigma`` times the range, drawn from ``seed``.

    Examples
    --------
    >>> grey = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    >>> bool(24 < noise(grey).float().std() < 27)
    True
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = 255 * sigma * torch.randn(images.shape, generator=generator)
    return (images + drawn).round().clamp(0, 255).to(torch.uint8)
