"""The frozen part of a network runs once over the data; heads then train on what it gave."""

import logging
import warnings
from contextlib import suppress
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from tlcourse.errors import OutputError
from tlcourse.modes import evaluating
from tlcourse.networks.backbone import backbone_in
from tlcourse.networks.engine import engine_for
from tlcourse.networks.feature_cache import DiskCache, cache_key, default_cache
from tlcourse.runtime import device, mixed_precision, progress

_log = logging.getLogger(__name__)


class Pass(NamedTuple):
    """Features, and what computed them: ``onnxruntime`` or ``torch``, and why that one.

    Examples
    --------
    >>> Pass(torch.zeros(2, 64), "torch", "2 images: no export").engine
    'torch'
    """

    features: Float[Tensor, "n ..."]
    engine: str
    reason: str


def extract_features(
    backbone: nn.Module,
    images: Shaped[Tensor, "n 3 h w"],
    *,
    up_to: str | None = None,
    cache: DiskCache | dict[str, Tensor] | Literal["default"] | None = "default",
    batch_size: int = 32,
) -> Float[Tensor, "n ..."]:
    """The output of stage ``up_to`` for every image, on the CPU, computed in eval mode.

    On a CPU ONNX Runtime computes them where the images are many enough to pay for the export, see
    ``tlcourse.networks.engine``; ``run_prefix`` tells what did.

    Parameters
    ----------
    backbone
        Or what wraps one. Is moved to this machine's device; modes and statistics stay as they are.
    images
        uint8 (N, 3, H, W), the plain ones: features of augmented images would repeat the same
        augmentation in every epoch.
    up_to
        The last stage that runs; by default the last before the head.
    cache
        Where results are kept: the course's own folder (at most 1 GiB, the least recently used go
        first), a dict in memory, a ``DiskCache``, or None to compute anew, as a stopwatch needs.
        Weights, modules, preprocessing, stage, images, kind of device and versions make up the
        key, so what was computed from others is never returned. Where they cannot be kept, a note
        says so.
    batch_size
        Images that run at once.

    Returns
    -------
    Tensor
        float32, (N, feature_size) behind the neck; heads may train on it.

    Raises
    ------
    ValueError
        For images that are not uint8.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    >>> extract_features(backbone, images, cache=None).shape
    torch.Size([4, 64])
    """
    if images.dtype != torch.uint8:
        raise ValueError(
            f"images are {images.dtype}; expected uint8 (N, 3, H, W) from ImageDataset.tensors: "
            "features are computed once, from plain images (augment while training the network)"
        )
    backbone = backbone_in(backbone)
    up_to = up_to or backbone.stage_names[-2]
    kept = default_cache() if isinstance(cache, str) else cache
    if kept is None:
        return run_prefix(backbone, images, up_to=up_to, batch_size=batch_size).features
    key = cache_key(backbone, images, up_to)
    with suppress(KeyError):
        return kept[key]
    features = run_prefix(backbone, images, up_to=up_to, batch_size=batch_size).features
    try:
        kept[key] = features
    except OutputError as error:  # they are here all the same; without the key, it is told once
        reason = str(error).partition(" cannot be written ")[2]
        warnings.warn(f"features are computed each time, not kept {reason}", stacklevel=2)
    return features


def run_prefix(
    backbone: nn.Module,
    images: Shaped[Tensor, "n 3 h w"],
    *,
    up_to: str | None = None,
    batch_size: int = 32,
) -> Pass:
    """One pass over uint8 images, without a cache, with a record of what computed it.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False)
    >>> run_prefix(backbone, torch.zeros(4, 3, 32, 32, dtype=torch.uint8)).engine
    'torch'
    """
    backbone = backbone_in(backbone)
    up_to = up_to or backbone.stage_names[-2]
    # Moved before inference mode begins: parameters made inside it could never train again.
    backbone.to(device()).to(memory_format=torch.channels_last)
    engine = engine_for(backbone, images, up_to)
    _log.info("%s up to %s on %s: %s", backbone.name, up_to, engine.name, engine.reason)
    batches = images.split(batch_size)
    with evaluating(backbone), torch.inference_mode(), mixed_precision():
        outputs = [
            engine.run(batch) for batch in progress(batches, desc="features", total=len(batches))
        ]
    # Joined outside inference mode, so that heads may train on it.
    return Pass(torch.cat(outputs), engine.name, engine.reason)
