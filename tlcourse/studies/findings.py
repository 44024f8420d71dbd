"""Findings: what a record says about each declared comparison, in each setting."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tlcourse.errors import StudyError
from tlcourse.evidence import Effect, decide, decide_crossed, decide_together
from tlcourse.studies.checking import matching
from tlcourse.studies.outcomes import outcomes_of
from tlcourse.studies.study import Comparison, Study, read_study

FEWEST = 3  # runs with a verdict


@dataclass(frozen=True)
class Finding:
    """One comparison in one setting, its difference in each run, and what the runs say."""

    comparison: Comparison
    setting: Mapping[str, Any]
    differences: tuple[float, ...]
    effect: Effect

    @property
    def id(self) -> str:
        """The comparison's, with the values of the setting that its declaration left open."""
        told = (str(value) for name, value in self.setting.items() if self.left_open(name))
        return "-".join([self.comparison.id, *told])

    def left_open(self, name: str) -> bool:
        """Whether the declaration names no value of a column of the setting, or several."""
        return len((self.comparison.where or {}).get(name, ())) != 1


def findings(study: Study, record: pd.DataFrame | None = None) -> list[Finding]:
    """Every comparison in every setting that has three runs; families are decided together.

    Parameters
    ----------
    study : Study
    record : DataFrame, optional
        By default what ``read_study`` gives.

    Raises
    ------
    FileNotFoundError
        When nothing has been recorded.

    Examples
    --------
    >>> from tlcourse.studies import STUDIES
    >>> found = findings(STUDIES["frozen_features"])
    >>> {finding.effect.verdict for finding in found} <= {
    ...     "confirmed", "refuted", "equal", "undecided"}
    True
    """
    families: dict[str, list[Finding]] = {}
    for finding in findings_alone(study, record):
        families.setdefault(finding.comparison.family, []).append(finding)
    return [
        replace(finding, effect=effect)
        for found in families.values()
        for finding, effect in zip(
            found, decide_together([finding.effect for finding in found]), strict=True
        )
    ]


def findings_alone(study: Study, record: pd.DataFrame | None = None) -> Iterator[Finding]:
    """As ``findings``, each decided by itself; ``claims_family`` decides them together."""
    record = read_study(study) if record is None else record
    for comparison in study.comparisons:
        pairs = paired(record, study, comparison)
        for setting, runs in pairs.groupby(list(pairs.index.names[:-1])):
            if len(runs) >= FEWEST:
                named = dict(zip(pairs.index.names, setting, strict=False))
                values = tuple(map(float, runs["difference"]))
                yield Finding(comparison, named, values, _decide(study, comparison, runs))


def missing_runs(study: Study, record: pd.DataFrame) -> int:
    """How many of the pairs that the comparisons declare a record still lacks.

    Whoever looks before the last of them, and may look again, finds "confirmed" more often than one
    time in twenty where there is nothing: Armitage, McPherson & Rowe (1969), Repeated significance
    tests on accumulating data, JRSS A 132.

    Examples
    --------
    >>> from tlcourse.studies import STUDIES
    >>> study = STUDIES["heads"]
    >>> missing_runs(study, read_study(study))
    0
    """
    declared = study.declared
    return sum(
        len(_pairs(declared, study, comparison)) - len(_pairs(record, study, comparison))
        for comparison in study.comparisons
    )


def _pairs(cells: pd.DataFrame, study: Study, comparison: Comparison) -> pd.DataFrame:
    """As ``paired``, whatever the cells measured."""
    measures = {comparison.measure, comparison.measure_b or comparison.measure}
    return paired(cells.assign(**dict.fromkeys(measures, 0.0)), study, comparison)


def paired(record: pd.DataFrame, study: Study, comparison: Comparison) -> pd.DataFrame:
    """The cells of ``a`` and ``b`` in each run of each setting that has both.

    Parameters
    ----------
    record : DataFrame
        From ``read_study``.
    study : Study
    comparison : Comparison
        One of the study's.

    Returns
    -------
    DataFrame
        Indexed by setting and run. ``difference``, of ``a`` less ``b``; where cells keep them,
        ``outcomes_a`` and ``outcomes_b``.

    Raises
    ------
    StudyError
        When several cells would do for a run: ``where`` has to tell them apart.

    Examples
    --------
    >>> from tlcourse.studies import STUDIES
    >>> study = STUDIES["frozen_features"]
    >>> table = paired(read_study(study), study, study.comparisons[0])
    >>> list(table.index.names)
    ['dataset', 'per_class', 'image_size', 'split']
    """
    names = [name for name in study.setting if name not in {*comparison.a, *comparison.b}]
    index = [*names, study.over]
    measures = comparison.measure, comparison.measure_b or comparison.measure
    sides = []
    for arm, measure in zip((comparison.a, comparison.b), measures, strict=True):
        named = {name: (value,) for name, value in arm.items()}
        rows = matching(matching(record, comparison.where), named)
        rows = rows.reindex(columns=[*index, measure, "outcomes"])  # nobody may have measured them
        rows = rows.dropna(subset=[measure]).rename(columns={measure: "value"})
        side = rows.set_index(index)
        if side.index.has_duplicates:
            twice = dict(zip(side.index.names, side.index[side.index.duplicated()][0], strict=True))
            raise StudyError(
                f"{comparison.id}: several cells of {dict(arm)} are of {twice}; `where` has to "
                "choose one"
            )
        sides.append(side)
    both = sides[0].merge(sides[1], left_index=True, right_index=True, suffixes=("_a", "_b"))
    both = both.sort_index()
    return both.assign(difference=both["value_a"] - both["value_b"])


def _decide(study: Study, comparison: Comparison, runs: pd.DataFrame) -> Effect:
    """By the answers for each image where both cells keep them for the same images."""
    measures = comparison.measure, comparison.measure_b or comparison.measure
    crossed, groups = [], []
    for row in runs.to_dict("records"):
        a, b = (
            outcomes_of(row[f"outcomes_{side}"], measure)
            for side, measure in zip("ab", measures, strict=True)
        )
        if a is None or b is None or not np.array_equal(a.groups, b.groups):
            values = [float(value) for value in runs["difference"]]
            return decide(values, matters=study.matters, overlap=study.overlap)
        crossed.append((a.right.astype(float) - b.right).tolist())
        groups.append(a.groups.tolist())
    return decide_crossed(crossed, groups, matters=study.matters)
