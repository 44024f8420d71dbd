"""The study ``thawing``: in which order stages join, and whether restarts of the rate help."""

from typing import Any, Literal

import pandas as pd
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tlcourse.advice.strategies import EPOCHS, STRATEGIES, WEIGHT_DECAY, key_of
from tlcourse.advice.strategy_training import Trained
from tlcourse.advice.sweeps import Settings
from tlcourse.advice.tasks import make_task
from tlcourse.environment import environment
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.studies.measuring import choose_and_test, forgetting, together
from tlcourse.studies.study import Comparison, Study
from tlcourse.studies.transfer_race import FIXED, MATTERS, OVERLAP, SPLITS
from tlcourse.tuning.batchnorm import set_policy
from tlcourse.tuning.checkpoints import Thawing
from tlcourse.tuning.freezing import freeze, unfreeze
from tlcourse.tuning.optim import WarmRestarts, cosine
from tlcourse.tuning.param_groups import param_groups, part_groups, pretrained_factor
from tlcourse.tuning.training import fit
from tlcourse.tuning.unfreezing import GradualUnfreezing, extend, one_by_one

Order = Literal["at_once", "last_first", "first_first"]
FACTOR = 0.1  # of the head's rate, for all stages before it
CYCLES = 3
BATCHNORM = STRATEGIES["gradual"].batchnorm
LRS = key_of(STRATEGIES["gradual"])["lrs"]


class FirstFirst:
    """The order that ``GradualUnfreezing`` refuses: stages thaw from the input on, one an epoch."""

    def __init__(self, backbone: Backbone, lr: float) -> None:
        stages = list(backbone.stage_names[:-1])
        self.backbone, self.lr = backbone, lr
        self.plan = {stage: 1 + k for k, stage in enumerate(stages)}
        freeze(backbone, only=stages)

    def start_epoch(
        self, epoch: int, optimizer: Optimizer, scheduler: LRScheduler | None = None
    ) -> None:
        """Thaw the stage that is due."""
        for stage in [stage for stage, due in self.plan.items() if due == epoch]:
            unfreeze(self.backbone, only=stage)
            set_policy(self.backbone, BATCHNORM, only=stage)
            groups = part_groups(self.backbone, stage, lr=self.lr, weight_decay=WEIGHT_DECAY)
            extend(optimizer, groups, scheduler)


def thaw(
    *,
    dataset: str,
    per_class: int,
    split: int,
    order: Order,
    restarts: int,
    lrs: str,
    backbone: str,
    image_size: int,
    batch_size: int,
    steps: int,
    tuning_steps: int,
) -> dict[str, Any]:
    """Fine-tune with stages that join in an order, all at a tenth of the head's rate.

    ``restarts`` are the falls of the rate, 1 is the usual cosine; the other settings are those of
    ``race``, and so is what is measured.
    """
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=split)

    def train_at(lr: float, steps: float, validate: bool) -> Trained:
        network = load_backbone(backbone, num_classes=task.num_classes, seed=split)
        set_policy(network, BATCHNORM)
        unfreezing = _unfreezing(network, order, lr * FACTOR)
        groups = param_groups(
            network,
            lr=lr,
            weight_decay=WEIGHT_DECAY,
            factors=pretrained_factor(network, FACTOR),
        )
        history: pd.DataFrame = fit(
            network,
            task.train,
            task.validation if validate else None,
            AdamW(groups, fused=True),
            epochs=EPOCHS,
            seed=split,
            batch_size=batch_size,
            steps_per_epoch=steps / EPOCHS,
            schedule=cosine if restarts == 1 else WarmRestarts(restarts),
            unfreezing=unfreezing,
        )
        return Trained(network, history)

    tuned, result = choose_and_test(train_at, task, lrs=lrs, steps=steps, tuning_steps=tuning_steps)
    made = {"commit": environment()["commit"]}
    return together(result, forgetting(tuned, dataset, backbone, image_size)) | made


def _unfreezing(network: Backbone, order: Order, lr: float) -> Thawing | None:
    if order == "at_once":
        return None
    if order == "first_first":
        return FirstFirst(network, lr)
    return GradualUnfreezing(network, one_by_one(network), lr=lr, weight_decay=WEIGHT_DECAY)


SETS = {"scenes": 20, "elpv": 80}
AT_ONCE: Settings = {"order": "at_once", "restarts": 1}
LAST_FIRST: Settings = {"order": "last_first", "restarts": 1}
FIRST_FIRST: Settings = {"order": "first_first", "restarts": 1}
RESTARTS: Settings = {"order": "at_once", "restarts": CYCLES}

THAWING = Study(
    name="thawing",
    question="Does the order in which stages thaw matter, and do restarts of the rate help?",
    run=thaw,
    cells=tuple(
        {**FIXED, "lrs": LRS, "dataset": dataset, "per_class": per_class, "split": split, **way}
        for split in SPLITS
        for dataset, per_class in SETS.items()
        for way in (AT_ONCE, LAST_FIRST, FIRST_FIRST, RESTARTS)
    ),
    setting=("dataset", "per_class"),
    matters=MATTERS,
    overlap=OVERLAP,
    comparisons=tuple(
        Comparison(id, family, statement, source, a, b, measure)
        for id, family, statement, source, a, b, measure in (
            (
                "late-first",
                "order",
                "thawing from the head on beats thawing from the input on",
                "widespread",
                LAST_FIRST,
                FIRST_FIRST,
                "plain",
            ),
            (
                "thaw-at-all",
                "order",
                "thawing from the head on beats all at once",
                "Howard & Ruder 2018",
                LAST_FIRST,
                AT_ONCE,
                "plain",
            ),
            (
                "late-first-forgets-less",
                "forgetting",
                "thawing from the head on keeps more of an old task than all at once",
                "widespread",
                LAST_FIRST,
                AT_ONCE,
                "old_after",
            ),
            (
                "restarts",
                "restarts",
                "three falls of the rate beat one",
                "widespread",
                RESTARTS,
                AT_ONCE,
                "plain",
            ),
        )
    ),
    left_out="Other rates by depth than a tenth; sets other than two.",
)
