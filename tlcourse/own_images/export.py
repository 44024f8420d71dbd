"""Models that outlive the course: safetensors with JSON, torch.export and ONNX, each checked."""

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from tlcourse.errors import BackboneError
from tlcourse.files import replacing
from tlcourse.networks.backbones import Backbone, load_backbone, resolve
from tlcourse.networks.stages import Stages, split_into_stages
from tlcourse.own_images.load_model import Classifier, build, load_model
from tlcourse.shapes import Images, Logits

TOLERANCE = 1e-4  # largest difference of a logit
OPSET = 18
CHECKED = 4  # images on which an exported model is compared with the saved one


def save_model(backbone: Backbone, folder: Path, settings: dict[str, Any]) -> None:
    """Write ``model.safetensors`` under the library's own names, ``model.json``, ``load_model.py``.

    Parameters
    ----------
    backbone : Backbone
        Trained, with a linear head.
    folder : Path
        Is there already.
    settings : dict
        Needs classes (names in the order of the logits), image_size, resize_size and interpolation;
        the rest of what ``load_model`` needs is added.

    Raises
    ------
    BackboneError
        For a head that is not one linear layer: the library's network has none of that kind.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=2)
    >>> sizes = {"image_size": 32, "resize_size": 32, "interpolation": "bicubic"}
    >>> with TemporaryDirectory() as folder:
    ...     save_model(backbone, Path(folder), {"classes": ["cat", "dog"], **sizes})
    ...     model, settings = load_model(folder)
    >>> settings["architecture"], model(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape
    ('resnet20', torch.Size([1, 2]))
    """
    library, architecture = resolve(backbone.name)
    original = _with_library_names(backbone, library, architecture)
    weights = folder / "model.safetensors"
    tensors = {name: tensor.cpu().contiguous() for name, tensor in original.state_dict().items()}
    with replacing(weights) as temporary:
        temporary.write_bytes(save(tensors))
    settings = {
        "backbone": backbone.name,
        "library": library,
        "architecture": architecture,
        "mean": list(backbone.preprocessing.mean),
        "std": list(backbone.preprocessing.std),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        **settings,
    }
    with replacing(folder / "model.json") as temporary:
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("load_model.py"), folder / "load_model.py")


def load_network(folder: Path) -> tuple[Backbone, dict[str, Any]]:
    """The model in a folder as a ``Backbone`` again, with its stages, and its settings."""
    model, settings = load_model(folder)
    backbone = load_backbone(
        settings["backbone"], pretrained=False, num_classes=len(settings["classes"])
    )
    for name, stage in _stages(model.network, settings["library"]).items():
        backbone.get_submodule(name).load_state_dict(stage.state_dict())
    return backbone, settings


def export_torch(folder: Path, images: Images) -> Path:
    """``model.pt2`` of the model in a folder, for ``torch.export.load``; takes any batch size.

    ``images`` uint8 (N, 3, S, S) check it: raises RuntimeError when a logit differs by more than
    1e-4.
    """
    model, _ = load_model(folder)
    path = folder / "model.pt2"
    content = io.BytesIO()
    torch.export.save(_exported(model, images), content)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
    again = torch.export.load(path).module()
    _check(path, model, images, again(images).detach())
    return path


def export_onnx(folder: Path, images: Images) -> Path:
    """``model.onnx`` of the model in a folder: input images, uint8 (N, 3, S, S); output logits.

    ``images`` check it in onnxruntime: raises RuntimeError when a logit differs by more than 1e-4.
    """
    import onnxruntime

    model, _ = load_model(folder)
    path = folder / "model.onnx"
    with replacing(path) as temporary:
        torch.onnx.export(
            _exported(model, images),
            f=temporary,
            input_names=["images"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    _check(path, model, images, torch.from_numpy(np.asarray(logits)))
    return path


def _exported(model: Classifier, images: Images) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    two = images[:1].repeat(2, 1, 1, 1)  # a batch of one would be taken for a constant
    return torch.export.export(model, (two,), dynamic_shapes=({0: batch},))


def _with_library_names(backbone: Backbone, library: str, architecture: str) -> nn.Module:
    """The library's network with this one's weights."""
    if not isinstance(backbone.head, nn.Linear):
        raise BackboneError(
            f"the head is a {type(backbone.head).__name__}, but {architecture} of {library} ends "
            "in one linear layer; train with a linear head to save the model"
        )
    original = build(library, architecture, backbone.num_classes)
    for name, stage in _stages(original, library).items():
        stage.load_state_dict(backbone.get_submodule(name).state_dict())
    return original


def _stages(network: nn.Module, library: str) -> Stages:
    own = library == "tlcourse"  # those are made of stages already
    return dict(network.named_children()) if own else split_into_stages(network)


def _check(path: Path, model: Classifier, images: Images, logits: Logits) -> None:
    with torch.inference_mode():
        apart = (model(images) - logits).abs().max().item()
    if not apart <= TOLERANCE:
        path.unlink()
        raise RuntimeError(
            f"{path.name} gives logits up to {apart:.2g} from the model's, more than {TOLERANCE:g};"
            " it was deleted"
        )
