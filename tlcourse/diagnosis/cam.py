"""Class activation maps: which places of an image speak for a class."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from tlcourse.architectures import Network
from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone
from tlcourse.shapes import Labels, Maps

AnyImages = Shaped[Tensor, "n c h_in w_in"]

_POOLS = ("AdaptiveAvgPool2d", "SelectAdaptivePool2d")
_NOT_GAP = (
    "CAM needs a network that ends in global average pooling and one linear layer; "
    "use grad_cam, which takes any"
)


def cam(backbone: Backbone | Network, images: AnyImages, classes: Labels) -> Maps:
    """What each place of the last map adds to the logit of a class.

    For networks that end in global average pooling and a linear head: the mean of a map plus the
    head's bias *is* the logit.

    Parameters
    ----------
    images
        As the network takes them, (N, C, H, W).
    classes
        The class to explain in each image.

    Returns
    -------
    Maps (N, h, w), in logits; h and w are those of the last map.

    Raises
    ------
    ValueError
        For a network with another ending, for which ``grad_cam`` is made.

    References
    ----------
    Zhou et al. 2016, Learning Deep Features for Discriminative Localization

    Examples
    --------
    >>> from tlcourse.architectures import create
    >>> cam(create("resnet20"), torch.rand(2, 3, 48, 32), torch.tensor([1, 3])).shape
    torch.Size([2, 12, 8])
    """
    pools = [m for m in backbone.get_submodule("neck").modules() if type(m).__name__ in _POOLS]
    head = backbone.get_submodule("head")
    if not pools or not isinstance(head, nn.Linear):
        raise ValueError(_NOT_GAP)
    with evaluating(backbone), torch.no_grad():
        maps, logits = _run(backbone, images, pools[0], before=True)
        if maps.ndim != 4 or maps.shape[1] != head.in_features:
            raise ValueError(_NOT_GAP)
        weights, bias = head.weight[classes], head.bias[classes]
        result = torch.einsum("nchw,nc->nhw", maps, weights)
        scores = logits.gather(1, classes[:, None])[:, 0]
        if not torch.allclose(result.mean(dim=(1, 2)) + bias, scores, rtol=1e-3, atol=1e-3):
            raise ValueError(_NOT_GAP)
    return result


def grad_cam(
    backbone: Backbone | Network, images: AnyImages, classes: Labels, *, stage: str
) -> Maps:
    """Maps of a stage, weighted by the mean gradient of a class's logit.

    For any network and stage, frozen or not. A transformer's tokens are put back on their grid.

    Parameters
    ----------
    images
        As the network takes them, (N, C, H, W).
    classes
        The class to explain in each image.
    stage
        Whose output is explained; the last one with a map is usual.

    Returns
    -------
    Maps (N, h, w), zero or more.

    Raises
    ------
    ValueError
        For an unknown stage and for one whose output is no map.

    References
    ----------
    Selvaraju et al. 2017, Grad-CAM

    Examples
    --------
    >>> from tlcourse.architectures import create
    >>> images, classes = torch.rand(2, 3, 48, 32), torch.tensor([1, 3])
    >>> grad_cam(create("resnet20"), images, classes, stage="stage2").shape
    torch.Size([2, 24, 16])
    """
    stages = dict(backbone.named_children())
    if stage not in stages:
        raise ValueError(f"no stage {stage!r}; stages are {', '.join(stages)}")
    with evaluating(backbone), torch.enable_grad():
        maps, logits = _run(backbone, images, stages[stage], before=False)
        if maps.ndim not in (3, 4):
            raise ValueError(f"the output of {stage!r} is {tuple(maps.shape)}: no map of places")
        (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), maps)
    maps, gradient = _on_grid(maps.detach()), _on_grid(gradient)
    weights = gradient.mean(dim=(2, 3))
    return torch.einsum("nchw,nc->nhw", maps, weights).relu()


def _run(
    backbone: nn.Module, images: Tensor, module: nn.Module, *, before: bool
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
        logits = backbone(images)
    finally:
        handle.remove()
    return kept[0], logits


def _on_grid(maps: Tensor) -> Tensor:
    """Tokens (N, 1 + g · g, D) as a map (N, D, g, g), without the class token; maps as they are."""
    if maps.ndim == 4:
        return maps
    grid = round((maps.shape[1] - 1) ** 0.5)
    return maps[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
