"""Models that outlive the course: safetensors with JSON, torch.export and ONNX, each checked."""

import copy
import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tlcourse.errors import BackboneError
from tlcourse.files import replacing
from tlcourse.networks.backbones import Backbone, load_backbone, resolve
from tlcourse.networks.stages import Stages, split_into_stages
from tlcourse.own_images.load_model import Classifier, build, load_model
from tlcourse.shapes import Images, Logits

TOLERANCE = 1e-4  # largest difference of a logit
OPSET = 18
_NOT_THE_LIBRARYS = "this is no longer the library's {}, so it cannot be saved under that name"
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
        For a head that is not one linear layer, or other modules than the library's network of that
        name has: it could not be loaded again.

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
    original = _with_library_names(backbone, library, architecture, settings["image_size"])
    weights = folder / "model.safetensors"
    tensors = {  # copies: the file may not hold one tensor under two names
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in original.state_dict().items()
    }
    with replacing(weights) as temporary:
        temporary.write_bytes(save(tensors))
    settings = {
        "backbone": backbone.name,
        "library": library,
        "architecture": architecture,
        "mean": list(backbone.preprocessing.mean),
        "std": list(backbone.preprocessing.std),
        "provenance": backbone.provenance,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        **settings,
    }
    with replacing(folder / "model.json") as temporary:
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    with replacing(folder / "load_model.py") as temporary:
        shutil.copyfile(Path(__file__).with_name("load_model.py"), temporary)


def load_network(folder: Path) -> tuple[Backbone, dict[str, Any]]:
    """The model in a folder as a ``Backbone`` again, with its stages, and its settings."""
    model, settings = load_model(folder)
    like = load_backbone(settings["backbone"], pretrained=False)
    mean, std = (tuple(settings[key]) for key in ("mean", "std"))
    backbone = Backbone(
        like.name,
        _stages(model.network, settings["library"]),
        replace(like.preprocessing, mean=mean, std=std),
        licence=like.licence,
        provenance=settings.get("provenance", "a model folder that does not say it"),
        min_size=like.min_size,
        fixed_size=like.fixed_size,
    )
    return backbone.eval(), settings


def export_torch(folder: Path, images: Images) -> Path:
    """``model.pt2`` of the model in a folder, for ``torch.export.load``; takes any batch size.

    ``images`` uint8 (N, 3, S, S) check it: raises RuntimeError when a logit differs by more than
    1e-4.
    """
    model, _ = load_model(folder)
    path = folder / "model.pt2"
    content = io.BytesIO()
    torch.export.save(_exported(model, images), content)
    again = torch.export.load(content).module()
    _check(path, model, images, again(images).detach())
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())
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
        content = temporary.read_bytes()  # a session would keep the file open
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        _check(path, model, images, torch.from_numpy(np.asarray(logits)))
    return path


def _exported(model: Classifier, images: Images) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    two = images[:1].repeat(2, 1, 1, 1)  # a batch of one would be taken for a constant
    return torch.export.export(model, (two,), dynamic_shapes=({0: batch},))


def _with_library_names(
    backbone: Backbone, library: str, architecture: str, image_size: int
) -> nn.Module:
    """The library's network with this one's weights, in eval mode; the same logits, or an error."""
    if not isinstance(backbone.head, nn.Linear):
        raise BackboneError(
            f"the head is a {type(backbone.head).__name__}, but {architecture} of {library} ends "
            "in one linear layer; train with a linear head to save the model"
        )
    trained = copy.deepcopy(backbone).cpu().float().eval()
    network = build(library, architecture, backbone.num_classes).eval()
    stages = _stages(network, library)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, image_size, image_size, generator=generator)
    with torch.no_grad():
        try:
            for name in trained.stage_names[:-1]:
                stages[name].load_state_dict(_plain_state(trained.get_submodule(name)))
        except (KeyError, RuntimeError) as error:
            raise BackboneError(f"{_NOT_THE_LIBRARYS.format(backbone.name)}: {error}") from error
        _set_linear(stages["head"], trained.head)
        logits, wanted = network(images), trained(images)
    if not torch.allclose(logits, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        raise BackboneError(f"{_NOT_THE_LIBRARYS.format(backbone.name)}: its logits are others")
    return network


def _plain_state(module: nn.Module) -> dict[str, Tensor]:
    """Its tensors as the parametrizations make them, which stay where they are."""
    state = module.state_dict()
    for name, part in module.named_modules():
        if parametrize.is_parametrized(part):
            prefix = f"{name}." if name else ""
            for key in [key for key in state if key.startswith(f"{prefix}parametrizations.")]:
                del state[key]
            for tensor in part.parametrizations:
                state[f"{prefix}{tensor}"] = getattr(part, tensor)
    return state


def _set_linear(layer: nn.Module, trained: nn.Linear) -> None:
    """Copy its weights; a bias that is not there is 0."""
    assert isinstance(layer, nn.Linear)
    layer.weight.copy_(trained.weight)
    if layer.bias is not None:
        layer.bias.copy_(trained.bias if trained.bias is not None else torch.tensor(0.0))
    elif trained.bias is not None and trained.bias.any():
        raise BackboneError(
            "the head has a bias, but the library's has none, so it cannot be saved under that name"
        )


def _stages(network: nn.Module, library: str) -> Stages:
    own = library == "tlcourse"  # those are made of stages already
    return dict(network.named_children()) if own else split_into_stages(network)


def _check(path: Path, model: Classifier, images: Images, logits: Logits) -> None:
    with torch.inference_mode():
        apart = (model(images) - logits).abs().max().item()
    if not apart <= TOLERANCE:
        raise RuntimeError(
            f"{path.name} gives logits up to {apart:.2g} from the model's, more than {TOLERANCE:g};"
            " it was not written"
        )
