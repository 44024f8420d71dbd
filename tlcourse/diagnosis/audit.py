"""The audit: take one real training step on a copy, and see what really moved."""

import copy
from collections.abc import Collection
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import LBFGS, Optimizer

from tlcourse.diagnosis.faults import (
    Fault,
    FaultKind,
    group_faults,
    input_faults,
    movement_faults,
    stage_faults,
)
from tlcourse.diagnosis.layer_faults import layer_faults
from tlcourse.diagnosis.zero_starts import waiting
from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone
from tlcourse.runtime import device
from tlcourse.shapes import Data
from tlcourse.wrappers import unwrapped


@dataclass(frozen=True)
class Audit:
    """What one step changed, by stage, and the faults that were found.

    Attributes
    ----------
    stages
        A row a stage: its ``tensors`` (parameters), how many are ``trainable``, how many ``moved``;
        its ``buffers`` (BatchNorm statistics) and ``buffers_moved``; and ``momentum_moved``, of
        the optimiser's state.
    faults
        Each with the tensors it concerns and its cure; empty when what should move moves.
    notes
        What looks like a fault in a first step and is none, and why.

    Examples
    --------
    >>> Audit(pd.DataFrame(), []).check()  # raises nothing
    """

    stages: pd.DataFrame
    faults: list[Fault]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = [str(fault) for fault in self.faults] or ["✔ no fault: what should move moves"]
        return "\n".join([self.stages.to_string(), *found, *self.notes])

    def kinds(self) -> set[FaultKind]:
        """The kinds of faults found; they are equal to their sentences."""
        return {fault.kind for fault in self.faults}

    def check(self) -> None:
        """Raise AssertionError, with all faults and their cures, if there are any."""
        if self.faults:
            raise AssertionError("\n".join(map(str, self.faults)))


def audit(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Data,
    *,
    learns: Collection[str] | None = None,
) -> Audit:
    """Train a copy of model and optimiser for one step on (inputs, labels), and compare bit by bit.

    Reading ``requires_grad`` tells what was meant; this tells what happens: momentum, weight decay
    and train mode included. Model, optimiser, modes and random generators stay as they were.

    Parameters
    ----------
    model
        Gives logits (N, classes); a ``Backbone`` is also checked block by block.
    batch
        Inputs as in training and labels int64 (N,); a few images are enough.
    learns
        The stages that should move, and no others (None: whatever moves is right).

    Raises
    ------
    ValueError
        When the model does not give logits for the batch, and for an unknown stage.

    Examples
    --------
    >>> from tlcourse.networks import load_backbone
    >>> from tlcourse.tuning import freeze, unfreeze
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> batch = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8), torch.arange(6) % 3
    >>> freeze(backbone)
    >>> optimizer = torch.optim.SGD(backbone.head.parameters(), lr=0.1)
    >>> audit(backbone, optimizer, batch).faults
    []
    >>> unfreeze(backbone, only="stage3")  # too late for the optimiser
    >>> audit(backbone, optimizer, batch).kinds()
    {'trainable, but in no group'}
    """
    model = unwrapped(model).to(device())
    inputs, labels = (tensor.to(device()) for tensor in batch)
    _check_logits(model, inputs, labels)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    before = _Snapshot(twin, twin_optimizer)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        twin.train()
        twin_optimizer.zero_grad()
        _copy_gradients_of_frozen(model, twin)
        cross_entropy(twin(inputs).float(), labels).backward()
        gradients = {n: p.grad for n, p in twin.named_parameters()}
        gradients = copy.deepcopy(gradients)  # a step may work on them in place
        _step(twin, twin_optimizer, (inputs, labels))
    after = _Snapshot(twin, twin_optimizer)
    moved = before.differences(after)
    stages = _table(model, before, after, moved)
    opening = waiting(model, gradients, moved)
    waits = {name for behind in opening.values() for name in behind}
    faults = [
        *group_faults(model, optimizer),
        *movement_faults(model, optimizer, moved, gradients, after.parameters, waits),
        *layer_faults(model, moved),
        *input_faults(model, inputs),
        *stage_faults(stages, learns),
    ]
    return Audit(stages, faults, _notes(opening, waits))


