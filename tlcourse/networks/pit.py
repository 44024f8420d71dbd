"""The stages of PiT; map and class tokens are handed on as one tensor, as in other transformers."""

import math

import torch
from timm.models import PoolingVisionTransformer
from torch import Tensor, nn

from tlcourse.networks.classifiers import find_classifier


class Tokens(nn.Module):
    """Before the first stage; images (N, 3, H, W) → tokens (N, k + T, D), class tokens first."""

    def __init__(self, network: PoolingVisionTransformer) -> None:
        super().__init__()
        self.patch_embed = network.patch_embed
        self.pos_embed = network.pos_embed
        self.pos_drop = network.pos_drop
        self.cls_token = network.cls_token

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pos_drop(self.patch_embed(images) + self.pos_embed)
        return _joined(maps, self.cls_token.expand(len(images), -1, -1))


class Stage(nn.Module):
    """Pooling of the map and its blocks; tokens (N, k + T, D) → (N, k + T', D')."""

    def __init__(self, transformer: nn.Module, num_tokens: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.num_tokens = num_tokens

    def forward(self, x: Tensor) -> Tensor:
        side = math.isqrt(x.shape[1] - self.num_tokens)
        maps = x[:, self.num_tokens :].transpose(1, 2).unflatten(2, (side, side))
        return _joined(*self.transformer((maps, x[:, : self.num_tokens])))


class Neck(nn.Module):
    """The class tokens, normalised; of two heads' mean, each sees half of its own token."""

    def __init__(self, network: PoolingVisionTransformer) -> None:
        super().__init__()
        self.num_tokens = network.num_tokens
        self.norm = network.norm
        self.head_drop = network.head_drop

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.head_drop(self.norm(x[:, : self.num_tokens]))
        return tokens.flatten(1) / self.num_tokens


def split_pit(network: PoolingVisionTransformer) -> dict[str, nn.Module]:
    """Stem, three stages, neck and head of timm's PiT (Heo et al. 2021), distilled or not."""
    classifier = find_classifier(network)
    classifier.share_bias()
    stages = {
        f"stage{k}": Stage(transformer, network.num_tokens)
        for k, transformer in enumerate(network.transformers, start=1)
    }
    return {"stem": Tokens(network), **stages, "neck": Neck(network), "head": classifier.linear}


def _joined(maps: Tensor, class_tokens: Tensor) -> Tensor:
    return torch.cat([class_tokens, maps.flatten(2).transpose(1, 2)], dim=1)
