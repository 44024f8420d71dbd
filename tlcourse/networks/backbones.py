"""Pretrained networks by name, each with its preprocessing, stages, licence and provenance."""

import difflib
from collections.abc import Callable

import timm
import torchvision
from torch import nn

from tlcourse import architectures
from tlcourse.errors import BackboneError
from tlcourse.networks.backbone import Backbone, Preprocessing, backbone_in
from tlcourse.networks.heads import linear_layers
from tlcourse.networks.pretrained import (
    LITE0,
    from_lite0,
    from_timm,
    from_tlcourse,
    from_torchvision,
    seeded,
    verify_weights,
)

__all__ = [
    "BACKBONE",
    "Backbone",
    "Preprocessing",
    "load_backbone",
    "replace_head",
    "resolve",
    "verify_weights",
]

BACKBONE = LITE0  # unless another is asked for: it needs no download
OWN = "own"  # in place of a library, in the names that ``as_backbone`` gives
_Loader = Callable[[str, bool, bool, int], Backbone]
_INSTALLED: dict[str, _Loader] = {LITE0: from_lite0}
_LIBRARIES: dict[str, _Loader] = {
    "torchvision": from_torchvision,
    "timm": from_timm,
    "tlcourse": from_tlcourse,
}


def load_backbone(
    name: str,
    *,
    pretrained: bool = True,
    num_classes: int | None = None,
    download: bool = False,
    seed: int = 0,
) -> Backbone:
    """A classification network of torchvision, timm or this course by name, in eval mode.

    Parameters
    ----------
    name
        ``resnet18`` means torchvision's where both have it, ``timm/resnet18`` timm's, and
        ``tlcourse/resnet18`` the one in ``tlcourse.architectures``, for which there are no
        pretrained weights but those of EfficientNet-Lite0. ``resnet50.a1_in1k`` also says which of
        timm's weights. The backbone's ``name`` has the library only where it is needed.
    pretrained
        False initialises at random from ``seed``.
    num_classes
        Puts a fresh linear head on it; None keeps the head of the weights. What timm publishes as
        an encoder without a head (DINOv2, SigLIP, SAM …) gets a new one for 1000 classes, drawn
        from ``seed``.
    download
        Nothing is downloaded unless this is true.
    seed
        Of all that is drawn at random; the global generator is left alone.

    Raises
    ------
    BackboneError
        For an unknown name and for weights that are missing or damaged.

    Examples
    --------
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> backbone.feature_size, backbone.num_classes, backbone.provenance
    (64, 3, 'random initialisation, seed 0')
    """
    library, model = resolve(name)
    load = _loader(name, library)
    backbone = load(model, pretrained, download, seed)
    bare = backbone.name
    if bare != name and _loader(bare, resolve(bare)[0]) is not load:  # another's network
        backbone.name = f"{library}/{model}"
    if num_classes is not None:
        replace_head(backbone, num_classes, seed=seed)
    return backbone.eval()


def replace_head(backbone: nn.Module, num_classes: int, *, seed: int) -> None:
    """Put a new ``nn.Linear(feature_size, num_classes)``, initialised from ``seed``, on a backbone.

    It has a bias if the old one has: a library's network without one could not be saved with it.

    Raises
    ------
    BackboneError
        For fewer than two classes.

    Examples
    --------
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False)
    >>> replace_head(backbone, 5, seed=0)
    >>> backbone.head
    Linear(in_features=64, out_features=5, bias=True)
    """
    if num_classes < 2:
        raise BackboneError(f"num_classes is {num_classes}; a classifier needs at least 2")
    backbone = backbone_in(backbone)
    bias = linear_layers(backbone.head)[-1].bias is not None
    with seeded(seed):
        backbone.head = nn.Linear(backbone.feature_size, num_classes, bias=bias)


def resolve(name: str) -> tuple[str, str]:
    """Library and model name behind a backbone's name; raises BackboneError for an unknown one.

    Examples
    --------
    >>> resolve("resnet18"), resolve("timm/resnet18"), resolve("resnet18.a1_in1k")
    (('torchvision', 'resnet18'), ('timm', 'resnet18'), ('timm', 'resnet18.a1_in1k'))
    """
    known = {
        "torchvision": torchvision.models.list_models(module=torchvision.models),
        "timm": timm.list_models(),
        "tlcourse": architectures.available(),
    }
    library, _, model = name.rpartition("/")
    if library == OWN:
        raise BackboneError(
            f"{name} is a module of your own, which no library builds: it cannot be loaded or "
            "saved by its name; save its state_dict()"
        )
    if "." in model:  # behind it timm names the weights
        known = {"timm": timm.list_models(pretrained=True)}
    for candidate in [library] if library else known:
        if model in known.get(candidate, ()):
            return candidate, model
    names = {name for library in known if library != "tlcourse" for name in known[library]}
    near = difflib.get_close_matches(model, names, n=5)
    raise BackboneError(
        f"no backbone {name!r} in torchvision {torchvision.__version__} or timm {timm.__version__}"
        + (f"; near names are {', '.join(near)}" if near else "")
    )


def _loader(name: str, library: str) -> _Loader:
    return _INSTALLED.get(name) or _LIBRARIES[library]
