"""Class activation maps: which places of an image speak for a class."""

import math

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from tlcourse.errors import BackboneError
from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone
from tlcourse.networks.receptive_field import Field, receptive_fields


def cam(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """What each place of the last map adds to the logit of a class (Zhou et al. 2016).

    For networks that end in global average pooling and a linear head; images (N, C, H, W) and
    classes int64 (N,) give maps (N, h, w). The mean of a map plus the head's bias *is* the logit.
    Raises ValueError for a network with another ending, for which ``grad_cam`` is made.
    """
    pools = [m for m in network.neck.modules() if type(m).__name__ in _POOLS]
    if not pools or not isinstance(network.head, nn.Linear):
        raise ValueError(_NOT_GAP)
    with evaluating(network), torch.no_grad():
        maps, logits = _run(network, images, pools[0], before=True)
        if maps.ndim != 4 or maps.shape[1] != network.head.in_features:
            raise ValueError(_NOT_GAP)
        weights, bias = network.head.weight[classes], network.head.bias[classes]
        result = torch.einsum("nchw,nc->nhw", maps, weights)
        scores = logits.gather(1, classes[:, None])[:, 0]
        if not torch.allclose(result.mean(dim=(1, 2)) + bias, scores, rtol=1e-3, atol=1e-3):
            raise ValueError(_NOT_GAP)
    return result


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor, *, stage: str) -> Tensor:
    """Maps of a stage, weighted by the mean gradient of a class's logit (Selvaraju et al. 2017).

    For any network and stage, frozen or not; images (N, C, H, W) and classes int64 (N,) give maps
    (N, h, w), zero or more. A transformer's tokens are put back on their grid. Raises ValueError
    for an unknown stage and for one whose output is no map.
    """
    stages = dict(network.named_children())
    if stage not in stages:
        raise ValueError(f"no stage {stage!r}; stages are {', '.join(stages)}")
    with evaluating(network), torch.enable_grad():
        maps, logits = _run(network, images, stages[stage], before=False)
        if maps.ndim not in (3, 4):
            raise ValueError(f"the output of {stage!r} is {tuple(maps.shape)}: no map of places")
        (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), maps)
    maps, gradient = _on_grid(maps.detach()), _on_grid(gradient)
    weights = gradient.mean(dim=(2, 3))
    return torch.einsum("nchw,nc->nhw", maps, weights).relu()


def overlay(images: Tensor, maps: Tensor, field: Field, *, opacity: float = 0.5) -> Tensor:
    """Maps (N, h, w) as colours over uint8 images (N, 3, H, W): dark is low, yellow is high.

    ``field`` says at which pixels the places of the map look (see ``on_image``). Each map is
    stretched from its own minimum to its own maximum. Gives uint8 (N, 3, H, W).
    """
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    scaled = (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)
    large = on_image(scaled, images.shape[2:], field).cpu().numpy()
    colours = matplotlib.colormaps["viridis"](large)[..., :3].astype(np.float32)
    coloured = 255 * torch.from_numpy(colours).permute(0, 3, 1, 2)
    return ((1 - opacity) * images.cpu() + opacity * coloured).round().to(torch.uint8)


def explain(backbone: Backbone, images: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM of the last map as colours over uint8 images (N, 3, S, S).

    Raises BackboneError for a backbone that is not divided into stages.
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


def on_image(maps: Tensor, size: tuple[int, int], field: Field) -> Tensor:
    """Maps (N, h, w) enlarged to ``size``, each value at the pixel where its place looks.

    ``field`` is that of the maps' stage, from ``receptive_fields``; behind attention or
    squeeze-and-excitation take an earlier stage's of the same step. Between the pixels the result
    is linear, beyond the outermost constant. Raises ValueError for the whole image's field.

    To stretch a map over the image instead (``interpolate``) puts each value into the middle of
    its cell; a network of odd kernels does not look there, but half a cell before it.
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


_POOLS = ("AdaptiveAvgPool2d", "SelectAdaptivePool2d")
_NOT_GAP = (
    "CAM needs a network that ends in global average pooling and one linear layer; "
    "use grad_cam, which takes any"
)


def _run(
    network: nn.Module, images: Tensor, module: nn.Module, *, before: bool
) -> tuple[Tensor, Tensor]:
    """What goes into a module (``before``) or comes out of it, as a leaf, and the logits."""
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        # A leaf: the gradient stops here, also when everything below is frozen. The copy that
        # runs on may be changed in place.
        kept.append(value.detach().requires_grad_(torch.is_grad_enabled()))
        return kept[0].clone()

    if before:
        handle = module.register_forward_pre_hook(lambda _, inputs: (keep(inputs[0]),))
    else:
        handle = module.register_forward_hook(lambda _, inputs, output: keep(output))
    try:
        logits = network(images)
    finally:
        handle.remove()
    return kept[0], logits


def _on_grid(maps: Tensor) -> Tensor:
    """Tokens (N, 1 + g · g, D) as a map (N, D, g, g), without the class token; maps as they are."""
    if maps.ndim == 4:
        return maps
    grid = round((maps.shape[1] - 1) ** 0.5)
    return maps[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
