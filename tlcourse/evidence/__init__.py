"""How measurements decide: intervals over runs, verdicts, families of claims, and power."""

from tlcourse.evidence.intervals import (
    MeanInterval,
    cluster_means,
    mean_interval,
    split_overlap,
)
from tlcourse.evidence.power import detectable_effect, images_factor, runs_needed
from tlcourse.evidence.provenance import Provenance
from tlcourse.evidence.verdicts import Effect, Side, Verdict, decide, decide_together, holm

__all__ = [
    "Effect",
    "MeanInterval",
    "Provenance",
    "Side",
    "Verdict",
    "cluster_means",
    "decide",
    "decide_together",
    "detectable_effect",
    "holm",
    "images_factor",
    "mean_interval",
    "runs_needed",
    "split_overlap",
]
