"""The arms of studies that train by a strategy, and what they vary in it."""

from typing import Literal

from torch import nn

from tlcourse.advice.strategies import STRATEGIES, Strategy
from tlcourse.errors import StudyError
from tlcourse.suggestions import look_up
from tlcourse.tuning.augmentation import augmentation as policy

Augmentation = Literal["none", "light"]
WITHOUT_A_MIRROR = ("digits", "rendered_digits")  # a mirrored 3 is no 3


def arm_named(name: str) -> Strategy:
    """An arm by name; raises StudyError that lists them for an unknown one."""
    return look_up(name, STRATEGIES, "arm", StudyError)


def augment(augmentation: Augmentation, dataset: str, image_size: int) -> nn.Module | None:
    """A policy of ``tlcourse.tuning.augmentation``, with a mirror where that keeps the class."""
    return policy(augmentation, image_size, mirror=dataset not in WITHOUT_A_MIRROR)
