"""Load a model that ``tlcourse fit`` wrote; needs torch, timm or torchvision, safetensors, pillow.

This file lies beside every such model and works without the course:

    from load_model import load_model, prepare
    model, settings = load_model("my_model")
    logits = model(prepare(image, settings)[None])
    answer = settings["classes"][logits.argmax()]
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms import functional


def _is_text(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_number(low: float, high: float, kind: type = float) -> Callable[[Any], bool]:
    kinds = (int,) if kind is int else (int, float)
    return lambda value: type(value) in kinds and low <= value <= high


def _are_three(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == 3 and all(map(rule, value))


def _are_classes(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return texts and len(value) == len(set(value)) >= 2


# What model.json must say, in words and as a test. A folder may come from a stranger.
_NEEDED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "sha256": ("64 hexadecimal digits", _is_text("[0-9a-f]{64}")),
    "library": ("timm, torchvision or tlcourse", _is_text("timm|torchvision|tlcourse")),
    # With ":" or "/" in it, timm would look for a network elsewhere: on its hub or in a folder.
    "architecture": ("a name of letters, digits, _ and .", _is_text(r"[A-Za-z0-9_.]+")),
    "classes": ("two different names or more", _are_classes),
    "mean": ("three numbers", _are_three(_is_number(-1000, 1000))),
    "std": ("three positive numbers", _are_three(_is_number(1e-6, 1000))),
    "image_size": ("pixels from 1 to 10000", _is_number(1, 10_000, int)),
    "resize_size": ("pixels from 1 to 20000", _is_number(1, 20_000, int)),
    "interpolation": (
        "one of torchvision's",
        lambda value: value in [method.value for method in functional.InterpolationMode],
    ),
}
_OPTIONAL: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "temperature": ("a positive number", _is_number(1e-6, 1e6)),
    "bits": ("8 to 16, or null", lambda value: value is None or _is_number(8, 16, int)(value)),
}


class Classifier(nn.Module):
    """A network with its normalisation: uint8 images (N, 3, S, S) in [0, 255] → logits (N, C)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images / 255 - self.mean) / self.std)


def load_model(folder: Path | str) -> tuple[Classifier, dict[str, Any]]:
    """The model in eval mode, and what ``model.json`` says of it.

    Parameters
    ----------
    folder : Path or str
        The output of ``tlcourse fit``.

    Returns
    -------
    tuple
        The model, from uint8 images (N, 3, S, S) to logits (N, C), and a dict with classes,
        image_size, resize_size and what else was told.

    Raises
    ------
    ValueError
        When a file is not as it was written.
    """
    folder = Path(folder)
    settings = _read(folder / "model.json")
    weights = folder / "model.safetensors"
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != settings["sha256"]:
        raise ValueError(
            f"{weights} is damaged or another model's: its SHA-256 starts with {found[:8]}, "
            f"expected {settings['sha256'][:8]}; copy it again"
        )
    network = build(settings["library"], settings["architecture"], len(settings["classes"]))
    try:
        state, tensors = network.state_dict(), load_file(weights)
    except SafetensorError as error:
        raise ValueError(f"{weights} holds no tensors: {error}; copy it again") from error
    if state.keys() != tensors.keys():
        name = min(state.keys() ^ tensors.keys())
        raise ValueError(
            f"{weights} and this version's {settings['architecture']} differ, first in {name!r}; "
            "install the library in the version with which the model was trained"
        )
    state.update(tensors)  # beside the versions of its modules, which a file of tensors lacks
    network.load_state_dict(state)
    return Classifier(network, settings["mean"], settings["std"]).eval(), settings


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; copy it again") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} is damaged: it holds no settings; copy it again")
    if lacks := [key for key in _NEEDED if key not in settings]:
        raise ValueError(f"{path} does not say {lacks[0]!r}; copy it again")
    for key, (expected, is_right) in (_NEEDED | _OPTIONAL).items():
        if key in settings and not is_right(settings[key]):
            said = f"{settings[key]!r:.60}"
            raise ValueError(f"{path} says {said} for {key!r}; expected {expected}; copy it again")
    return settings


def build(library: str, architecture: str, num_classes: int) -> nn.Module:
    """An untrained network of a library, which can be trained even if made in inference mode."""
    with torch.inference_mode(False):
        return _built(library, architecture, num_classes)


def _built(library: str, architecture: str, num_classes: int) -> nn.Module:
    if library == "timm":
        import timm

        return timm.create_model(architecture, pretrained=False, num_classes=num_classes)
    if library == "torchvision":
        import torchvision

        options = {"num_classes": num_classes}
        if architecture in ("googlenet", "inception_v3"):  # without the classifiers half-way
            options |= {"aux_logits": False, "init_weights": False}
        return torchvision.models.get_model(architecture, weights=None, **options)
    from tlcourse.architectures import create  # the course's own networks are only there

    return create(architecture, num_classes=num_classes)


def prepare(image: Image.Image, settings: dict[str, Any]) -> Tensor:
    """An image as the model was trained on it, uint8 (3, S, S): resized, the centre cut out."""
    method = functional.InterpolationMode(settings["interpolation"])
    image = functional.resize(image.convert("RGB"), settings["resize_size"], method)
    return functional.pil_to_tensor(functional.center_crop(image, settings["image_size"]))
