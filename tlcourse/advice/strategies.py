"""Strategies: from training anew to a new head, each a short recipe over parts of the package."""

from dataclasses import dataclass

from tlcourse.networks.backbones import Backbone
from tlcourse.suggestions import look_up
from tlcourse.tuning.batchnorm import Policy

EPOCHS = 10  # validation is looked at this often, however few images there are
STEPS = 120  # at least so many in a training
BATCH_SIZE = 16
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: ``epochs`` of the 10, and what learns in them at which rate.

    ``frozen`` is the share of the stages before the head that stand still, from the input on: 0 is
    none, 1 all. ``lr`` is the head's rate, ``factor`` times it that of all other stages; where
    there is ``by_depth``, its factors are those of as many equal parts of them, from the input on.
    ``gradual`` starts with the head alone and thaws one more stage each epoch.
    """

    epochs: int
    lr: float
    frozen: float = 0.0
    factor: float = 1.0
    by_depth: tuple[float, ...] = ()
    gradual: bool = False


@dataclass(frozen=True)
class Strategy:
    """How to get from a pretrained network to a classifier of new images.

    ``kept`` is the share of the stages before the head that start from the pretrained weights, from
    the input on; the others start at random. ``batchnorm`` is the policy of the stages that learn.
    ``source`` says whose recipe it is.
    """

    name: str
    summary: str
    source: str
    phases: tuple[Phase, ...]
    kept: float = 1.0
    batchnorm: Policy = "train"


_ALL = (
    Strategy(
        "scratch",
        "nothing is transferred: all weights start at random",
        "the control of He et al. 2019 (Rethinking ImageNet pre-training)",
        (Phase(EPOCHS, lr=2e-3),),
        kept=0.0,
    ),
    Strategy(
        "extraction",
        "the pretrained stages are frozen; a linear head learns on their features",
        "Donahue et al. 2014 (DeCAF); Sharif Razavian et al. 2014",
        (Phase(EPOCHS, lr=3e-3, frozen=1.0),),
    ),
    Strategy(
        "hybrid",
        "the early half of the stages is kept and frozen, the late half starts at random",
        "Yosinski et al. 2014 (BnB and AnB); Raghu et al. 2019 (weight transfusion)",
        (Phase(EPOCHS, lr=2e-3, frozen=0.5),),
        kept=0.5,
    ),
    Strategy(
        "two_phase",
        "the head first, on frozen features; then everything, the pretrained stages ten times "
        "slower",
        "Kumar et al. 2022 (LP-FT); Chollet 2020 (Keras guide)",
        (Phase(4, lr=3e-3, frozen=1.0), Phase(6, lr=1e-3, factor=0.1)),
        batchnorm="statistics_only",
    ),
    Strategy(
        "gradual",
        "the head first; then one more stage joins at a time, the last first",
        "Howard & Ruder 2018 (ULMFiT)",
        (Phase(EPOCHS, lr=3e-3, factor=0.1, gradual=True),),
        batchnorm="statistics_only",
    ),
)
STRATEGIES = {strategy.name: strategy for strategy in _ALL}

# The course's matrix: which strategy for which quadrant of data size and domain. CS231n's notes
# differ: small and far, a linear classifier on earlier activations; large, fine-tuning throughout.
QUADRANTS = {
    ("small", "similar"): "extraction",
    ("small", "far"): "hybrid",
    ("large", "similar"): "gradual",
    ("large", "far"): "two_phase",
}
QUADRANTS_SOURCE = "this course, loosely after Karpathy's CS231n notes and Yosinski et al. 2014"


def strategy_named(name: str) -> Strategy:
    """A strategy by name; raises ValueError that lists them for an unknown one.

    Examples
    --------
    >>> strategy_named("hybrid").kept
    0.5
    """
    return look_up(name, STRATEGIES, "strategy")


def first_stages(backbone: Backbone, share: float) -> list[str]:
    """The first stages, a share of all before the head; one at least, unless the share is 0."""
    before_head = backbone.stage_names[:-1]
    return list(before_head[: max(round(share * len(before_head)), share > 0)])


def enough_steps(images: int, steps: int, batch_size: int = BATCH_SIZE) -> float:
    """``steps`` or, where that is more, as many as make each of the ten epochs a whole pass.

    Examples
    --------
    >>> enough_steps(100, 120), enough_steps(3200, 120)
    (120, 2000.0)
    """
    return max(steps, EPOCHS * images / min(batch_size, images))
