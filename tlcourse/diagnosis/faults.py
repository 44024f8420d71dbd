"""What an audit can find wrong: each fault with the tensors it concerns and what cures it."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tlcourse.networks.backbones import Backbone
from tlcourse.networks.selection import block_names
from tlcourse.networks.submodules import contents
from tlcourse.tuning.batchnorm import input_statistics

# How much the input of the first BatchNorm may vary, as a multiple of what its statistics say.
# Measured on Lite0: photographs 1.1, digits 1.2, solar cells 0.4; ImageNet's usual constants in
# place of Lite0's 2.5, images that are not normalised 60 and more, filters adapted by mean 0.4.
SPREAD = (0.4, 2.0)


class FaultKind(StrEnum):
    """The kinds of faults; each is the sentence that it is printed as.

    Examples
    --------
    >>> FaultKind.FROZEN_MOVING
    'frozen, but moving'
    >>> "frozen, but moving" in {FaultKind.FROZEN_MOVING}
    True
    """

    IN_NO_GROUP = "trainable, but in no group"
    TWICE = "twice in the groups"
    FROZEN_IN_GROUP = "frozen, but in a group"
    NOT_IN_MODEL = "in a group, but not in the model"
    TWO_RATES = "two rates in one block"
    FROZEN_MOVING = "frozen, but moving"
    NOT_FINITE = "not finite after one step"
    NO_GRADIENT = "no gradient"
    ZERO_GRADIENT = "zero gradient"
    NOT_MOVING = "trainable, but not moving"
    STATISTICS_DRIFT = "BatchNorm statistics drift"
    STAYS_IN_EVAL = "learns, but in eval mode"
    LOST_ACTIVATION = "activation that is never run"
    UNEXPECTED_INPUTS = "inputs the weights do not expect"
    UNREAD_CHANNELS = "input channels that are never read"
    SHOULD_NOT_LEARN = "learns, but should not"
    SHOULD_LEARN = "should learn, but does not"

    def __repr__(self) -> str:
        return repr(self.value)  # lists and sets of faults are read by people, too


@dataclass(frozen=True)
class Fault:
    """One inconsistency: its kind, the tensors (or stages) it concerns, and what cures it.

    Examples
    --------
    >>> print(Fault(FaultKind.TWICE, ["head.weight", "head.bias"], "Once is enough."))
    ✘ twice in the groups: head.weight and 1 more
      Once is enough.
    """

    kind: FaultKind
    names: list[str]
    cure: str

    def __str__(self) -> str:
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return f"✘ {self.kind}: {self.names[0]}{more}\n  {self.cure}"


def group_faults(model: nn.Module, optimizer: Optimizer) -> Iterator[Fault]:
    """Parameters and groups that do not fit together."""
    names = {id(p): name for name, p in model.named_parameters()}
    # By identity: tensors of equal values are still two (Lightning's filter compared values).
    held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    counts = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    if missing := [name for i, name in names.items() if i in trainable and i not in held]:
        yield Fault(
            FaultKind.IN_NO_GROUP,
            missing,
            "The optimiser never updates it: it was made before thawing, or its parameters were "
            "picked by name. Make groups with param_groups(backbone), or add it with "
            "unfreezing.extend(optimizer, groups).",
        )
    if double := sorted(names[i] for i, count in counts.items() if count > 1 and i in names):
        yield Fault(
            FaultKind.TWICE,
            double,
            "It is stepped twice at each step. param_groups(backbone) holds each parameter once.",
        )
    if idle := [names[i] for i in held if i in names and i not in trainable]:
        yield Fault(
            FaultKind.FROZEN_IN_GROUP,
            idle,
            "A frozen layer has no rate: whatever the group says has no effect. Make groups after "
            "freezing, with param_groups(backbone).",
        )
    if strangers := [str(tuple(p.shape)) for i, p in held.items() if i not in names]:
        yield Fault(
            FaultKind.NOT_IN_MODEL,
            strangers,
            "The optimiser holds tensors of another model, or of a head that was replaced after it "
            "was made. Replace heads first, then make the optimiser.",
        )
    if isinstance(model, Backbone):
        yield from rate_faults(model, optimizer)


def rate_faults(backbone: Backbone, optimizer: Optimizer) -> Iterator[Fault]:
    """Blocks whose parameters were dealt to groups of different rates."""
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    mixed = []
    for block in block_names(backbone):
        parameters = contents(backbone, block)[1].values()
        if len({rates[id(p)] for p in parameters if id(p) in rates and p.requires_grad}) > 1:
            mixed.append(block)
    if mixed:
        yield Fault(
            FaultKind.TWO_RATES,
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
    waits: Collection[str],
) -> Iterator[Fault]:
    """What moved and should not, or did not and should.

    ``after`` holds the new parameters, ``waits`` names those that begin with the next step.
    """
    in_groups = {id(p) for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    trainable = [n for n, p in named.items() if p.requires_grad]
    if moving := [n for n, p in named.items() if not p.requires_grad and n in moved]:
        yield Fault(
            FaultKind.FROZEN_MOVING,
            moving,
            "Momentum and weight decay move what has a gradient of zeros, or an old one. Use "
            "optimizer.zero_grad(set_to_none=True), torch's default, and freeze() between "
            "steps: it sets gradients to None.",
        )
    if broken := [n for n in trainable if not after[n].isfinite().all()]:
        yield Fault(
            FaultKind.NOT_FINITE,
            broken,
            "A rate that is too high, or a division by a norm of zero: LARS must take the ratio 1 "
            "where a weight or a gradient is zero (optim.LARS does).",
        )
    given = {n: g for n in trainable if (g := gradients[n]) is not None}
    if absent := [n for n in trainable if n not in given]:
        yield Fault(
            FaultKind.NO_GRADIENT,
            absent,
            "The loss does not depend on it: it is behind a detach() or not used in forward.",
        )
    if zero := [n for n, gradient in given.items() if not gradient.any() and n not in waits]:
        yield Fault(
            FaultKind.ZERO_GRADIENT,
            zero,
            "Nothing reaches it: a head or residual branch that starts at zero (then the next "
            "step does), inputs that are zero, or units that are dead.",
        )
    # A bias in front of a BatchNorm has no effect: its gradient is rounding noise, too small to
    # move it, and that is no fault.
    norms = {n: g.norm().item() for n, g in gradients.items() if g is not None}
    floor = 1e-5 * max(norms.values(), default=0.0)
    felt = {n for n, norm in norms.items() if norm > floor}
    if stuck := [n for n in trainable if n in felt - moved and id(named[n]) in in_groups]:
        yield Fault(
            FaultKind.NOT_MOVING,
            stuck,
            "It has a gradient and a group, but its step is zero: a rate of 0, or an optimiser "
            "that scales the step by a weight norm of zero (naive LARS)."
            + (_ROUNDED if any(named[n].dtype in _COARSE for n in stuck) else ""),
        )


_COARSE = (torch.float16, torch.bfloat16)
_ROUNDED = (
    " In 16 bits a step below half a weight's last digit is rounded away: keep the weights in "
    "float32 and compute under torch.autocast."
)


def input_faults(model: nn.Module, inputs: Tensor) -> Iterator[Fault]:
    """Inputs and first layers that do not fit the weights."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    name, first = next(iter(layers.items()), ("", None))
    if first is not None and first.running_mean is not None and first.running_mean.any():
        _, variance = input_statistics(model, inputs)[name]
        spreads = [(variance.sum() / v.sum()).sqrt().item() for v in _running_variances(first)]
        spread = spreads[0]
        if not any(SPREAD[0] <= spread <= SPREAD[1] for spread in spreads):
            yield Fault(
                FaultKind.UNEXPECTED_INPUTS,
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
                FaultKind.UNREAD_CHANNELS,
                [f"{name}.weight[:, {k}]" for k in unread],
                "Its filters are zero there. Fill all channels when a first convolution is "
                "adapted; for grey images, one channel by sum is exact.",
            )


