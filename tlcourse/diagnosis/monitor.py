"""Watching a training: gradients, updates, activations and what each stage does to the loss."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn
from torch.optim import Optimizer

from tlcourse.book.plotting import LiveFigure
from tlcourse.diagnosis.cka import CKA
from tlcourse.modes import evaluating
from tlcourse.networks.backbone import Backbone, backbone_in
from tlcourse.networks.selection import part_names, select
from tlcourse.networks.submodules import contents
from tlcourse.runtime import device, mixed_precision
from tlcourse.shapes import Images
from tlcourse.wrappers import unwrapped

QUANTITIES = {  # columns that the figure shows, and the labels of their axes
    "gradient_norm": "‖gradient‖",
    "update_ratio": "‖step‖ / ‖weights‖",
    "activation_std": "std of the output",
    "loss_change": "nats a step, first order",
}


_COLUMNS = (
    "activation_mean",
    "activation_std",
    "dead",
    "gradient_norm",
    "update_ratio",
    "loss_change",
)


@runtime_checkable
class Writer(Protocol):
    """What ``torch.utils.tensorboard.SummaryWriter`` offers and we use."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


class Monitor:
    """Records a training by stage, at every ``every``-th step, while the ``with`` block lasts.

    Hooks on the stages and on the optimiser do it, so that any training loop will do, and they are
    removed at the end. A stage's ``loss_change`` is gradient · step, the first-order part of what
    its own step does to the loss of the batch. A model that ``torch.compile`` has compiled before
    does not run the hooks on the stages: a warning says so, and its activations are NaN.

    Parameters
    ----------
    model
        A backbone; of any other module the children are watched, or the submodules in ``stages``.
    every
        Steps from one record to the next; the first step is recorded.
    live
        Draw the figure again as the steps go by, never for more than a twentieth of the time.
    writer
        Gets every number, such as ``torch.utils.tensorboard.SummaryWriter``.
    stages
        Names of the submodules to watch; by default all stages.

    Raises
    ------
    ValueError
        For an ``every`` below 1 and for an unknown stage.

    Examples
    --------
    >>> from torch.nn.functional import cross_entropy
    >>> from tlcourse.networks import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> optimizer = torch.optim.SGD(backbone.parameters(), lr=0.01)
    >>> with Monitor(backbone, optimizer, every=1) as monitor:
    ...     cross_entropy(backbone(torch.rand(4, 3, 32, 32)), torch.arange(4) % 3).backward()
    ...     optimizer.step()
    >>> print(*monitor.table().columns, sep=", ")
    activation_mean, activation_std, dead, gradient_norm, update_ratio, loss_change
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        every: int = 10,
        live: bool = False,
        writer: Writer | None = None,
        stages: Sequence[str] | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every}; expected 1 (each step) or more")
        model = unwrapped(model)
        for stage in stages or ():
            select(model, only=stage)  # an unknown name is an error that lists the known ones
        self.stages = {name: contents(model, name) for name in stages or part_names(model)}
        self.model, self.optimizer, self.every = model, optimizer, every
        self.writer = writer
        self.figure = LiveFigure() if live else None
        self.step = 0
        self.rows: list[dict[str, Any]] = []
        self._activations: dict[str, dict[str, float]] = {}
        self._weights: dict[str, list[tuple[nn.Parameter, Tensor]]] = {}
        self._unseen = False
        self._handles: list[Any] = []

    def __enter__(self) -> "Monitor":
        if "torch._dynamo" in sys.modules:  # it would compile the hook anew at each step
            self._after_stage = torch.compiler.disable(self._after_stage)  # type: ignore[method-assign]
        self._handles = [
            self.optimizer.register_step_pre_hook(self._before_step),
            self.optimizer.register_step_post_hook(self._after_step),
        ]
        for name, (modules, _) in self.stages.items():
            for stage in modules[:1]:  # a parameter puts out nothing
                self._handles.append(stage.register_forward_hook(_Hook(self, name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self.figure is not None and self.rows:
            self._draw(self.figure)
            self.figure.finish()

    def table(self) -> pd.DataFrame:
        """One row for each recorded step and stage; NaN where nothing of a stage is trained.

        ``gradient_norm`` and ``update_ratio`` (‖step‖ / ‖weights‖) are over all tensors of a stage,
        ``loss_change`` is in nats; ``activation_mean``, ``activation_std`` and ``dead``, the share
        of zeros, are of its output.
        """
        columns = ["step", "stage", *_COLUMNS]
        return pd.DataFrame(self.rows, columns=columns).set_index(["step", "stage"])

    def _sampled(self) -> bool:
        return self.step % self.every == 0

    def _after_stage(self, stage: str, output: object) -> None:
        if isinstance(output, tuple | list):  # as of nn.MultiheadAttention and nn.LSTM
            output = output[0]
        # Not while it is only evaluated.
        if isinstance(output, Tensor) and self._sampled() and torch.is_grad_enabled():
            values = output.detach().float()
            self._activations[stage] = {
                "activation_mean": values.mean().item(),
                "activation_std": values.std().item(),
                "dead": (values == 0).float().mean().item(),
            }

    def _before_step(self, *_: object) -> None:
        if self._sampled():
            self._weights = {
                stage: [(p, p.detach().clone()) for p in held.values() if p.grad is not None]
                for stage, (_, held) in self.stages.items()
            }

    def _after_step(self, *_: object) -> None:
        if self._sampled():
            if not self._activations and not self._unseen:
                self._unseen = True
                warnings.warn(
                    "no stage told the monitor what it puts out: a compiled model that ran before "
                    "does not call new hooks. Watch it from its first call on, or watch the model "
                    "that is not compiled; gradients and updates are recorded",
                    stacklevel=2,
                )
            for stage, weights in self._weights.items():
                numbers = {**self._activations.get(stage, {}), **_step_numbers(weights)}
                self.rows.append({"step": self.step, "stage": stage, **numbers})
                if self.writer is not None:
                    for name, value in numbers.items():
                        self.writer.add_scalar(f"{name}/{stage}", value, self.step)
            self._weights, self._activations = {}, {}
            if self.figure is not None and self.figure.is_due():
                self._draw(self.figure)
        self.step += 1

    def _draw(self, figure: LiveFigure) -> None:
        figure.update(
            monitor_figure(self.table()),
            f"Four curves by stage over {self.step} steps: gradient norm, update ratio, spread of "
            "the activations and change of the loss.",
        )


class _Hook:
    """Tells a monitor what a stage puts out; in a copy of the stage, and when loaded, nobody."""

    def __init__(self, monitor: Monitor | None = None, stage: str = "") -> None:
        self.monitor, self.stage = monitor, stage

    def __call__(self, module: nn.Module, inputs: object, output: object) -> None:
        if self.monitor is not None:
            self.monitor._after_stage(self.stage, output)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Hook, ()


def _step_numbers(weights: list[tuple[nn.Parameter, Tensor]]) -> dict[str, float]:
    """Norms over all tensors of a stage, from weights before the step and parameters after it."""
    if not weights:
        return {}
    gradients = [p.grad for p, _ in weights if p.grad is not None]
    steps = [p.detach() - before for p, before in weights]
    products = [(g * s).sum() for g, s in zip(gradients, steps, strict=True)]
    norm = torch.nn.utils.get_total_norm
    return {
        "gradient_norm": norm(gradients).item(),
        "update_ratio": (norm(steps) / norm([before for _, before in weights])).item(),
        "loss_change": torch.stack(products).sum().item(),
    }


def monitor_figure(table: pd.DataFrame) -> Figure:
    """Four panels over the steps, one line a stage, from ``Monitor.table``.

    Examples
    --------
    >>> index = pd.MultiIndex.from_product([[0, 10], ["stem", "head"]], names=["step", "stage"])
    >>> figure = monitor_figure(pd.DataFrame(1.0, index=index, columns=list(QUANTITIES)))
    >>> [axis.get_title(loc="left") for axis in figure.axes]
    ['gradient norm', 'update ratio', 'activation std', 'loss change']
    >>> plt.close(figure)
    """
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.2))
    for axis, (column, label) in zip(axes, QUANTITIES.items(), strict=True):
        for stage, values in table[column].unstack("stage", sort=False).items():
            if values.notna().any():
                axis.plot(values.index, values, label=stage)
        axis.set(title=column.replace("_", " "), xlabel="step", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if column != "loss_change" and (table[column] > 0).any():  # that one falls below 0
            axis.set_yscale("log")
    fullest = max((axes[2], axes[0]), key=lambda axis: len(axis.lines))  # frozen stages have one
    figure.legend(*fullest.get_legend_handles_labels(), loc="outside right upper")
    return figure


def drift(before: nn.Module, after: nn.Module, images: Images) -> pd.DataFrame:
    """How far training moved what each stage but the head puts out for the same images.

    Both are backbones, wrapped or not, and run in eval mode. ``distance`` is ‖after − before‖ /
    ‖before‖, ``cka`` the unbiased linear CKA of the two, NaN where one of them does not vary.

    Examples
    --------
    >>> from tlcourse.networks import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    >>> drift(backbone, backbone, images)["distance"].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    old, new = (_all_outputs(backbone_in(model), images) for model in (before, after))
    rows = {}
    for stage in [*old][:-1]:
        x, y = old[stage], new[stage]
        cka = CKA()
        cka.update(x, y)
        rows[stage] = {"distance": ((y - x).norm() / x.norm()).item(), "cka": cka.value()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _all_outputs(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """What every stage puts out for all images, on the CPU, from one pass."""
    backbone.to(device())
    with evaluating(backbone), torch.inference_mode(), mixed_precision():
        batches = [backbone.stage_outputs(batch.to(device())) for batch in images.split(32)]
    return {
        stage: torch.cat([batch[stage].float().cpu() for batch in batches])
        for stage in backbone.stage_names
    }
