"""Every stage of a network as a vector an image: the mean over its map, all in one pass."""

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse.modes import evaluating
from tlcourse.networks.backbone import Backbone
from tlcourse.networks.engine import engine_of
from tlcourse.networks.feature_cache import prefix_key
from tlcourse.runtime import device
from tlcourse.shapes import Images


def pooled_stages(
    backbone: Backbone, images: Images, *, batch_size: int = 32
) -> dict[str, np.ndarray]:
    """The mean over the map of every stage before the head, (N, channels) each, in one pass.

    Of a transformer's tokens (N, T, D) it is the mean over the tokens. On a CPU it is computed by
    ONNX Runtime, where the images are many enough to pay for the export.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False)
    >>> pooled = pooled_stages(backbone, torch.zeros(4, 3, 32, 32, dtype=torch.uint8))
    >>> pooled["stage2"].shape
    (4, 32)
    """
    backbone.to(device()).to(memory_format=torch.channels_last)
    pooled = _Pooled(backbone)
    engine = engine_of(pooled, images, f"pooled {prefix_key(backbone, pooled.stages[-1])}")
    with evaluating(backbone), torch.inference_mode():
        means = torch.cat([engine.run(batch) for batch in images.split(batch_size)]).numpy()
        widths = [mean.shape[1] for mean in pooled.means(images[:1].to(device()))]
    parts = np.split(means, np.cumsum(widths)[:-1], axis=1)
    return dict(zip(pooled.stages, parts, strict=True))


class _Pooled(nn.Module):
    """The pooled maps of all stages side by side, as the module that an engine takes."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.stages = backbone.stage_names[:-1]

    def means(self, images: Tensor) -> list[Tensor]:
        outputs = self.backbone.stage_outputs(images)
        return [_mean(outputs[stage]) for stage in self.stages]

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat(self.means(images), dim=1)


def _mean(x: Tensor) -> Tensor:
    if x.ndim == 3:
        return x.mean(1)
    return x.flatten(2).mean(2) if x.ndim == 4 else x
