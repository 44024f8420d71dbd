"""A study's findings on cards: what a chapter's text says of a family of comparisons."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from tlcourse.book.claims import claims_family, recorded
from tlcourse.errors import StudyError
from tlcourse.evidence import Effect, Verdict, decide_together
from tlcourse.studies.findings import findings, findings_alone, missing_runs
from tlcourse.studies.report import as_table, describe_setting, provenance
from tlcourse.studies.study import Study, read_study
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
    return _table(study.only(family), read_study(study))


def family_points(study: Study, family: str) -> pd.DataFrame:
    """``family_effects`` in points, hundredths of accuracy: what a chapter shows.

    Parameters
    ----------
    study, family
        As in ``family_effects``.

    Returns
    -------
    DataFrame
        ``effect``, the ends of its 95 % interval ``low`` and ``high``, and ``detectable``, all in
        points; the ``verdict``, left out of an interim look; ``images_factor``, how many times the
        images would find what matters; and the number of ``splits``.

    Raises
    ------
    StudyError
        For a family that the study does not have.
    """
    only, record = study.only(family), read_study(study)
    table = _table(only, record)
    points = (100 * table[["effect", "low", "high", "detectable"]]).round(1)
    if not missing_runs(only, record):
        points["verdict"] = table["verdict"]
    factor = table["images_factor"].round(1)
    return points.assign(images_factor=factor, splits=table["runs"])


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
        For a family or an id that there is not, for one that is not recorded whole, and for a claim
        that these runs cannot decide.
    ClaimFailed
        When a verdict is not what the text says.
    """
    only, record = study.only(family), read_study(study)
    if missing := missing_runs(only, record):
        raise StudyError(
            f"{family} is no claim yet: {missing} declared runs are not recorded, and a verdict "
            "before the last is a look too early; show family_points, and say that it is interim"
        )
    alone = {finding.id: finding for finding in findings_alone(only, record)}
    effects = decide_together([finding.effect for finding in alone.values()])
    together = dict(zip(alone, effects, strict=True))
    for id in says:
        if id not in together:
            raise StudyError(f"{family} has no {id!r}{did_you_mean(id, together)}")
        if not _is_decided(together[id]):
            seen = f"{together[id].detectable:.3g}, and {study.matters} matters"
            raise StudyError(f"{id} is no claim: its runs could have seen no less than {seen}")
    with claims_family(family, [alone[id].effect for id in alone if id not in says]):
        origin = provenance(study, 0)  # of the record; it is read once
        for id, finding in alone.items():
            if id in says:
                recorded(
                    id,
                    f"{finding.comparison.statement}: {describe_setting(finding)}",
                    finding.effect,
                    finding.comparison.source,
                    provenance=replace(origin, runs=2 * finding.effect.runs),
                    says=says[id],
                    unit=unit,
                    condition=condition,
                )


def _table(only: Study, record: pd.DataFrame) -> pd.DataFrame:
    found = findings(only, record)
    return as_table(found).assign(id=[finding.id for finding in found]).set_index("id")


def _is_decided(effect: Effect) -> bool:
    """Whether the runs decide, or would have seen an effect that matters."""
    return effect.verdict != "undecided" or effect.detectable <= effect.matters
