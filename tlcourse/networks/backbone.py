"""A classification network as named stages, with the preprocessing that its weights expect."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from tlcourse.errors import BackboneError
from tlcourse.networks.chains import is_bound
from tlcourse.networks.heads import linear_layers
from tlcourse.networks.stages import Stages
from tlcourse.shapes import Logits
from tlcourse.suggestions import did_you_mean
from tlcourse.wrappers import unwrapped


@dataclass(frozen=True)
class Preprocessing:
    """What a network's weights expect of an image.

    ``resize_size`` of the shorter side and ``image_size`` of the centre cut from it in pixels,
    ``mean`` and ``std`` per channel for values in [0, 1].

    Examples
    --------
    >>> half = Preprocessing(224, 256, "bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    >>> half.normalize(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """

    image_size: int
    resize_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalize(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """uint8 (N, 3, H, W) in [0, 255] → float32, shifted by ``mean`` and scaled by ``std``."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1)
        return (images / 255 - mean) / std


class Backbone(nn.Module):
    """A classification network as named stages that run one after another.

    ``backbone.stage2`` is a module, ``backbone.stage_names`` lists them in order, and
    ``backbone.head`` is the classifier. uint8 images are normalised here, by this network's
    own constants, so that those of another cannot be used; float images are taken as they are.

    Parameters
    ----------
    name
        As ``load_backbone`` takes it.
    stages
        Modules by stage, in the order they run; the last is ``head``.
    preprocessing, licence, provenance
        What the weights expect, may be used for, and come from.
    min_size, fixed_size
        Pixels: the smallest image, and the only one where there is such: also where blocks were
        handed position embeddings for that size.

    Examples
    --------
    >>> from tlcourse.networks import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> backbone.stage_names
    ('stem', 'stage1', 'stage2', 'stage3', 'neck', 'head')
    >>> backbone(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        name: str,
        stages: Stages,
        preprocessing: Preprocessing,
        *,
        licence: str,
        provenance: str,
        min_size: int = 32,
        fixed_size: int | None = None,
    ) -> None:
        super().__init__()
        for stage, module in stages.items():
            self.add_module(stage, module)
        self.name = name
        self.stage_names = tuple(stages)
        self.preprocessing = preprocessing
        self.licence = licence
        self.provenance = provenance
        self.min_size = min_size
        self.fixed_size = fixed_size or (preprocessing.image_size if is_bound(self) else None)

    @property
    def feature_size(self) -> int:
        """Length of the feature vector that the head classifies."""
        return linear_layers(self.head)[0].in_features

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        return linear_layers(self.head)[-1].out_features

    def __getattr__(self, name: str) -> Any:
        """Only for what is not there: names of the original network, such as ``layer4``."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            stages = ", ".join(vars(self).get("stage_names", ()))
            raise AttributeError(f"a Backbone has no {name!r}; its stages are {stages}") from None

    def stage_index(self, stage: str) -> int:
        """Position of a stage; raises BackboneError that lists the stages for an unknown one."""
        if stage not in self.stage_names:
            raise BackboneError(
                f"no stage {stage!r}; stages of {self.name} are {', '.join(self.stage_names)}"
                f"{did_you_mean(stage, self.stage_names)}"
            )
        return self.stage_names.index(stage)

    def features(self, images: Shaped[Tensor, "..."], *, up_to: str) -> Float[Tensor, "n ..."]:
        """The output of stage ``up_to``; images (N, 3, H, W), uint8 or normalised float."""
        self._check_images(images)
        x = images
        if images.dtype == torch.uint8:  # in the precision of the weights: half, bfloat16, double
            x = self.preprocessing.normalize(images).to(next(self.parameters()).dtype)
        for stage in self.stage_names[: self.stage_index(up_to) + 1]:
            x = self.get_submodule(stage)(x)
        return x

    def forward(self, images: Shaped[Tensor, "..."]) -> Logits:
        """Logits (N, num_classes) of images (N, 3, H, W), uint8 or normalised float."""
        return self.features(images, up_to="head")

    def stage_outputs(self, images: Shaped[Tensor, "n 3 h w"]) -> dict[str, Tensor]:
        """What every stage puts out for images (N, 3, H, W), in one pass."""
        first, *rest = self.stage_names
        outputs = {first: self.features(images, up_to=first)}
        for stage, before in zip(rest, self.stage_names, strict=False):
            outputs[stage] = self.get_submodule(stage)(outputs[before])
        return outputs

    def after(self, stage: str) -> nn.Sequential:
        """The stages behind ``stage``, sharing their parameters, to train on its cached output."""
        rest = self.stage_names[self.stage_index(stage) + 1 :]
        return nn.Sequential(*(self.get_submodule(name) for name in rest))

    def _check_images(self, images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise BackboneError(
                f"{self.name} takes a batch of shape (N, 3, height, width), got "
                f"{tuple(images.shape)}; a grey image goes in as three equal channels, "
                "a single image as images[None]"
            )
        height, width = images.shape[2:]
        if self.fixed_size and (height, width) != (self.fixed_size, self.fixed_size):
            raise BackboneError(
                f"{self.name} takes images of {self.fixed_size} × {self.fixed_size} px only, "
                f"got {height} × {width}: it is made for that size"
            )
        if min(height, width) < self.min_size:
            raise BackboneError(
                f"{self.name} takes images of at least {self.min_size} × {self.min_size} px, "
                f"got {height} × {width}"
            )


def backbone_in(model: nn.Module) -> Backbone:
    """The backbone itself, out of ``DataParallel``, ``DistributedDataParallel``, ``torch.compile``.

    Raises BackboneError for another module, which has no stages.
    """
    inner = unwrapped(model)
    if not isinstance(inner, Backbone):
        raise BackboneError(
            f"a {type(inner).__name__} has no stages; load_backbone loads a Backbone, as_backbone "
            "makes one of a network of your own"
        )
    return inner
