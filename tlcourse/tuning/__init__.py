"""What is trained and how: freezing, rates, BatchNorm, schedules, and the training loop."""

from tlcourse.tuning.augmentation import POLICIES, augmentation, predict_views
from tlcourse.tuning.batchnorm import policies, re_estimate, set_policy, statistics_distance
from tlcourse.tuning.data_parallel import joined, synchronise
from tlcourse.tuning.freezing import freeze, freeze_elements, unfreeze
from tlcourse.tuning.held_out import HeldOut
from tlcourse.tuning.importance import fisher, magnitude, most_important
from tlcourse.tuning.linear_probe import LinearProbe, linear_probe, probe_features
from tlcourse.tuning.optim import LARS, Plateau, WarmRestarts, WarmUp, constant, cosine
from tlcourse.tuning.param_groups import (
    by_depth,
    count_trainable,
    describe_groups,
    geometric,
    layer_decay,
    param_groups,
    pretrained_factor,
)
from tlcourse.tuning.training import Evaluation, evaluate, fit, predict
from tlcourse.tuning.unfreezing import GradualUnfreezing, extend, one_by_one

__all__ = [
    "Evaluation",
    "GradualUnfreezing",
    "HeldOut",
    "LARS",
    "LinearProbe",
    "POLICIES",
    "Plateau",
    "WarmRestarts",
    "WarmUp",
    "augmentation",
    "by_depth",
    "constant",
    "cosine",
    "count_trainable",
    "describe_groups",
    "evaluate",
    "extend",
    "fisher",
    "fit",
    "freeze",
    "freeze_elements",
    "geometric",
    "joined",
    "layer_decay",
    "linear_probe",
    "magnitude",
    "most_important",
    "one_by_one",
    "param_groups",
    "policies",
    "predict",
    "predict_views",
    "pretrained_factor",
    "probe_features",
    "re_estimate",
    "set_policy",
    "statistics_distance",
    "synchronise",
    "unfreeze",
]
