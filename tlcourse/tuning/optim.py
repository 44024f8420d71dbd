"""LARS, and the schedules of the learning rate: torch's own schedulers, by the length of a run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

Schedule = Callable[[Optimizer, int], LRScheduler]


class LARS(Optimizer):
    """SGD whose step is as long as the weight itself allows, layer by layer (You et al. 2017).

    Each tensor w with gradient g moves by the local rate η‖w‖ / (‖g‖ + β‖w‖) times ``lr``, where η
    is ``trust_coefficient`` and β ``weight_decay``. Biases and norms (tensors of one dimension)
    take a plain SGD step without decay; so does a tensor of norm zero, which would otherwise never
    leave zero.

    Raises
    ------
    ValueError
        For negative settings.

    References
    ----------
    You et al. 2017 (Large batch training of convolutional networks).

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))  # of length 5
    >>> optimizer = LARS([w], lr=1.0, trust_coefficient=0.1)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> round(torch.dist(w, torch.tensor([[3.0, 4.0]])).item(), 4)
    0.5
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
        }
        for name, value in defaults.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; it must not be negative")
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; parameters without a gradient stay as they are, momentum included."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, w: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if w.ndim > 1:
            ratio = self.trust_ratio(w, gradient, group)
            gradient = ratio * (gradient + group["weight_decay"] * w)
        velocity = self.state[w].get("momentum_buffer")
        velocity = gradient.clone() if velocity is None else group["momentum"] * velocity + gradient
        self.state[w]["momentum_buffer"] = velocity
        w -= group["lr"] * velocity

    @staticmethod
    def trust_ratio(w: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """η‖w‖ / (‖g‖ + β‖w‖), and 1 where ‖w‖ or ‖g‖ is zero."""
        w_norm, g_norm = w.norm(), gradient.norm()
        ratio = group["trust_coefficient"] * w_norm / (g_norm + group["weight_decay"] * w_norm)
        return torch.where((w_norm > 0) & (g_norm > 0), ratio, 1.0)


def constant(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """The rates stay as they are.

    Examples
    --------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> scheduler = constant(optimizer, total_steps=10)
    >>> optimizer.param_groups[0]["lr"]
    1.0
    """
    return LinearLR(optimizer, start_factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """Every group's rate falls from its start to zero along half a cosine.

    Examples
    --------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> scheduler = cosine(optimizer, total_steps=2)
    >>> optimizer.step(), scheduler.step()
    (None, None)
    >>> round(optimizer.param_groups[0]["lr"], 4)
    0.5
    """
    return CosineAnnealingLR(optimizer, T_max=total_steps)


@dataclass(frozen=True)
class WarmRestarts:
    """``cycles`` cosines, each starting again at the full rate and ``mult`` times longer.

    Raises
    ------
    ValueError
        For less than one cycle, and for cycles that would shrink.

    References
    ----------
    Loshchilov & Hutter 2017 (SGDR).

    Examples
    --------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> WarmRestarts(cycles=3)(optimizer, total_steps=12).T_0
    4
    >>> WarmRestarts(cycles=3, mult=2)(optimizer, total_steps=70).T_0  # restarts at 10 and 30
    10
    """

    cycles: int = 3
    mult: int = 1

    def __post_init__(self) -> None:
        if self.cycles < 1 or self.mult < 1:
            raise ValueError(
                f"{self.cycles} cycles, each {self.mult} times as long as the last; "
                "expected 1 or more of both"
            )

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        firsts = sum(self.mult**k for k in range(self.cycles))  # a run, in first cycles
        return CosineAnnealingWarmRestarts(
            optimizer, T_0=-(-total_steps // firsts), T_mult=self.mult
        )


@dataclass(frozen=True)
class WarmUp:
    """The rate rises in a line over the first ``share`` of the steps, then falls in a cosine.

    Examples
    --------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> scheduler = WarmUp(share=0.1)(optimizer, total_steps=10)
    >>> optimizer.param_groups[0]["lr"]  # one step before the full rate
    0.5
    """

    share: float = 0.1

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        rising = max(1, round(self.share * total_steps))
        falling = max(1, total_steps - rising)
        parts = [
            LinearLR(optimizer, start_factor=1 / (rising + 1), total_iters=rising),
            CosineAnnealingLR(optimizer, T_max=falling),
        ]
        return SequentialLR(optimizer, parts, milestones=[rising])


@dataclass(frozen=True)
class Plateau:
    """The rate is multiplied by ``factor`` after ``patience`` epochs without a lower loss.

    Examples
    --------
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> scheduler = Plateau(factor=0.1, patience=0)(optimizer, total_steps=10)
    >>> for loss in (1.0, 1.0):
    ...     scheduler.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.1
    """

    factor: float = 0.1
    patience: int = 2

    def __call__(self, optimizer: Optimizer, total_steps: int) -> LRScheduler:
        return ReduceLROnPlateau(optimizer, factor=self.factor, patience=self.patience)
