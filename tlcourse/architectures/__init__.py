"""The landmark networks, each written from scratch in a file of its own, by name."""

from collections.abc import Callable
from functools import partial

from tlcourse.architectures import (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    mobilenet,
    resnet,
    small_resnet,
    vgg,
    vision_transformer,
)
from tlcourse.architectures.layers import Network
from tlcourse.suggestions import did_you_mean

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
        f"{kind}{depth}": partial(small_resnet.small_resnet, depth, kind=kind)
        for kind in small_resnet.KINDS
        for depth in small_resnet.DEPTHS
    },
    "vit_b_16": partial(vision_transformer.vision_transformer, width=768, num_heads=12),
    "vit_tiny_patch16_224": partial(vision_transformer.vision_transformer, width=192, num_heads=3),
    "vit_tiny_patch4_32": partial(
        vision_transformer.vision_transformer, width=192, num_heads=3, image_size=32, patch_size=4
    ),
}


def available() -> tuple[str, ...]:
    """Names that ``create`` takes."""
    return tuple(_BUILDERS)


def create(
    name: str, *, num_classes: int = 1000, in_channels: int = 3, **options: float
) -> Network:
    """A randomly initialised network by name; raises ValueError for an unknown one.

    ``options`` are those of the architecture's own function, such as ``dropout`` or ``image_size``.
    """
    if name not in _BUILDERS:
        raise ValueError(
            f"no architecture {name!r}; there are {', '.join(_BUILDERS)}"
            + did_you_mean(name, _BUILDERS)
        )
    return _BUILDERS[name](num_classes=num_classes, in_channels=in_channels, **options)
