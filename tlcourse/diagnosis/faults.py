"""What an audit can find wrong: each fault with the tensors it concerns and what cures it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tlcourse.networks.backbones import Backbone
from tlcourse.networks.selection import block_names
from tlcourse.tuning.batchnorm import input_statistics

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


def group_faults(model: nn.Module, optimizer: Optimizer) -> Iterator[Fault]:
    """Parameters and groups that do not fit together."""
    names = {id(p): name for name, p in model.named_parameters()}
    # By identity: tensors of equal values are still two (Lightning's filter compared values).
    held = [p for group in optimizer.param_groups for p in group["params"]]
    ids = [id(p) for p in held]
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    if missing := [names[i] for i in names if i in trainable and i not in set(ids)]:
        yield Fault(
            "trainable, but in no group",
            missing,
            "The optimiser never updates it: it was made before thawing, or its parameters were "
            "picked by name. Make groups with param_groups(backbone), or add it with "
            "unfreezing.extend(optimizer, groups).",
        )
    if double := sorted({names[i] for i in ids if ids.count(i) > 1 and i in names}):
        yield Fault(
            "twice in the groups",
            double,
            "It is stepped twice at each step. param_groups(backbone) holds each parameter once.",
        )
    if idle := [names[i] for i in ids if i in names and i not in trainable]:
        yield Fault(
            "frozen, but in a group",
            idle,
            "A frozen layer has no rate: whatever the group says has no effect. Make groups after "
            "freezing, with param_groups(backbone).",
        )
    if strangers := [str(tuple(p.shape)) for p in held if id(p) not in names]:
        yield Fault(
            "in a group, but not in the model",
            strangers,
            "The optimiser holds tensors of another model, or of a head that was replaced after it "
            "was made. Replace heads first, then make the optimiser.",
        )
    if isinstance(model, Backbone):
        yield from rate_faults(model, optimizer)


def rate_faults(model: Backbone, optimizer: Optimizer) -> Iterator[Fault]:
    """Blocks whose parameters were dealt to groups of different rates."""
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    mixed = []
    for block in block_names(model):
        parameters = model.get_submodule(block).parameters()
        if len({rates[id(p)] for p in parameters if id(p) in rates and p.requires_grad}) > 1:
            mixed.append(block)
    if mixed:
        yield Fault(
            "two rates in one block",
            mixed,
            "Parameters picked by a part of their name ('fc' is also in se.fc1) come from "
            "everywhere. Choose by stage: param_groups(backbone, factors={…}).",
        )


def movement_faults(
    model: nn.Module,
    optimizer: Optimizer,
    moved: set[str],
    gradients: dict[str, Tensor | None],
    after: Mapping[str, Tensor],
) -> Iterator[Fault]:
    """What moved and should not, or did not and should; ``after`` holds the new parameters."""
    in_groups = {id(p) for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    trainable = [n for n, p in named.items() if p.requires_grad]
    if moving := [n for n, p in named.items() if not p.requires_grad and n in moved]:
        yield Fault(
            "frozen, but moving",
            moving,
            "Momentum and weight decay move what has a gradient of zeros, or an old one. Use "
            "optimizer.zero_grad(set_to_none=True), torch's default, and freeze() between "
            "steps: it sets gradients to None.",
        )
    if broken := [n for n in trainable if not after[n].isfinite().all()]:
        yield Fault(
            "not finite after one step",
            broken,
            "A rate that is too high, or a division by a norm of zero: LARS must take the ratio 1 "
            "where a weight or a gradient is zero (optim.LARS does).",
        )
    if absent := [n for n in trainable if gradients[n] is None]:
        yield Fault(
            "no gradient",
            absent,
            "The loss does not depend on it: it is behind a detach() or not used in forward.",
        )
    zero = [n for n in trainable if gradients[n] is not None and not gradients[n].any()]
    if zero:
        yield Fault(
            "zero gradient",
            zero,
            "Nothing reaches it: a head or residual branch that starts at zero (then the next "
            "step does), inputs that are zero, or units that are dead.",
        )
    # A bias in front of a BatchNorm has no effect: its gradient is rounding noise, too small to
    # move it, and that is no fault.
    norms = {n: g.norm().item() for n, g in gradients.items() if g is not None}
    felt = {n for n, norm in norms.items() if norm > 1e-5 * max(norms.values())}
    if stuck := [n for n in trainable if n in felt - moved and id(named[n]) in in_groups]:
        yield Fault(
            "trainable, but not moving",
            stuck,
            "It has a gradient and a group, but its step is zero: a rate of 0, or an optimiser "
            "that scales the step by a weight norm of zero (naive LARS).",
        )


def statistics_faults(model: nn.Module, moved: set[str]) -> Iterator[Fault]:
    """BatchNorm layers that are frozen but for their statistics."""
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
            "BatchNorm statistics drift",
            drifting,
            "Its weights are frozen, but in train mode every forward pass moves its statistics, "
            "and model.train() undoes an eval() of before. freeze(backbone, …) or "
            'set_policy(model, "frozen") stops them for good; "affine_frozen" says you mean it.',
        )


def input_faults(model: nn.Module, inputs: Tensor) -> Iterator[Fault]:
    """Inputs and first layers that do not fit the weights."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    name, first = next(iter(layers.items()), ("", None))
    if first is not None and first.track_running_stats and first.running_mean.any():
        _, variance = input_statistics(model, inputs)[name]
        spread = (variance.sum() / first.running_var.sum()).sqrt().item()
        if not SPREAD[0] <= spread <= SPREAD[1]:
            yield Fault(
                "inputs the weights do not expect",
                [name],
                f"What enters it varies {spread:.2f} times as much as its statistics say: "
                "normalisation by another network's constants, images normalised twice or not at "
                "all, or first filters adapted by mean where the sum is meant. A Backbone "
                "normalises uint8 images itself.",
            )
    convolutions = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    for name, convolution in convolutions[:1]:
        unread = [k for k in range(convolution.in_channels) if not convolution.weight[:, k].any()]
        if unread and convolution.groups == 1:
            yield Fault(
                "input channels that are never read",
                [f"{name}.weight[:, {k}]" for k in unread],
                "Its filters are zero there. Fill all channels when a first convolution is "
                "adapted; for grey images, one channel by sum is exact.",
            )


def stage_faults(stages: pd.DataFrame, learns: Collection[str] | None) -> Iterator[Fault]:
    """Stages that learn and should not, or the other way round."""
    if learns is None:
        return
    if unknown := set(learns) - set(stages.index):
        raise ValueError(f"no stage {sorted(unknown)[0]!r}; stages are {', '.join(stages.index)}")
    moving = set(stages.index[stages["moved"] > 0])
    if unmeant := sorted(moving - set(learns)):
        yield Fault(
            "learns, but should not",
            unmeant,
            f"Only {', '.join(learns)} should learn now. Thaw from the last stage to the first: "
            "see GradualUnfreezing and one_by_one.",
        )
    if idle := sorted(set(learns) - moving):
        yield Fault(
            "should learn, but does not",
            idle,
            "It is frozen or in no group: unfreeze it and extend the optimiser.",
        )
