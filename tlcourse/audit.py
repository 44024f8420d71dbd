"""The audit: take one real training step on a copy, and see what really moved."""

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tlcourse.backbones import Backbone
from tlcourse.batchnorm import input_statistics
from tlcourse.runtime import device, evaluating
from tlcourse.selection import block_names

# How much the input of the first BatchNorm may vary, as a multiple of what its statistics say.
# Measured on Lite0: photographs 1.1, digits 1.2, solar cells 0.4; ImageNet's usual constants in
# place of Lite0's 2.5, images that are not normalised 60 and more, filters adapted by mean 0.4.
SPREAD = (0.4, 2.0)


@dataclass(frozen=True)
class Fault:
    """One inconsistency: its kind, the tensors (or stages) it concerns, and what cures it."""

    kind: str
    names: list[str]
    cure: str

    def __str__(self) -> str:
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return f"✘ {self.kind}: {self.names[0]}{more}\n  {self.cure}"


@dataclass(frozen=True)
class Audit:
    """What one step changed, by stage, and the faults that were found.

    ``stages`` has a row a stage: its ``tensors`` (parameters), how many are ``trainable``, how many
    ``moved``, and the same for ``buffers`` (BatchNorm statistics) and the optimiser's ``momentum``.
    """

    stages: pd.DataFrame
    faults: list[Fault]

    def __str__(self) -> str:
        found = [str(fault) for fault in self.faults] or ["✔ no fault: what should move moves"]
        return "\n".join([self.stages.to_string(), *found])

    def kinds(self) -> set[str]:
        """The kinds of faults found."""
        return {fault.kind for fault in self.faults}

    def check(self) -> None:
        """Raise AssertionError, with all faults and their cures, if there are any."""
        if self.faults:
            raise AssertionError("\n".join(map(str, self.faults)))


def audit(
    model: nn.Module,
    optimizer: Optimizer,
    batch: tuple[Tensor, Tensor],
    *,
    learns: Collection[str] | None = None,
) -> Audit:
    """Train a copy of model and optimiser for one step on (inputs, labels), and compare bit by bit.

    Reading ``requires_grad`` tells what was meant; this tells what happens: momentum, weight decay
    and train mode included. ``learns`` names the stages that should move, and no others. Model,
    optimiser, modes and random generators stay as they were. Raises ValueError when the model does
    not give logits (N, classes) for the batch.
    """
    model.to(device())
    inputs, labels = (tensor.to(device()) for tensor in batch)
    _check_logits(model, inputs, labels)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    before = _Snapshot(twin, twin_optimizer)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        twin.train()
        twin_optimizer.zero_grad()
        _copy_gradients_of_frozen(model, twin)
        cross_entropy(twin(inputs), labels).backward()
        gradients = {name: p.grad for name, p in twin.named_parameters()}
        gradients = {name: None if g is None else g.clone() for name, g in gradients.items()}
        twin_optimizer.step()
    after = _Snapshot(twin, twin_optimizer)
    moved = before.differences(after)
    stages = _table(model, before, after, moved)
    faults = [
        *_group_faults(model, optimizer),
        *_movement_faults(model, optimizer, moved, gradients, after),
        *_statistics_faults(model, moved),
        *_input_faults(model, inputs),
        *_stage_faults(stages, learns),
    ]
    return Audit(stages, faults)


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
            f"the model fails on inputs {tuple(inputs.shape)}: {error}. If it was cut with "
            "children()[:-1] or has a linear layer on pooled maps, nn.Flatten is missing between "
            "pooling and the linear layer; load_backbone(name, num_classes=…) keeps it"
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
    columns = ("tensors", "trainable", "moved", "buffers", "buffers moved", "momentum moved")
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
    count("buffers moved", moved & before.buffers.keys())
    count("momentum moved", moved & after.momentum.keys())
    return pd.DataFrame.from_dict(rows, orient="index")


def _group_faults(model: nn.Module, optimizer: Optimizer) -> Iterator[Fault]:
    names = {id(p): name for name, p in model.named_parameters()}
    # By identity: tensors of equal values are still two (Lightning's filter compared values).
    held = [p for group in optimizer.param_groups for p in group["params"]]
    ids = [id(p) for p in held]
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    if missing := [names[i] for i in names if i in trainable and i not in set(ids)]:
        yield Fault(
            "trainable, but in no group", missing,
            "The optimiser never updates it: it was made before thawing, or its parameters were "
            "picked by name. Make groups with param_groups(backbone), or add it with "
            "unfreezing.extend(optimizer, groups).",
        )  # fmt: skip
    if double := sorted({names[i] for i in ids if ids.count(i) > 1 and i in names}):
        yield Fault(
            "twice in the groups", double,
            "It is stepped twice at each step. param_groups(backbone) holds each parameter once.",
        )  # fmt: skip
    if idle := [names[i] for i in ids if i in names and i not in trainable]:
        yield Fault(
            "frozen, but in a group", idle,
            "A frozen layer has no rate: whatever the group says has no effect. Make groups after "
            "freezing, with param_groups(backbone).",
        )  # fmt: skip
    if strangers := [str(tuple(p.shape)) for p in held if id(p) not in names]:
        yield Fault(
            "in a group, but not in the model", strangers,
            "The optimiser holds tensors of another model, or of a head that was replaced after it "
            "was made. Replace heads first, then make the optimiser.",
        )  # fmt: skip
    if isinstance(model, Backbone):
        yield from _rate_faults(model, optimizer)


