"""How measurements decide: intervals over runs, verdicts, families of claims, and power."""

from tlcourse.evidence.crossed import crossed_interval
from tlcourse.evidence.equivalence import EquivalentSize, equivalent_size
from tlcourse.evidence.intervals import (
    MeanInterval,
    cluster_means,
    mean_interval,
    split_overlap,
)
from tlcourse.evidence.power import detectable_effect, runs_needed
from tlcourse.evidence.provenance import Provenance
from tlcourse.evidence.tables import effects_table
from tlcourse.evidence.verdicts import (
    Effect,
    Side,
    Verdict,
    decide,
    decide_crossed,
    decide_together,
    holm,
)

__all__ = [
    "Effect",
    "EquivalentSize",
    "MeanInterval",
    "Provenance",
    "Side",
    "Verdict",
    "cluster_means",
    "crossed_interval",
    "decide",
    "decide_crossed",
    "decide_together",
    "detectable_effect",
    "effects_table",
    "equivalent_size",
    "holm",
    "mean_interval",
    "runs_needed",
    "split_overlap",
]
