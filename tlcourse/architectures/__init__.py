"""The landmark networks, each written from scratch in a file of its own, by name.

Each module here is one family, with the rules that rename its weights to another library's, such as
``resnet.TORCHVISION_NAMES`` for ``load_renamed``.
"""

from collections.abc import Callable
from functools import partial

from tlcourse.architectures import (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    mobilenet,
    resnet,
    vgg,
    vision_transformer,
)
from tlcourse.architectures.layers import Network, load_renamed
from tlcourse.architectures.small_resnet import DEPTHS, KINDS, small_resnet
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation
from tlcourse.architectures.vision_transformer import Tokens, attention
from tlcourse.suggestions import look_up

__all__ = [
    "Network",
    "SqueezeExcitation",
    "Tokens",
    "alexnet",
    "attention",
    "available",
    "convnext",
    "create",
    "densenet",
    "efficientnet",
    "load_renamed",
    "mobilenet",
    "resnet",
    "small_resnet",
    "vgg",
    "vision_transformer",
]

_BLOCKS = {
    name: resnet.BasicBlock if name in ("resnet18", "resnet34") else resnet.Bottleneck
    for name in resnet.DEPTHS
}
_BUILDERS: dict[str, Callable[..., Network]] = {
    "alexnet": alexnet.alexnet,
    **{
        name + suffix: partial(vgg.vgg, depths, batch_norm=bool(suffix))
        for name, depths in vgg.DEPTHS.items()
        for suffix in ("", "_bn")
    },
    **{
        name: partial(resnet.resnet, _BLOCKS[name], depths)
        for name, depths in resnet.DEPTHS.items()
    },
    **{
        f"se{name}": partial(resnet.resnet, _BLOCKS[name], resnet.DEPTHS[name], se=True)
        for name in ("resnet18", "resnet50")
    },
    "densenet121": densenet.densenet121,
    "mobilenet_v2": mobilenet.mobilenet_v2,
    "mobilenet_v3_small": mobilenet.mobilenet_v3_small,
    "efficientnet_b0": efficientnet.efficientnet_b0,
    "efficientnet_lite0": efficientnet.efficientnet_lite0,
    "convnext_tiny": convnext.convnext_tiny,
    **{
        f"{kind}{depth}": partial(small_resnet, depth, kind=kind)
        for kind in KINDS
        for depth in DEPTHS
    },
    "vit_b_16": partial(vision_transformer.vision_transformer, width=768, num_heads=12),
    "vit_tiny_patch16_224": partial(vision_transformer.vision_transformer, width=192, num_heads=3),
    "vit_tiny_patch4_32": partial(
        vision_transformer.vision_transformer, width=192, num_heads=3, image_size=32, patch_size=4
    ),
}


def available() -> tuple[str, ...]:
    """Names that ``create`` takes.

    Examples
    --------
    >>> "resnet18" in available()
    True
    """
    return tuple(_BUILDERS)


def create(
    name: str, *, num_classes: int = 1000, in_channels: int = 3, **options: int | float
) -> Network:
    """A randomly initialised network by name.

    Parameters
    ----------
    name
        One of ``available()``.
    options
        Those of the architecture's own function, such as ``dropout`` or ``image_size``.

    Raises
    ------
    ValueError
        For an unknown name.

    Examples
    --------
    >>> import torch
    >>> network = create("resnet20", num_classes=7)
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 7])
    """
    build = look_up(name, _BUILDERS, "architecture")
    return build(num_classes=num_classes, in_channels=in_channels, **options)
