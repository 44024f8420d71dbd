"""The arms of ``heads``: what a head on frozen features is made of, and how it starts."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from tlcourse.errors import StudyError
from tlcourse.networks.heads import dropout_head, linear_head, mlp_head
from tlcourse.networks.initialisation import class_means_, kaiming_, scaled_, xavier_
from tlcourse.shapes import Data
from tlcourse.suggestions import look_up

HIDDEN = 128  # of the deep head's two layers
NARROW = 16  # of the bottleneck's one


@dataclass(frozen=True)
class HeadArm:
    """A head, by what it is made of; the defaults are one linear layer with torch's own start.

    ``start`` is of ``STARTS``, ``best`` the number of features that an F-test on the training set
    keeps (None: all), ``patience`` the checks without a better validation result after which
    training stops (None: never).
    """

    summary: str
    hidden: int = 0
    layers: int = 0
    p: float = 0.0
    batchnorm: bool = False
    start: str = "default"
    best: int | None = None
    patience: int | None = None

    def make(self, features: int, num_classes: int) -> nn.Module:
        """A new head from ``features`` numbers to ``num_classes`` logits, with torch's start."""
        if self.layers:
            return mlp_head(
                features,
                num_classes,
                hidden=self.hidden,
                layers=self.layers,
                p=self.p,
                batchnorm=self.batchnorm,
            )
        if self.p:
            return dropout_head(features, num_classes, p=self.p)
        return linear_head(features, num_classes)


def _class_means(head: nn.Module, train: Data) -> None:
    assert isinstance(head, nn.Linear)
    class_means_(head, *train)


STARTS: Mapping[str, Callable[[nn.Module, Data], None]] = {
    "default": lambda head, train: None,
    "zero": lambda head, train: scaled_(head, 0),
    "small": lambda head, train: scaled_(head, 0.01),
    "kaiming": lambda head, train: kaiming_(head),
    "xavier": lambda head, train: xavier_(head),
    "class_means": _class_means,
}

HEAD_ARMS: Mapping[str, HeadArm] = {
    "linear": HeadArm("one linear layer"),
    "linear_p2": HeadArm("dropout of 0.2, one linear layer", p=0.2),
    "linear_p5": HeadArm("dropout of 0.5, one linear layer", p=0.5),
    "bottleneck": HeadArm("one narrow hidden layer", hidden=NARROW, layers=1),
    "mlp": HeadArm("two hidden layers", hidden=HIDDEN, layers=2),
    "mlp_bn": HeadArm(
        "two hidden layers, BatchNorm between", hidden=HIDDEN, layers=2, batchnorm=True
    ),
    "mlp_p5": HeadArm("two hidden layers with dropout of 0.5", hidden=HIDDEN, layers=2, p=0.5),
    "linear_early": HeadArm("one linear layer, stopped early", patience=2),
    "mlp_early": HeadArm("two hidden layers, stopped early", hidden=HIDDEN, layers=2, patience=2),
    "best_64": HeadArm("one linear layer on the 64 best features", best=64),
    "best_256": HeadArm("one linear layer on the 256 best features", best=256),
    "zero": HeadArm("one linear layer from zero", start="zero"),
    "small": HeadArm("one linear layer from a hundredth of torch's start", start="small"),
    "kaiming": HeadArm("one linear layer from Kaiming's start", start="kaiming"),
    "xavier": HeadArm("one linear layer from Xavier's start", start="xavier"),
    "class_means": HeadArm("one linear layer from the class means", start="class_means"),
    "mlp_kaiming": HeadArm(
        "two hidden layers from Kaiming's start", hidden=HIDDEN, layers=2, start="kaiming"
    ),
    "decay_0": HeadArm("one linear layer, weight decay 0"),
    "decay_0.1": HeadArm("one linear layer, weight decay 0.1"),
    "decay_1": HeadArm("one linear layer, weight decay 1"),
    "decay_10": HeadArm("one linear layer, weight decay 10"),
}


def head_arm(name: str) -> HeadArm:
    """An arm by name; raises StudyError that lists them for an unknown one.

    Examples
    --------
    >>> head_arm("bottleneck").make(1280, 7)[0]
    Linear(in_features=1280, out_features=16, bias=True)
    """
    return look_up(name, HEAD_ARMS, "head", StudyError)


def head_recipe(name: str) -> str:
    """Eight hex digits of an arm: another recipe is another cell.

    Examples
    --------
    >>> head_recipe("linear") == head_recipe("linear"), head_recipe("linear") == head_recipe("mlp")
    (True, False)
    """
    return hashlib.sha256(repr(head_arm(name)).encode()).hexdigest()[:8]
