"""Maps on images: each value where its place looks, and as colours over what it explains."""

import math

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from tlcourse.diagnosis.cam import grad_cam
from tlcourse.errors import BackboneError
from tlcourse.networks.backbones import Backbone
from tlcourse.networks.receptive_field import Field, receptive_fields
from tlcourse.shapes import Labels, Maps


def on_image(maps: Maps, size: tuple[int, int], field: Field) -> Float[Tensor, "n height width"]:
    """Maps enlarged to the size of their images, each value at the pixel where its place looks.

    Between the pixels the result is linear, beyond the outermost constant. To stretch a map over
    the image instead (``interpolate``) puts each value into the middle of its cell; a network of
    odd kernels does not look there, but half a cell before it.

    Parameters
    ----------
    maps
        (N, h, w), such as ``cam``'s.
    size
        Height and width of the images in pixels.
    field
        That of the maps' stage, from ``receptive_fields``; behind attention or
        squeeze-and-excitation take an earlier stage's of the same step.

    Raises
    ------
    ValueError
        For the field of the whole image.

    Examples
    --------
    >>> maps = torch.rand(1, 4, 4)
    >>> large = on_image(maps, (32, 32), Field(size=15, step=8, centre=3))
    >>> torch.allclose(large[:, 3::8, 3::8], maps)
    True
    """
    if math.isnan(field.step):
        raise ValueError(
            "each place of these maps depends on the whole image, so the field does not say where "
            "it looks; take the field of an earlier stage whose maps have the same size"
        )
    axes = []
    for length, places in zip(size, maps.shape[1:], strict=True):
        place = (torch.arange(length, device=maps.device) - field.centre) / field.step
        axes.append(2 * place / max(places - 1, 1) - 1)  # grid_sample counts from −1 to 1
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1).expand(len(maps), -1, -1, -1)
    enlarged = grid_sample(maps[:, None], grid, padding_mode="border", align_corners=True)
    return enlarged[:, 0]


def overlay(
    images: UInt8[Tensor, "n 3 height width"], maps: Maps, field: Field, *, opacity: float = 0.5
) -> UInt8[Tensor, "n 3 height width"]:
    """Maps as colours over their images: dark is low, yellow is high.

    Each map is stretched from its own minimum to its own maximum.

    Parameters
    ----------
    images
        uint8 (N, 3, H, W).
    maps
        (N, h, w), such as ``cam``'s.
    field
        Says at which pixels the places of the map look; see ``on_image``.
    opacity
        Of the colours: 0 leaves the images, 1 hides them.

    Returns
    -------
    uint8 (N, 3, H, W), on the CPU.

    Examples
    --------
    >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    >>> overlay(images, torch.rand(2, 4, 4), Field(size=15, step=8, centre=3)).shape
    torch.Size([2, 3, 32, 32])
    """
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    scaled = (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)
    height, width = images.shape[2:]
    large = on_image(scaled, (height, width), field).cpu().numpy()
    colours = matplotlib.colormaps["viridis"](large)[..., :3].astype(np.float32)
    coloured = 255 * torch.from_numpy(colours).permute(0, 3, 1, 2)
    return ((1 - opacity) * images.cpu() + opacity * coloured).round().to(torch.uint8)


def explain(
    backbone: Backbone, images: UInt8[Tensor, "n 3 s s"], classes: Labels
) -> UInt8[Tensor, "n 3 s s"]:
    """Grad-CAM of the last map, as colours over square images.

    Parameters
    ----------
    images
        uint8 (N, 3, S, S).
    classes
        The class to explain in each image.

    Raises
    ------
    BackboneError
        For a backbone that is not divided into stages.

    Examples
    --------
    >>> from tlcourse.networks import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    >>> explain(backbone, images, torch.tensor([0, 2])).shape
    torch.Size([2, 3, 32, 32])
    """
    if "neck" not in backbone.stage_names:
        raise BackboneError(
            f"{backbone.name} has only {', '.join(backbone.stage_names)}, so there is no last map "
            "to explain its answers by; take one with stages, such as resnet18"
        )
    stage = backbone.stage_names[backbone.stage_index("neck") - 1]
    size = images.shape[-1]
    maps = grad_cam(backbone, images, classes, stage=stage)
    field = receptive_fields(backbone, image_size=size)[stage]
    if math.isnan(field.step):  # attention sees everything: stretch the map over the image
        step = size / maps.shape[-1]
        field = Field(size, step, (step - 1) / 2)
    return overlay(images, maps, field)