def _notes(opening: dict[str, list[str]], waits: set[str]) -> list[str]:
    if not opening:
        return []
    return [
        f"· zero gradient in a first step, and no fault: {len(waits)} tensors are in branches that "
        f"start at zero, as {next(iter(opening))} does; they open with the next step"
    ]


def _step(model: nn.Module, optimizer: Optimizer, batch: Data) -> None:
    """A step; LBFGS asks for the loss itself, and more than once."""

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(model(batch[0]).float(), batch[1])
        value.backward()
        return value

    if isinstance(optimizer, LBFGS):
        # Its copy has no list of parameters, nor their number.
        vars(optimizer).update(_params=optimizer.param_groups[0]["params"], _numel_cache=None)
        optimizer.step(loss)
    else:
        optimizer.step()


class _Snapshot:
    """Copies of all parameters, buffers and optimiser states, by the parameters' names."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.parameters = {n: p.detach().clone() for n, p in model.named_parameters()}
        self.buffers = {n: b.detach().clone() for n, b in model.named_buffers()}
        self.momentum = {
            f"{name}:{key}": value.clone()
            for name, p in model.named_parameters()
            for key, value in optimizer.state.get(p, {}).items()
            if isinstance(value, Tensor)
        }

    def all(self) -> dict[str, Tensor]:
        return {**self.parameters, **self.buffers, **self.momentum}

    def differences(self, later: "_Snapshot") -> set[str]:
        """Names of what is not the same to the last bit; NaN counts as different."""
        old = self.all()
        return {n for n, new in later.all().items() if n not in old or not torch.equal(old[n], new)}


def _check_logits(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    try:
        with evaluating(model), torch.no_grad():
            logits = model(inputs)
    except RuntimeError as error:
        raise ValueError(
            f"the model fails on inputs {tuple(inputs.shape)}; where, says the error that caused "
            "this one. If it was cut with children()[:-1] or has a linear layer on pooled maps, "
            "nn.Flatten is missing between pooling and the linear layer; "
            "load_backbone(name, num_classes=…) keeps it"
        ) from error
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ValueError(
            f"the model gives outputs of shape {tuple(logits.shape)} for {len(labels)} labels; "
            "expected logits (N, classes). A network cut with children()[:-1] has lost its "
            "flatten; put nn.Flatten between pooling and the linear layer, or use load_backbone"
        )


def _copy_gradients_of_frozen(model: nn.Module, twin: nn.Module) -> None:
    """A frozen tensor keeps its old gradient in a loop that sets gradients to zero, not None."""
    for original, copied in zip(model.parameters(), twin.parameters(), strict=True):
        if not original.requires_grad and original.grad is not None:
            copied.grad = original.grad.clone()


def _table(model: nn.Module, before: _Snapshot, after: _Snapshot, moved: set[str]) -> pd.DataFrame:
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    rows: dict[str, dict[str, int]] = {}
    columns = ("tensors", "trainable", "moved", "buffers", "buffers_moved", "momentum_moved")
    stages = model.stage_names if isinstance(model, Backbone) else ()
    for stage in (*stages, *(name.split(".")[0] for name in before.parameters)):
        rows.setdefault(stage, dict.fromkeys(columns, 0))

    def count(column: str, names: Collection[str]) -> None:
        for name in names:
            row = rows.setdefault(name.split(".")[0].split(":")[0], dict.fromkeys(columns, 0))
            row[column] += 1

    count("tensors", before.parameters)
    count("trainable", trainable)
    count("moved", moved & before.parameters.keys())
    count("buffers", before.buffers)
    count("buffers_moved", moved & before.buffers.keys())
    count("momentum_moved", moved & after.momentum.keys())
    return pd.DataFrame.from_dict(rows, orient="index")
