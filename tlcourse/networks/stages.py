"""One vocabulary for the depth of every network: stem, stage1 … stage4, neck, head.

A *stage* ends where the picture has been shrunk by the same factor in every family:

========  ======  ==========================================================================
stage     stride  what it is
========  ======  ==========================================================================
stem      2 or 4  the first convolution and what belongs to it
stage1         4  blocks on maps of a quarter of the image's height and width
stage2         8  …an eighth
stage3        16  …a sixteenth
stage4        32  …a thirty-second
neck           –  what turns the last map into one feature vector (pooling, its norm, hidden layers)
head           –  the linear classifier
========  ======  ==========================================================================

A vision transformer never shrinks its tokens; its blocks are divided into four equal stages.
AlexNet's stages are its five convolutions. Other families come apart where their chain of blocks
allows it, found by running them once and checked against their own logits; a network without such
a chain has only ``body`` and ``head``.
"""

from collections.abc import Callable, Iterable

import timm.models as timm_models
import torch
import torchvision.models as tv_models
from torch import Tensor, nn

from tlcourse.architectures.layers import STAGE_BY_STRIDE
from tlcourse.architectures.vision_transformer import ClassToken
from tlcourse.networks.parts import Stages, runs_as, split_any
from tlcourse.networks.pit import split_pit

STAGES = ["stem", "stage1", "stage2", "stage3", "stage4", "neck", "head"]


def split_into_stages(network: nn.Module, image_size: int | None = None) -> Stages:
    """The parts of a classification network, by stage, in the order they run.

    Running the parts one after another gives the network's own logits; the parts share its
    parameters. ``image_size`` in pixels is that of the images to try them on: by default what timm
    says that the network takes, or 224.

    Raises
    ------
    ValueError
        For a network that does not end in one linear classifier.

    Examples
    --------
    >>> import torchvision
    >>> list(split_into_stages(torchvision.models.resnet18()))
    ['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'neck', 'head']
    """
    split = _FAMILIES.get(type(network))
    if split is None:
        return split_any(network, image_size)
    # timm has variants of its families that are put together in another way, users have theirs.
    try:
        stages = split(network)
    except AttributeError:  # of other parts
        return split_any(network, image_size)
    usual = list(stages) in (STAGES, [s for s in STAGES if s != "stage4"])
    if image_size is not None or hasattr(network, "get_classifier"):
        usual = usual and runs_as(network, stages, image_size)
    return stages if usual else split_any(network, image_size)


class TorchvisionTokens(nn.Module):
    """torchvision's ViT before its blocks; images (N, 3, H, W) → tokens (N, T, D)."""

    def __init__(self, network: tv_models.VisionTransformer) -> None:
        super().__init__()
        self.conv_proj = network.conv_proj
        self.class_token = network.class_token
        self.pos_embedding = network.encoder.pos_embedding
        self.dropout = network.encoder.dropout

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(images.shape[0], -1, -1)
        return self.dropout(torch.cat([class_token, patches], dim=1) + self.pos_embedding)


class TimmTokens(nn.Module):
    """timm's ViT before its blocks; images (N, 3, H, W) → tokens (N, T, D)."""

    def __init__(self, network: timm_models.VisionTransformer) -> None:
        super().__init__()
        assert network.cls_token is not None and network.pos_embed is not None  # see _timm_vit
        self.patch_embed = network.patch_embed
        self.cls_token = network.cls_token
        self.pos_embed = network.pos_embed
        self.after = nn.Sequential(network.pos_drop, network.patch_drop, network.norm_pre)

    def forward(self, images: Tensor) -> Tensor:
        class_token = self.cls_token.expand(images.shape[0], -1, -1)
        tokens = torch.cat([class_token, self.patch_embed(images)], dim=1)
        return self.after(tokens + self.pos_embed)


def _by_stride(blocks: Iterable[nn.Module]) -> Stages:
    """Blocks grouped by the stride of their output, which is the product of the strides so far."""
    stride = 1
    grouped: dict[str, list[nn.Module]] = {}
    for block in blocks:
        stride *= max(m.stride[0] for m in block.modules() if isinstance(m, nn.Conv2d))
        grouped.setdefault(STAGE_BY_STRIDE[stride], []).append(block)
    return {stage: nn.Sequential(*members) for stage, members in grouped.items()}