def _running_variances(layer: _BatchNorm) -> list[Tensor]:
    """The running variance; after few batches also without the 1 with which it began.

    Which of the two holds cannot be told: pretrained weights may have lost their count of batches.
    """
    assert layer.running_var is not None, "BatchNorm tracks both statistics, or none"
    batches = 0 if layer.num_batches_tracked is None else int(layer.num_batches_tracked)
    begun = (1 - (layer.momentum or 1.0)) ** batches  # the part that is still the beginning
    variance = layer.running_var.float()
    if batches == 0 or begun < 1e-3:
        return [variance]
    return [variance, ((variance - begun) / (1 - begun)).clamp(min=0)]


def stage_faults(stages: pd.DataFrame, learns: Collection[str] | None) -> Iterator[Fault]:
    """Stages that learn and should not, or the other way round."""
    if learns is None:
        return
    if unknown := set(learns) - set(stages.index):
        raise ValueError(f"no stage {min(unknown)!r}; stages are {', '.join(stages.index)}")
    moving = set(stages.index[stages["moved"] > 0])
    if unmeant := sorted(moving - set(learns)):
        yield Fault(
            FaultKind.SHOULD_NOT_LEARN,
            unmeant,
            f"Only {', '.join(learns)} should learn now. Thaw from the last stage to the first: "
            "see GradualUnfreezing and one_by_one.",
        )
    if idle := sorted(set(learns) - moving):
        yield Fault(
            FaultKind.SHOULD_LEARN,
            idle,
            "It is frozen or in no group: unfreeze it and extend the optimiser.",
        )
