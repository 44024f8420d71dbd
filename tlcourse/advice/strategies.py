"""Strategies: from training anew to a new head, each a short recipe for any learning rate."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from tlcourse.networks.backbones import Backbone
from tlcourse.suggestions import look_up
from tlcourse.tuning.batchnorm import Policy

EPOCHS = 10  # validation is looked at this often, however few images there are
STEPS = 300  # at least so many in a training
TUNING_STEPS = 50  # of the short training at each rate
BATCH_SIZE = 8
WEIGHT_DECAY = 0.01
HEAD_LR = 3e-3  # of a head on frozen features, where it comes first


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

    ``phases`` gives those of a training at a rate, ``lrs`` the rates to choose from on validation,
    rising; without any, a logistic regression reads the frozen features. ``kept`` is the share of
    the stages before the head that start from the pretrained weights, from the input on; the others
    start at random. ``batchnorm`` is the policy of the stages that learn. ``source`` says whose
    recipe it is.
    """

    name: str
    summary: str
    source: str
    phases: Callable[[float], tuple[Phase, ...]]
    lrs: tuple[float, ...]
    kept: float = 1.0
    batchnorm: Policy = "statistics_only"  # statistics stand still, γ and β learn: see chapter 09


# Four rates for every strategy, set by the pilot of the study ``transfer_race``: pretrained stages
# did best at 1e-4 or 3e-4 and diverged at 1e-3. Heads learn ten times as fast. Random weights did
# best at 3e-4, 3e-3 and 1e-2, by data set; of rates for late stages alone the pilot tells nothing.
FINE, HEAD = (3e-5, 1e-4, 3e-4, 1e-3), (3e-4, 1e-3, 3e-3, 1e-2)
ADAPTING, LATE = HEAD, (1e-4, 3e-4, 1e-3, 3e-3)

_ALL = (
    Strategy(
        "scratch",
        "nothing is transferred: all weights start at random",
        "the control of He et al. 2019 (Rethinking ImageNet pre-training)",
        lambda lr: (Phase(EPOCHS, lr),),
        ADAPTING,
        kept=0.0,
        batchnorm="train",
    ),
    Strategy(
        "probe",
        "the pretrained stages are frozen; a logistic regression reads their last features",
        "Donahue et al. 2014 (DeCAF); Sharif Razavian et al. 2014",
        lambda lr: (),
        (),
        batchnorm="frozen",
    ),
    Strategy(
        "early_only",
        "the early half of the stages is kept, the late half starts at random; all learn",
        "Yosinski et al. 2014; Raghu et al. 2019 (weight transfusion)",
        lambda lr: (Phase(EPOCHS, lr),),
        ADAPTING,
        kept=0.5,
        batchnorm="train",
    ),
    Strategy(
        "to_stage3",
        "the stages up to stage3 are frozen, the rest learns",
        "widespread: freeze the early layers",
        lambda lr: (Phase(EPOCHS, lr, frozen=4 / 6),),
        LATE,
    ),
    Strategy(
        "one_rate",
        "all learn at one rate: plain fine-tuning",
        "widespread; Girshick et al. 2014 (R-CNN)",
        lambda lr: (Phase(EPOCHS, lr),),
        FINE,
    ),
    Strategy(
        "one_tenth",
        "all learn, the pretrained stages at a tenth of the head's rate",
        "widespread",
        lambda lr: (Phase(EPOCHS, lr, factor=0.1),),
        HEAD,
    ),
    Strategy(
        "head_first",
        "the head on frozen features, then all at one, lower rate (LP-FT)",
        "Kumar et al. 2022 (LP-FT); Chollet 2020 (Keras guide)",
        lambda lr: (Phase(3, HEAD_LR, frozen=1.0), Phase(EPOCHS - 3, lr)),
        FINE,
    ),
    Strategy(
        "gradual",
        "the head first; then one more stage joins in each epoch, at a tenth of its rate",
        "Howard & Ruder 2018 (ULMFiT)",
        lambda lr: (Phase(EPOCHS, lr, factor=0.1, gradual=True),),
        HEAD,
    ),
    Strategy(
        "by_depth",
        "a tenth, a third and all of the rate, from the input to the head",
        "Howard & Ruder 2018 (discriminative rates)",
        lambda lr: (Phase(EPOCHS, lr, by_depth=(1 / 10, 1 / 3, 1.0)),),
        FINE,
    ),
)
STRATEGIES = {strategy.name: strategy for strategy in _ALL}


def strategy_named(name: str) -> Strategy:
    """A strategy by name; raises ValueError that lists them for an unknown one.

    Examples
    --------
    >>> strategy_named("early_only").kept
    0.5
    """
    return look_up(name, STRATEGIES, "strategy")


def fingerprint(strategy: Strategy) -> str:
    """Eight hex digits of a recipe."""
    recipe = repr((strategy.phases(1.0), strategy.kept))
    return hashlib.sha256(recipe.encode()).hexdigest()[:8]


def key_of(strategy: Strategy) -> dict[str, str]:
    """What names a strategy in a record: another recipe, policy or rate is another cell.

    Examples
    --------
    >>> key_of(STRATEGIES["probe"])
    {'arm': 'probe', 'batchnorm': 'frozen', 'recipe': '', 'lrs': ''}
    """
    return {
        "arm": strategy.name,
        "batchnorm": strategy.batchnorm,
        "recipe": fingerprint(strategy) if strategy.lrs else "",
        "lrs": " ".join(f"{lr:g}" for lr in strategy.lrs),
    }


def first_stages(backbone: Backbone, share: float) -> list[str]:
    """The first stages, a share of all before the head; one at least, unless the share is 0."""
    before_head = backbone.stage_names[:-1]
    return list(before_head[: max(round(share * len(before_head)), share > 0)])


def enough_steps(images: int, steps: int, batch_size: int = BATCH_SIZE) -> float:
    """``steps`` or, where that is more, as many as make each of the ten epochs a whole pass.

    Examples
    --------
    >>> enough_steps(100, 300), enough_steps(3200, 300)
    (300, 4000.0)
    """
    return max(steps, EPOCHS * images / min(batch_size, images))