def _four(blocks: nn.Sequential) -> Stages:
    """A transformer's blocks in four equal stages."""
    n = len(blocks)
    return {f"stage{k + 1}": blocks[k * n // 4 : (k + 1) * n // 4] for k in range(4)}


def _until_pool(features: nn.Sequential) -> Stages:
    """VGG's convolutions, each stage ending with its pooling layer."""
    stages: Stages = {}
    start = 0
    for end, layer in enumerate(features, start=1):
        if isinstance(layer, nn.MaxPool2d):
            stages["stem" if not stages else f"stage{len(stages)}"] = features[start:end]
            start = end
    return stages


def _densenet(features: nn.Sequential) -> Stages:
    """DenseNet's blocks; a transition belongs to the stage it leads to, as in ResNet."""
    parts = dict(features.named_children())
    names = list(parts)
    stem = [parts[name] for name in names[: names.index("denseblock1")]]
    stages: Stages = {"stem": nn.Sequential(*stem), "stage1": parts["denseblock1"]}
    for k in (2, 3, 4):
        stages[f"stage{k}"] = nn.Sequential(parts[f"transition{k - 1}"], parts[f"denseblock{k}"])
    return stages


def _tv_resnet(net: tv_models.ResNet) -> Stages:
    return {
        "stem": nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool),
        "stage1": net.layer1,
        "stage2": net.layer2,
        "stage3": net.layer3,
        "stage4": net.layer4,
        "neck": nn.Sequential(net.avgpool, nn.Flatten()),
        "head": net.fc,
    }


def _tv_vgg(net: tv_models.VGG) -> Stages:
    neck = nn.Sequential(net.avgpool, nn.Flatten(), *net.classifier[:-1])
    return {**_until_pool(net.features), "neck": neck, "head": net.classifier[-1]}


def _tv_alexnet(net: tv_models.AlexNet) -> Stages:
    stages: Stages = {"stem": net.features[:3]}  # convolution, ReLU, and pooling where there is
    for k, (start, end) in enumerate([(3, 6), (6, 8), (8, 10), (10, 13)], start=1):
        stages[f"stage{k}"] = net.features[start:end]
    neck = nn.Sequential(net.avgpool, nn.Flatten(), *net.classifier[:-1])
    return {**stages, "neck": neck, "head": net.classifier[-1]}


def _tv_densenet(net: tv_models.DenseNet) -> Stages:
    neck = nn.Sequential(net.features.norm5, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return {**_densenet(net.features), "neck": neck, "head": net.classifier}


def _tv_mobile(
    net: tv_models.MobileNetV2 | tv_models.MobileNetV3 | tv_models.EfficientNet,
) -> Stages:
    pool = nn.Sequential(net.features[-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    neck = nn.Sequential(*pool, *net.classifier[:-1])
    return {**_by_stride(net.features[:-1]), "neck": neck, "head": net.classifier[-1]}


def _tv_convnext(net: tv_models.ConvNeXt) -> Stages:
    stages: Stages = {"stem": net.features[0], "stage1": net.features[1]}
    for k in (2, 3, 4):  # each pair is the downsampling layer and its blocks
        stages[f"stage{k}"] = net.features[2 * k - 2 : 2 * k]
    neck = nn.Sequential(net.avgpool, *net.classifier[:-1])
    return {**stages, "neck": neck, "head": net.classifier[-1]}


def _tv_vit(net: tv_models.VisionTransformer) -> Stages:
    neck = nn.Sequential(net.encoder.ln, ClassToken())
    blocks = _four(net.encoder.layers)
    return {"stem": TorchvisionTokens(net), **blocks, "neck": neck, "head": net.heads.head}


def _timm_resnet(net: timm_models.ResNet) -> Stages:
    return {
        "stem": nn.Sequential(net.conv1, net.bn1, net.act1, net.maxpool),
        "stage1": net.layer1,
        "stage2": net.layer2,
        "stage3": net.layer3,
        "stage4": net.layer4,
        "neck": net.global_pool,
        "head": net.fc,
    }


def _timm_vgg(net: timm_models.VGG) -> Stages:
    neck = nn.Sequential(net.pre_logits, net.head.global_pool, net.head.drop)
    return {**_until_pool(net.features), "neck": neck, "head": net.head.fc}


def _timm_densenet(net: timm_models.DenseNet) -> Stages:
    norm = net.features.get_submodule("norm5")
    pool = net.get_submodule("global_pool")
    neck = nn.Sequential(norm, pool, net.head_drop)
    return {**_densenet(net.features), "neck": neck, "head": net.classifier}


def _timm_efficientnet(net: timm_models.EfficientNet) -> Stages:
    blocks = [nn.Sequential(net.conv_stem, net.bn1), *net.blocks]
    neck = nn.Sequential(net.conv_head, net.bn2, net.global_pool)
    return {**_by_stride(blocks), "neck": neck, "head": net.classifier}


def _timm_mobilenetv3(net: timm_models.MobileNetV3) -> Stages:
    blocks = [nn.Sequential(net.conv_stem, net.bn1), *net.blocks]
    neck = nn.Sequential(net.global_pool, net.conv_head, net.norm_head, net.act2, net.flatten)
    return {**_by_stride(blocks), "neck": neck, "head": net.classifier}


def _timm_convnext(net: timm_models.ConvNeXt) -> Stages:
    head = net.head
    stages: Stages = {f"stage{k}": stage for k, stage in enumerate(net.stages, start=1)}
    pool = [net.norm_pre, head.global_pool, head.norm, head.flatten, head.pre_logits, head.drop]
    return {"stem": net.stem, **stages, "neck": nn.Sequential(*pool), "head": head.fc}


def _timm_vit(net: timm_models.VisionTransformer) -> Stages:
    if net.global_pool != "token" or net.num_prefix_tokens != 1 or net.no_embed_class:
        return split_any(net)  # a variant whose tokens are put together differently
    neck = nn.Sequential(net.norm, ClassToken(), net.fc_norm, net.head_drop)
    return {"stem": TimmTokens(net), **_four(net.blocks), "neck": neck, "head": net.head}


_FAMILIES: dict[type[nn.Module], Callable[..., Stages]] = {
    tv_models.AlexNet: _tv_alexnet,
    tv_models.ConvNeXt: _tv_convnext,
    tv_models.DenseNet: _tv_densenet,
    tv_models.EfficientNet: _tv_mobile,
    tv_models.MobileNetV2: _tv_mobile,
    tv_models.MobileNetV3: _tv_mobile,
    tv_models.ResNet: _tv_resnet,
    tv_models.VGG: _tv_vgg,
    tv_models.VisionTransformer: _tv_vit,
    timm_models.ConvNeXt: _timm_convnext,
    timm_models.DenseNet: _timm_densenet,
    timm_models.EfficientNet: _timm_efficientnet,
    timm_models.MobileNetV3: _timm_mobilenetv3,
    timm_models.PoolingVisionTransformer: split_pit,
    timm_models.ResNet: _timm_resnet,
    timm_models.VGG: _timm_vgg,
    timm_models.VisionTransformer: _timm_vit,
}
