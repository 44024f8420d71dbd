"""The learning rate of a training, chosen on validation by short trainings at each."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import pandas as pd

from tlcourse.advice.strategy_training import Trained
from tlcourse.shapes import OtherData
from tlcourse.tuning.training import Evaluation, evaluate

GUESSING = 0.95  # of ln C: a loss that is no better than that of guessing

# A training at a rate, for so many steps, with or without validation in each epoch.
Train = Callable[[float, float, bool], Trained]


class Chosen(NamedTuple):
    """A full training, its rate, what the short ones gave, and how many rates had diverged."""

    trained: Trained
    lr: float
    scores: tuple[Evaluation, ...]
    diverged: int


def train_at_best(
    train: Train,
    validation: OtherData,
    lrs: Sequence[float],
    *,
    steps: float,
    tuning_steps: int,
    num_classes: int,
) -> Chosen:
    """Train briefly at each rate, then fully at the one that did best on validation.

    Best is the highest accuracy, then the lowest loss. A rate that a short training survives may
    still blow up a long one: then nobody would go on with that network, and the next lower rate is
    trained in full (see ``has_diverged``). A loss that is not finite is another way to blow up.

    Parameters
    ----------
    train : callable
        A training at a rate, for so many steps.
    validation : pair of tensors
    lrs : sequence of float
        The rates, rising.
    steps, tuning_steps
        Of the training that is kept, and of the one for each rate.
    num_classes : int

    Raises
    ------
    FloatingPointError
        When the loss is not finite at the lowest rate either.
    """
    scores = [_score(train, lr, tuning_steps, validation) for lr in lrs]
    best = max(range(len(lrs)), key=lambda i: scores[i].rank)
    for used in range(best, 0, -1):
        with suppress(FloatingPointError):
            trained = train(lrs[used], steps, True)
            if not has_diverged(trained.history, num_classes):
                return Chosen(trained, lrs[used], tuple(scores), best - used)
    return Chosen(train(lrs[0], steps, True), lrs[0], tuple(scores), best)


def _score(train: Train, lr: float, steps: int, validation: OtherData) -> Evaluation:
    try:
        network = train(lr, steps, False).network
    except FloatingPointError:
        return Evaluation(loss=math.inf, accuracy=0.0)
    return evaluate(network, validation)


def has_diverged(history: pd.DataFrame, num_classes: int) -> bool:
    """Whether a training ends no better on its own images than guessing does.

    Guessing costs ln C nats. In the first 67 trainings of ``transfer_race`` two ended within a
    thousandth of it, and all others below nine tenths.

    Examples
    --------
    >>> [has_diverged(pd.DataFrame({"train_loss": [1.0, loss]}), 2) for loss in (0.693, 0.6)]
    [True, False]
    """
    return bool(history["train_loss"].iloc[-1] > GUESSING * math.log(num_classes))
