"""A frozen prefix on ONNX Runtime: on a CPU 1.5 to 5 times as fast as PyTorch eager.

The graph is made by torch's TorchScript exporter, which takes one second where the newer one takes
five to fourteen; ONNX Runtime folds the batch norms into the convolutions itself.
"""

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tlcourse.modes import evaluating
from tlcourse.networks.backbone import Backbone
from tlcourse.networks.feature_cache import prefix_key
from tlcourse.runtime import device

Run = Callable[[Tensor], Tensor]

# An export costs 0.2 to 2 s. Measured from a stem to ConvNeXt, at 32 to 224 px, a million pixels
# run 0.1 to 3 s faster for it: from here on (80 images of 224 px) it has paid in every case.
ENOUGH_PIXELS = 4_000_000
TOLERANCE = 1e-4  # largest difference to eager, as a share of the largest value
MAX_KEPT = 2  # graphs in memory


class Engine(NamedTuple):
    """What runs a prefix, and why: ``run`` takes uint8 images and returns features."""

    name: str
    reason: str
    run: Run


kept: dict[str, Engine] = {}  # the last used at the end


def pays(images: Tensor) -> bool:
    """Whether so many images, of that size, on this machine's device are worth an export."""
    n, _, height, width = images.shape
    return device().type == "cpu" and n * height * width >= ENOUGH_PIXELS


def engine_for(backbone: Backbone, images: UInt8[Tensor, "n 3 h w"], up_to: str) -> Engine:
    """What runs a backbone's stages up to one, see ``engine_of``."""
    return engine_of(_Prefix(backbone, up_to), images, prefix_key(backbone, up_to))


def engine_of(module: nn.Module, images: UInt8[Tensor, "n 3 h w"], key: str) -> Engine:
    """ONNX Runtime where it pays and agrees with eager on some of these images, else eager.

    Graphs are kept for the next call with the same ``key``, which names what ``module`` computes,
    weights and all; so is the reason for having none.
    """
    eager = partial(_eager, module)
    if not pays(images):
        return Engine("torch", f"{device().type}, {len(images)} images: no export", eager)
    threads = torch.get_num_threads()
    key = f"{key} {tuple(images.shape[2:])} {threads}"
    engine = kept.pop(key, None) or _exported(module, images, threads)
    kept[key] = engine
    while len(kept) > MAX_KEPT:
        del kept[next(iter(kept))]
    # What was kept of another network of the same weights must not keep that network alive.
    return engine if engine.name == "onnxruntime" else engine._replace(run=eager)


def _exported(module: nn.Module, images: Tensor, threads: int) -> Engine:
    few = images[:: max(1, len(images) // 4)][:4]
    try:
        run = _session(module, few, threads)
        with evaluating(module), torch.inference_mode():
            expected, found = _eager(module, few), run(few)
    except Exception as error:  # noqa: BLE001 (whatever an exporter raises, eager still runs)
        return Engine("torch", f"export failed: {type(error).__name__}: {error}", _nothing)
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if not difference <= TOLERANCE:  # NaN is no agreement either
        return Engine("torch", f"ONNX Runtime differs from eager by {difference:.1e}", _nothing)
    return Engine("onnxruntime", f"differs from eager by {difference:.1e}", run)


def _session(module: nn.Module, images: Tensor, threads: int) -> Run:
    import onnxruntime

    graph = io.BytesIO()
    with evaluating(module), torch.no_grad(), warnings.catch_warnings():
        # The exporter is called old, and tells that the size of the images becomes a constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (images[:2],),  # fewer than it is checked on: a constant batch size would be noticed
            graph,  # type: ignore[arg-type]  # this exporter writes to a buffer as well
            dynamo=False,
            input_names=["images"],
            output_names=["features"],
            dynamic_axes={"images": {0: "n"}, "features": {0: "n"}},
            opset_version=18,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what goes wrong is raised; it need not be printed as well
    # Threads that wait without spinning are as fast here, and leave the core to other programs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        graph.getvalue(), options, providers=["CPUExecutionProvider"]
    )

    def run(batch: Tensor) -> Tensor:
        (features,) = session.run(["features"], {"images": batch.contiguous().numpy()})
        return torch.from_numpy(features)

    return run


class _Prefix(nn.Module):
    """The stages up to one, as the module that the exporter takes."""

    def __init__(self, backbone: Backbone, up_to: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.up_to = up_to

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.features(images, up_to=self.up_to)


def _eager(module: nn.Module, images: Tensor) -> Float[Tensor, "n ..."]:
    return module(images.to(device())).float().cpu()


def _nothing(images: Tensor) -> Tensor:
    raise NotImplementedError("an engine that was not made")
