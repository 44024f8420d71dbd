"""What a record says about a family of comparisons: effects by setting, and their cards."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from tlcourse.book.claims import claims_family, recorded
from tlcourse.errors import StudyError
from tlcourse.evidence import Effect, Provenance, Verdict, decide, decide_together
from tlcourse.studies.study import Comparison, Study, read_study
from tlcourse.suggestions import did_you_mean


class Paired(NamedTuple):
    """A comparison in one setting: its id there, the setting in words, a − b of each split."""

    id: str
    comparison: Comparison
    where: str
    differences: list[float]
    cells: int


def family_effects(study: Study, family: str) -> pd.DataFrame:
    """The effect of every comparison of a family in every setting, decided together by Holm.

    Parameters
    ----------
    study, family
        A study with a record, and a family of its comparisons.

    Returns
    -------
    DataFrame
        One row a comparison and setting, by its id: statement, where, mean, low, high, runs, p
        (after Holm), verdict, detectable (with a probability of 80 %), in the measure's own unit.

    Raises
    ------
    StudyError
        For a family that the study does not have.
    """
    pairs = list(_pairs(study, family))
    rows = {
        pair.id: {
            "statement": pair.comparison.statement,
            "where": pair.where,
            "mean": effect.mean,
            "low": effect.low,
            "high": effect.high,
            "runs": effect.runs,
            "p": effect.p,
            "verdict": effect.verdict,
            "detectable": effect.detectable,
        }
        for pair, effect in zip(pairs, _decided(study, pairs), strict=True)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def recorded_family(
    study: Study, family: str, says: Mapping[str, Verdict], *, unit: str = "", condition: str = ""
) -> None:
    """Cards of what a text says of a family; the rest counts in Holm's correction all the same.

    ``family_effects`` tells all of it. What is undecided because the runs could not have seen what
    matters is no claim.

    Parameters
    ----------
    study, family
        As in ``family_effects``.
    says
        The verdict in the text of each id.
    unit, condition
        As in ``tlcourse.book.recorded``.

    Raises
    ------
    StudyError
        For a family or an id that there is not, and for a claim that these runs cannot decide.
    ClaimFailed
        When a verdict is not what the text says.
    """
    pairs = list(_pairs(study, family))
    alone = {pair.id: _effect(study, pair) for pair in pairs}
    together = dict(zip(alone, decide_together(list(alone.values())), strict=True))
    for id in says:
        if id not in together:
            raise StudyError(f"{family} has no {id!r}{did_you_mean(id, together)}")
        if not is_decided(together[id]):
            seen = f"{together[id].detectable:.3g}, and {study.matters} matters"
            raise StudyError(f"{id} is no claim: its runs could have seen no less than {seen}")
    with claims_family(family, [alone[pair.id] for pair in pairs if pair.id not in says]):
        for pair in pairs:
            if pair.id in says:
                recorded(
                    pair.id,
                    f"{pair.comparison.statement}: {pair.where}",
                    pair.differences,
                    pair.comparison.source,
                    provenance=provenance(study, pair.cells),
                    says=says[pair.id],
                    matters=study.matters,
                    overlap=study.overlap,
                    unit=unit,
                    condition=condition,
                )


def is_decided(effect: Effect) -> bool:
    """Whether the runs decide, or would have seen an effect that matters."""
    return effect.verdict != "undecided" or effect.detectable <= effect.matters


def provenance(study: Study, runs: int) -> Provenance:
    """When, where and from which commit a study's record was made; ``runs`` are those behind it."""
    calls = json.loads(study.path.with_name("environment.json").read_text(encoding="utf-8"))
    last = calls[-1]
    return Provenance(
        study.name,
        last["date"][:10],
        last["device"],
        last["commit"],
        runs,
        {"torch": last["torch"].split("+")[0]},
    )


def _decided(study: Study, pairs: list[Paired]) -> list[Effect]:
    return decide_together([_effect(study, pair) for pair in pairs])


def _effect(study: Study, pair: Paired) -> Effect:
    return decide(pair.differences, matters=study.matters, overlap=study.overlap)


def _pairs(study: Study, family: str) -> Iterator[Paired]:
    families = sorted({comparison.family for comparison in study.comparisons})
    if family not in families:
        near = did_you_mean(family, families)
        raise StudyError(f"{study.name} has no family {family!r}; it has {families}{near}")
    table = read_study(study)
    for comparison in study.comparisons:
        if comparison.family == family:
            yield from _settings(study, comparison, table)


def _settings(study: Study, comparison: Comparison, table: pd.DataFrame) -> Iterator[Paired]:
    """A comparison in each setting that was run with both of its arms, split by split."""
    where = comparison.where or {}
    for column, values in where.items():
        table = table[table[column].isin(values)]
    told = [column for column in study.setting if len(where.get(column, ())) != 1]
    for setting, rows in table.groupby(list(study.setting), sort=False):
        both = [_measured(rows, arm, comparison.measure) for arm in (comparison.a, comparison.b)]
        differences = (both[0] - both[1]).dropna()
        if differences.empty:
            continue
        value = dict(zip(study.setting, setting, strict=True))
        yield Paired(
            "-".join([comparison.id, *(str(value[column]) for column in told)]),
            comparison,
            ", ".join(_words(column, value[column]) for column in told),
            differences.tolist(),
            2 * len(differences),
        )


def _measured(rows: pd.DataFrame, arm: Mapping[str, str], measure: str) -> pd.Series:
    for column, value in arm.items():
        rows = rows[rows[column] == value]
    return rows.set_index("split")[measure].sort_index()


def _words(column: str, value: Any) -> str:
    if column == "per_class":
        return f"{value} images a class"
    return f"rate {value:g}" if column == "lr" else str(value)