def _rate_faults(model: Backbone, optimizer: Optimizer) -> Iterator[Fault]:
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    mixed = []
    for block in block_names(model):
        parameters = model.get_submodule(block).parameters()
        if len({rates[id(p)] for p in parameters if id(p) in rates and p.requires_grad}) > 1:
            mixed.append(block)
    if mixed:
        yield Fault(
            "two rates in one block", mixed,
            "Parameters picked by a part of their name ('fc' is also in se.fc1) come from "
            "everywhere. Choose by stage: param_groups(backbone, factors={…}).",
        )  # fmt: skip


def _movement_faults(
    model: nn.Module,
    optimizer: Optimizer,
    moved: set[str],
    gradients: dict[str, Tensor | None],
    after: _Snapshot,
) -> Iterator[Fault]:
    in_groups = {id(p) for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    trainable = [n for n, p in named.items() if p.requires_grad]
    if moving := [n for n, p in named.items() if not p.requires_grad and n in moved]:
        yield Fault(
            "frozen, but moving", moving,
            "Momentum and weight decay move what has a gradient of zeros, or an old one. Use "
            "optimizer.zero_grad(set_to_none=True), torch's default, and freeze() between "
            "steps: it sets gradients to None.",
        )  # fmt: skip
    if broken := [n for n in trainable if not after.parameters[n].isfinite().all()]:
        yield Fault(
            "not finite after one step", broken,
            "A rate that is too high, or a division by a norm of zero: LARS must take the ratio 1 "
            "where a weight or a gradient is zero (optim.LARS does).",
        )  # fmt: skip
    if absent := [n for n in trainable if gradients[n] is None]:
        yield Fault(
            "no gradient", absent,
            "The loss does not depend on it: it is behind a detach() or not used in forward.",
        )  # fmt: skip
    zero = [n for n in trainable if gradients[n] is not None and not gradients[n].any()]
    if zero:
        yield Fault(
            "zero gradient", zero,
            "Nothing reaches it: a head or residual branch that starts at zero (then the next "
            "step does), inputs that are zero, or units that are dead.",
        )  # fmt: skip
    # A bias in front of a BatchNorm has no effect: its gradient is rounding noise, too small to
    # move it, and that is no fault.
    norms = {n: g.norm().item() for n, g in gradients.items() if g is not None}
    felt = {n for n, norm in norms.items() if norm > 1e-5 * max(norms.values())}
    if stuck := [n for n in trainable if n in felt - moved and id(named[n]) in in_groups]:
        yield Fault(
            "trainable, but not moving", stuck,
            "It has a gradient and a group, but its step is zero: a rate of 0, or an optimiser "
            "that scales the step by a weight norm of zero (naive LARS).",
        )  # fmt: skip


def _statistics_faults(model: nn.Module, moved: set[str]) -> Iterator[Fault]:
    drifting = [
        f"{name}.running_mean"
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and f"{name}.running_mean" in moved
        and not any(p.requires_grad for p in layer.parameters())
        and layer.affine
        and not getattr(layer, "adapts_by_policy", False)
    ]
    if drifting:
        yield Fault(
            "BatchNorm statistics drift", drifting,
            "Its weights are frozen, but in train mode every forward pass moves its statistics, "
            "and model.train() undoes an eval() of before. freeze(backbone, …) or "
            'set_policy(model, "frozen") stops them for good; "affine_frozen" says you mean it.',
        )  # fmt: skip


def _input_faults(model: nn.Module, inputs: Tensor) -> Iterator[Fault]:
    layers = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    name, first = next(iter(layers.items()), ("", None))
    if first is not None and first.track_running_stats and first.running_mean.any():
        _, variance = input_statistics(model, inputs)[name]
        spread = (variance.sum() / first.running_var.sum()).sqrt().item()
        if not SPREAD[0] <= spread <= SPREAD[1]:
            yield Fault(
                "inputs the weights do not expect", [name],
                f"What enters it varies {spread:.2f} times as much as its statistics say: "
                "normalisation by another network's constants, images normalised twice or not at "
                "all, or first filters adapted by mean where the sum is meant. A Backbone "
                "normalises uint8 images itself.",
            )  # fmt: skip
    convolutions = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    for name, convolution in convolutions[:1]:
        unread = [k for k in range(convolution.in_channels) if not convolution.weight[:, k].any()]
        if unread and convolution.groups == 1:
            yield Fault(
                "input channels that are never read", [f"{name}.weight[:, {k}]" for k in unread],
                "Its filters are zero there. Fill all channels when a first convolution is "
                "adapted; for grey images, one channel by sum is exact.",
            )  # fmt: skip


def _stage_faults(stages: pd.DataFrame, learns: Collection[str] | None) -> Iterator[Fault]:
    if learns is None:
        return
    moving = set(stages.index[stages["moved"] > 0])
    if unmeant := sorted(moving - set(learns)):
        yield Fault(
            "learns, but should not", unmeant,
            f"Only {', '.join(learns)} should learn now. Thaw from the last stage to the first: "
            "see GradualUnfreezing and one_by_one.",
        )  # fmt: skip
    if idle := sorted(set(learns) - moving):
        yield Fault(
            "should learn, but does not", idle,
            "It is frozen or in no group: unfreeze it and extend the optimiser.",
        )  # fmt: skip
