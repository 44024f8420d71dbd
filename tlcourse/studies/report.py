"""What a study's record says: every declared comparison in every setting, with its verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tabulate import tabulate

from tlcourse.errors import StudyError
from tlcourse.evidence import Effect, Provenance, decide, decide_together
from tlcourse.studies.checking import matching
from tlcourse.studies.study import Comparison, Study, read_study

FEWEST = 3  # runs with a verdict


@dataclass(frozen=True)
class Finding:
    """One comparison in one setting, and what the runs say; ``effect`` is after Holm."""

    comparison: Comparison
    setting: Mapping[str, Any]
    effect: Effect


def differences(record: pd.DataFrame, study: Study, comparison: Comparison) -> pd.DataFrame:
    """``a`` less ``b`` in each run (columns) and setting (rows, a level for each of its columns).

    Parameters
    ----------
    record : DataFrame
        From ``read_study``. A run that lacks one of the two is NaN; settings without any are left
        out.
    study : Study
    comparison : Comparison
        One of the study's.

    Raises
    ------
    StudyError
        When several cells would do for a run: ``where`` has to tell them apart.

    Examples
    --------
    >>> from tlcourse.studies import STUDIES
    >>> study = STUDIES["frozen_features"]
    >>> table = differences(read_study(study), study, study.comparisons[0])
    >>> list(table.index.names)
    ['dataset', 'per_class', 'image_size']
    """
    names = [name for name in study.setting if name not in {*comparison.a, *comparison.b}]
    sides = []
    for arm, measure in (
        (comparison.a, comparison.measure),
        (comparison.b, comparison.measure_b or comparison.measure),
    ):
        named = {name: (value,) for name, value in arm.items()}
        rows = matching(matching(record, comparison.where), named)
        if measure not in rows:  # nobody has measured it yet
            rows = rows[:0].assign(**{measure: float("nan")})
        rows = rows.dropna(subset=[measure])
        side = rows.set_index([*names, study.over])[measure]
        if side.index.has_duplicates:
            twice = dict(zip(side.index.names, side.index[side.index.duplicated()][0], strict=True))
            raise StudyError(
                f"{comparison.id}: several cells of {dict(arm)} are of {twice}; `where` has to "
                "choose one"
            )
        sides.append(side)
    return (sides[0] - sides[1]).unstack(study.over).dropna(how="all").sort_index()


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
    record = read_study(study) if record is None else record
    families: dict[str, list[Finding]] = {}
    for comparison in study.comparisons:
        table = differences(record, study, comparison)
        names = list(table.index.names)
        for setting, runs in table.iterrows():
            values = [float(value) for value in runs.dropna()]
            if len(values) >= FEWEST:
                effect = decide(values, matters=study.matters, overlap=study.overlap)
                named = dict(zip(names, setting if len(names) > 1 else [setting], strict=True))
                families.setdefault(comparison.family, []).append(
                    Finding(comparison, named, effect)
                )
    decided = []
    for family in families.values():
        together = decide_together([finding.effect for finding in family])
        decided += [
            Finding(finding.comparison, finding.setting, effect)
            for finding, effect in zip(family, together, strict=True)
        ]
    return decided


def as_table(found: Sequence[Finding]) -> pd.DataFrame:
    """A row for each finding: comparison, setting, effect, interval, p, verdict, detectable, runs.

    The interval is the 95 % interval of this finding alone; ``p`` and ``verdict`` are its family's
    (Holm), and ``detectable`` what the family would have found with a probability of 80 %.

    Examples
    --------
    >>> as_table([]).empty
    True
    """
    return pd.DataFrame(
        [
            {
                "family": finding.comparison.family,
                "id": finding.comparison.id,
                "setting": describe_setting(finding),
                "effect": finding.effect.mean,
                "low": finding.effect.low,
                "high": finding.effect.high,
                "p": finding.effect.p,
                "verdict": finding.effect.verdict,
                "detectable": finding.effect.detectable,
                "runs": finding.effect.runs,
            }
            for finding in found
        ]
    )


def describe_setting(finding: Finding) -> str:
    """A finding's setting in few words, without numbers that are its whole comparison's."""
    where = finding.comparison.where or {}
    told = {
        name: value
        for name, value in finding.setting.items()
        if isinstance(value, str) or len(where.get(name, ())) != 1
    }
    return ", ".join(in_words(name, value) for name, value in told.items()) or "everywhere"


def in_words(column: str, value: Any) -> str:
    """A value of a column of settings.

    Examples
    --------
    >>> in_words("dataset", "elpv"), in_words("per_class", 20), in_words("image_size", 128)
    ('elpv', '20 images a class', '128 px')
    """
    if column == "per_class":
        return f"{value} images a class" if value else "all images"
    if column == "image_size":
        return f"{value} px"
    return str(value) if isinstance(value, str) else f"{column} {value:g}"


def as_text(study: Study, found: Sequence[Finding]) -> str:
    """The report: question, then each comparison with what it came to in each setting."""
    table = as_table(found)
    lines = [f"{study.name}: {study.question}", f"A difference of {study.matters:g} matters."]
    for comparison in study.comparisons:
        lines += ["", f"[{comparison.family}] {comparison.statement}"]
        rows = table[table["id"] == comparison.id] if len(table) else table
        if not len(rows):
            lines.append(f"  ({comparison.id}: not measured yet)")
            continue
        shown = [
            [
                row.setting,
                f"{row.effect:+.3f}",
                f"[{row.low:+.3f}, {row.high:+.3f}]",
                f"{row.p:.3f}",
                row.verdict,
                f"{row.detectable:.3f}",
                row.runs,
            ]
            for row in rows.itertuples()
        ]
        headers = [comparison.id, "effect", "95 % interval", "p", "verdict", "detectable", "runs"]
        lines.append(tabulate(shown, headers, disable_numparse=True))
    if study.left_out:
        lines += ["", f"Left out: {study.left_out}"]
    return "\n".join(lines)


def provenance(study: Study) -> Provenance:
    """Where a record comes from, for ``recorded``: what the last call of its sweep noted.

    Raises FileNotFoundError when nothing has been recorded.
    """
    path = study.path.with_name("environment.json")
    last = json.loads(path.read_text(encoding="utf-8"))[-1]
    record = read_study(study)
    commits = record["commit"].mode() if "commit" in record else [last["commit"]]
    return Provenance(
        study=study.name,
        date=last["date"][:10],
        device=last["device"],
        commit=commits[0],  # of most cells
        runs=len(record),
        versions={"torch": last["torch"]},
    )
