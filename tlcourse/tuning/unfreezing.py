"""Gradual unfreezing: stages join the training one after another, the last ones first."""

from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CyclicLR,
    LambdaLR,
    LRScheduler,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from torch.optim.swa_utils import SWALR

from tlcourse.modes import stay_in_eval, stays_in_eval
from tlcourse.networks.backbones import Backbone
from tlcourse.tuning.freezing import freeze, unfreeze
from tlcourse.tuning.param_groups import Groups, part_groups


def one_by_one(backbone: Backbone, *, every: int = 1) -> dict[str, int]:
    """A plan for ``GradualUnfreezing``: the next stage before the head every ``every`` epochs.

    Stages without parameters are passed over.

    References
    ----------
    Howard & Ruder 2018 (ULMFiT).

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> one_by_one(backbone, every=2)
    {'stage3': 2, 'stage2': 4, 'stage1': 6, 'stem': 8}
    """
    stages = [s for s in backbone.stage_names[:-1] if list(backbone.get_submodule(s).parameters())]
    return {stage: every * (k + 1) for k, stage in enumerate(reversed(stages))}


class GradualUnfreezing:
    """Freezes the stages of a plan, and thaws each at its epoch into the running optimiser.

    What was frozen in a stage before, such as its BatchNorm by a policy, stays frozen. Make the
    optimiser afterwards, with the groups that are trainable then, and pass this to ``fit``, which
    keeps it in its checkpoints.

    Parameters
    ----------
    backbone : Backbone
    plan : mapping
        From stages to epochs, counted from 0; other stages stay as they are.
    lr, weight_decay : float
        As in ``param_groups``.
    factors : mapping, optional
        The part of ``lr`` at which a thawed stage learns; default 1.

    Raises
    ------
    ValueError
        For an unknown stage and for a plan that thaws a stage before the one behind it.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> thawing = GradualUnfreezing(backbone, {"stage3": 1}, lr=0.1, weight_decay=0.0)
    >>> from torch.optim import SGD
    >>> optimizer = SGD(backbone.head.parameters(), lr=0.1)
    >>> thawing.start_epoch(1, optimizer)
    >>> thawing.thawed, optimizer.param_groups[1]["name"]
    (['stage3'], 'stage3')
    """

    def __init__(
        self,
        backbone: Backbone,
        plan: Mapping[str, int],
        *,
        lr: float,
        weight_decay: float,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        stages = sorted(plan, key=backbone.stage_index, reverse=True)
        epochs = [plan[stage] for stage in stages]
        if not epochs or epochs != sorted(epochs) or epochs[0] < 1:
            thaws = ", ".join(f"{stage} at epoch {plan[stage]}" for stage in stages)
            raise ValueError(
                f"the plan thaws {thaws or 'nothing'}; expected epochs from 1 on, and no "
                "stage before the one behind it: the early layers are the most general and thaw "
                "last; see one_by_one"
            )
        self.backbone = backbone
        self.plan = dict(zip(stages, epochs, strict=True))
        self.lr, self.weight_decay, self.factors = lr, weight_decay, dict(factors or {})
        self.thawed: list[str] = []
        self._frozen_before = {
            stage: (
                [m for m in backbone.get_submodule(stage).modules() if stays_in_eval(m)],
                [p for p in backbone.get_submodule(stage).parameters() if not p.requires_grad],
            )
            for stage in stages
        }
        freeze(backbone, only=stages)

    def start_epoch(
        self, epoch: int, optimizer: Optimizer, scheduler: LRScheduler | None = None
    ) -> None:
        """Thaw the stages that are due and hand them to the optimiser and its scheduler."""
        for stage, due in self.plan.items():
            if due <= epoch and stage not in self.thawed:
                self._thaw(stage)
                groups = part_groups(
                    self.backbone,
                    stage,
                    lr=self.lr * self.factors.get(stage, 1.0),
                    weight_decay=self.weight_decay,
                    held=self._shared(stage, optimizer),
                )
                extend(optimizer, groups, scheduler)

    def _shared(self, stage: str, optimizer: Optimizer) -> list[nn.Parameter]:
        """What the optimiser has of a stage because it belongs to another one, too."""
        others = (s for s in self.backbone.stage_names if s != stage)
        of_others = {id(p) for s in others for p in self.backbone.get_submodule(s).parameters()}
        held = [p for group in optimizer.param_groups for p in group["params"]]
        return [p for p in held if id(p) in of_others]

    def _thaw(self, stage: str) -> None:
        unfreeze(self.backbone, only=stage)
        modules, parameters = self._frozen_before[stage]
        for module in modules:
            stay_in_eval(module)
        for parameter in parameters:
            parameter.requires_grad = False
        self.thawed.append(stage)


def extend(optimizer: Optimizer, groups: Groups, scheduler: LRScheduler | None = None) -> None:
    """Add groups to an optimiser in use; momentum and state of the others stay as they are.

    A new group joins where the schedule stands: its rate is the same part of its own ``lr`` as that
    of the first group with a rate. Without ``scheduler``, torch's next step would fail
    (``LambdaLR``) or leave the new rate out.

    Parameters
    ----------
    optimizer : Optimizer
    groups : list of dict
        Each with ``params`` and ``lr``; see ``param_groups``.
    scheduler : LRScheduler, optional
        The one that the optimiser has.

    Raises
    ------
    ValueError
        For parameters that the optimiser already has, and for schedules that set the rates
        themselves (``OneCycleLR``, ``CyclicLR``, ``SWALR``).

    Examples
    --------
    >>> from torch import nn, optim
    >>> old, new = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> optimizer = optim.SGD(old.parameters(), lr=1.0)
    >>> extend(optimizer, [{"params": list(new.parameters()), "lr": 0.1}])
    >>> [group["lr"] for group in optimizer.param_groups]
    [1.0, 0.1]
    """
    check_joinable(scheduler)
    done = _done(optimizer)
    for group in groups:
        now = {"lr": group["lr"] * done}
        if scheduler is not None:
            now["initial_lr"] = group["lr"]
        optimizer.add_param_group({**group, **now})
        if scheduler is not None:
            _tell(scheduler, group["lr"])


def check_joinable(scheduler: LRScheduler | None) -> None:
    """ValueError for a schedule whose rates are its own: a group that joins later has none."""
    for part in getattr(scheduler, "_schedulers", [scheduler]):
        if isinstance(part, OneCycleLR | CyclicLR | SWALR):
            raise ValueError(
                f"{type(part).__name__} is made with a highest or last rate for each group, so "
                "that a stage that joins later has none; WarmUp(share=0.3) rises and falls too, "
                "as a part of every group's own rate, and so do WarmRestarts and cosine"
            )


def _done(optimizer: Optimizer) -> float:
    """Where the schedule stands: the part of their own rates at which the groups learn now."""
    for group in optimizer.param_groups:
        if group.get("initial_lr", 0) > 0:  # a group may stand still at a rate of 0
            return group["lr"] / group["initial_lr"]
    return 1.0


def _tell(scheduler: LRScheduler, lr: float) -> None:
    """A scheduler keeps one entry a group; give it one more."""
    if isinstance(scheduler, SequentialLR | ChainedScheduler):
        for part in scheduler._schedulers:
            _tell(part, lr)
    elif isinstance(scheduler, ReduceLROnPlateau):
        scheduler.min_lrs.append(scheduler.min_lrs[0])
    else:
        scheduler.base_lrs.append(lr)
        if isinstance(scheduler, LambdaLR | MultiplicativeLR):
            scheduler.lr_lambdas.append(scheduler.lr_lambdas[0])
