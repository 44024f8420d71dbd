"""The arms of ``transfer_race``: ways to transfer, each a strategy for any learning rate."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from tlcourse.advice.strategies import EPOCHS, Phase, Strategy
from tlcourse.errors import StudyError
from tlcourse.suggestions import look_up
from tlcourse.tuning.augmentation import augmentation as policy
from tlcourse.tuning.batchnorm import Policy

Augmentation = Literal["none", "light"]
WITHOUT_A_MIRROR = ("digits", "rendered_digits")  # a mirrored 3 is no 3
HEAD_FIRST = 3e-3  # of a head on frozen features


@dataclass(frozen=True)
class Arm:
    """A way to transfer: its phases for a rate, and the share of the stages that it keeps."""

    summary: str
    phases: Callable[[float], tuple[Phase, ...]]
    kept: float = 1.0

    def strategy(self, name: str, lr: float, batchnorm: Policy) -> Strategy:
        """The strategy at one rate."""
        return Strategy(name, self.summary, "", self.phases(lr), self.kept, batchnorm)


ARMS: Mapping[str, Arm] = {
    "scratch": Arm("all weights start at random", lambda lr: (Phase(EPOCHS, lr),), kept=0.0),
    "early_only": Arm(
        "the first half of the stages is kept, the others start at random; all learn",
        lambda lr: (Phase(EPOCHS, lr),),
        kept=0.5,
    ),
    "to_stage3": Arm(
        "the stages up to stage3 are frozen", lambda lr: (Phase(EPOCHS, lr, frozen=4 / 6),)
    ),
    "one_rate": Arm("all learn at one rate", lambda lr: (Phase(EPOCHS, lr),)),
    "one_tenth": Arm(
        "pretrained stages learn at a tenth of the head's rate",
        lambda lr: (Phase(EPOCHS, lr, factor=0.1),),
    ),
    "head_first": Arm(
        "the head on frozen features, then all at one, lower rate (LP-FT)",
        lambda lr: (Phase(3, HEAD_FIRST, frozen=1.0), Phase(EPOCHS - 3, lr)),
    ),
    "gradual": Arm(
        "the head first; then one more stage joins in each epoch, at a tenth of its rate",
        lambda lr: (Phase(EPOCHS, lr, factor=0.1, gradual=True),),
    ),
    "by_depth": Arm(
        "a tenth, a third and all of the rate, from the input to the head",
        lambda lr: (Phase(EPOCHS, lr, by_depth=(1 / 10, 1 / 3, 1.0)),),
    ),
}


def arm_named(name: str) -> Arm:
    """An arm by name; raises StudyError that lists them for an unknown one."""
    return look_up(name, ARMS, "arm", StudyError)


def fingerprint(name: str) -> str:
    """Eight hex digits of an arm's recipe: another recipe is another cell."""
    arm = arm_named(name)
    return hashlib.sha256(repr((arm.phases(1.0), arm.kept)).encode()).hexdigest()[:8]


def augment(augmentation: Augmentation, dataset: str, image_size: int) -> nn.Module | None:
    """A policy of ``tlcourse.tuning.augmentation``, with a mirror where that keeps the class."""
    return policy(augmentation, image_size, mirror=dataset not in WITHOUT_A_MIRROR)
