"""A study's findings on cards: what a chapter's text says of a family of comparisons."""

from collections.abc import Mapping

import pandas as pd

from tlcourse.book.claims import claims_family, recorded
from tlcourse.errors import StudyError
from tlcourse.evidence import Effect, Verdict, decide_together
from tlcourse.studies.findings import Finding, findings, findings_alone
from tlcourse.studies.report import as_table, describe_setting, provenance
from tlcourse.studies.study import Study
from tlcourse.suggestions import did_you_mean


def family_effects(study: Study, family: str) -> pd.DataFrame:
    """The effect of every comparison of a family in every setting, decided together by Holm.

    Parameters
    ----------
    study, family
        A study with a record, and a family of its comparisons.

    Returns
    -------
    DataFrame
        ``as_table`` of the findings, in the measure's own unit, one row each by its id.

    Raises
    ------
    StudyError
        For a family that the study does not have.
    """
    _check_family(study, family)
    found = findings(study, family=family)
    return as_table(found).assign(id=[finding.id for finding in found]).set_index("id")


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
    _check_family(study, family)
    alone = {finding.id: finding for finding in findings_alone(study, family=family)}
    effects = decide_together([finding.effect for finding in alone.values()])
    together = dict(zip(alone, effects, strict=True))
    for id in says:
        if id not in together:
            raise StudyError(f"{family} has no {id!r}{did_you_mean(id, together)}")
        if not _is_decided(together[id]):
            seen = f"{together[id].detectable:.3g}, and {study.matters} matters"
            raise StudyError(f"{id} is no claim: its runs could have seen no less than {seen}")
    with claims_family(family, [alone[id].effect for id in alone if id not in says]):
        for id in alone:
            if id in says:
                _show(study, alone[id], says[id], unit, condition)


def _show(study: Study, finding: Finding, says: Verdict, unit: str, condition: str) -> None:
    recorded(
        finding.id,
        f"{finding.comparison.statement}: {describe_setting(finding)}",
        finding.effect,
        finding.comparison.source,
        provenance=provenance(study, 2 * finding.effect.runs),
        says=says,
        unit=unit,
        condition=condition,
    )


def _is_decided(effect: Effect) -> bool:
    """Whether the runs decide, or would have seen an effect that matters."""
    return effect.verdict != "undecided" or effect.detectable <= effect.matters


def _check_family(study: Study, family: str) -> None:
    families = sorted({comparison.family for comparison in study.comparisons})
    if family not in families:
        near = did_you_mean(family, families)
        raise StudyError(f"{study.name} has no family {family!r}; it has {families}{near}")
