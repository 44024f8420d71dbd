"""Class activation maps: which places of an image speak for a class."""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from tlcourse.diagnosis.samples import check_labels
from tlcourse.modes import evaluating
from tlcourse.shapes import Labels, Maps
from tlcourse.suggestions import did_you_mean
from tlcourse.wrappers import unwrapped

AnyImages = Shaped[Tensor, "n c h_in w_in"]

_POOLS = ("AdaptiveAvgPool2d", "SelectAdaptivePool2d")
_NOT_GAP = (
    "CAM needs a network that ends in global average pooling and one linear layer; "
    "use grad_cam, which takes any"
)


def cam(backbone: nn.Module, images: AnyImages, classes: Labels) -> Maps:
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
        For a network with another ending, for which ``grad_cam`` is made; for a class without a
        logit.

    References
    ----------
    Zhou et al. 2016, Learning Deep Features for Discriminative Localization

    Examples
    --------
    >>> from tlcourse.architectures import create
    >>> cam(create("resnet20"), torch.rand(2, 3, 48, 32), torch.tensor([1, 3])).shape
    torch.Size([2, 12, 8])
    """
    backbone = unwrapped(backbone)
    if not {"neck", "head"} <= dict(backbone.named_children()).keys():
        raise ValueError(_NOT_GAP)
    pools = [m for m in backbone.get_submodule("neck").modules() if type(m).__name__ in _POOLS]
    head = backbone.get_submodule("head")
    if not pools or not isinstance(head, nn.Linear):
        raise ValueError(_NOT_GAP)
    with evaluating(backbone), torch.no_grad():
        maps, logits = _run(backbone, images, pools[0], before=True)
        check_labels(classes, logits)
        if maps.ndim != 4 or maps.shape[1] != head.in_features:
            raise ValueError(_NOT_GAP)
        weights = head.weight[classes]
        bias = 0.0 if head.bias is None else head.bias[classes]
        result = torch.einsum("nchw,nc->nhw", maps, weights)
        scores = logits.gather(1, classes[:, None])[:, 0]
        if not torch.allclose(result.mean(dim=(1, 2)) + bias, scores, rtol=1e-3, atol=1e-3):
            raise ValueError(_NOT_GAP)
    return result


def grad_cam(model: nn.Module, images: AnyImages, classes: Labels, *, stage: str) -> Maps:
    """Maps of a stage, weighted by the mean gradient of a class's logit.

    For any network and stage, frozen or not. A transformer's tokens are put back on their grid,
    which has the proportions of the image, without those before them, such as a class token; Swin's
    channels may be last.

    Parameters
    ----------
    model
        Gives logits (N, classes).
    images
        As the network takes them, (N, C, H, W).
    classes
        The class to explain in each image.
    stage
        Whose output is explained: a stage of a backbone, a submodule of any model. The last one
        with a map is usual.

    Returns
    -------
    Maps (N, h, w), zero or more.

    Raises
    ------
    ValueError
        For an unknown stage, for one whose output is no map, and for a class without a logit.

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
    model = unwrapped(model)
    inner = dict(model.named_modules())
    if not stage or stage not in inner:
        raise ValueError(
            f"no stage {stage!r}; stages are {', '.join(dict(model.named_children()))}"
            f"{did_you_mean(stage, inner)}"
        )
    with evaluating(model), torch.enable_grad():
        maps, logits = _run(model, images, inner[stage], before=False)
        check_labels(classes, logits)
        if maps.ndim not in (3, 4):
            raise ValueError(f"the output of {stage!r} is {tuple(maps.shape)}: no map of places")
        score = logits.gather(1, classes[:, None]).sum()
        gradient = None
        if score.requires_grad:
            (gradient,) = torch.autograd.grad(score, maps, allow_unused=True)
        if gradient is None:
            raise ValueError(
                f"no gradient comes from the logits to {stage!r}: its output is not used, or what "
                "lies behind it has no gradient, as a detach() or a quantised layer"
            )
    height, width = images.shape[2:]
    maps, gradient = (_on_grid(t, width / height) for t in (maps.detach(), gradient))
    weights = gradient.mean(dim=(2, 3))
    return torch.einsum("nchw,nc->nhw", maps, weights).relu()


def _run(
    backbone: nn.Module, images: Tensor, module: nn.Module, *, before: bool
) -> tuple[Tensor, Tensor]:
    """What goes into a module (``before``) or comes out of it, as a leaf, and the logits."""
    kept: list[Tensor] = []

    def keep(value: object) -> Tensor:
        if not isinstance(value, Tensor):
            raise ValueError(f"{type(module).__name__} gives a {type(value).__name__}: no map")
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


def _on_grid(maps: Tensor, aspect: float) -> Tensor:
    """Tokens (N, k + h · w, D) and maps (N, h, w, D) as maps (N, D, h, w) of this aspect, w / h.

    The k tokens before those of the places are as few as can be: none, a class token, registers.
    """
    if maps.ndim == 4:
        last, usual = (abs(h * aspect - w) < 1 for h, w in (maps.shape[1:3], maps.shape[2:]))
        return maps.permute(0, 3, 1, 2) if last and not usual else maps  # Swin puts channels last
    for places in range(maps.shape[1], 0, -1):
        height = round((places / aspect) ** 0.5)
        if height and places == height * round(height * aspect):
            tokens = maps[:, maps.shape[1] - places :]
            return tokens.transpose(1, 2).unflatten(2, (height, -1))
    raise AssertionError("one place is a grid")
