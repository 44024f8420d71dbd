"""The report of a study: a table and a text of its findings, and where its record comes from."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
from tabulate import tabulate

from tlcourse.evidence import Provenance
from tlcourse.studies.findings import Finding
from tlcourse.studies.study import Study, progress_of, read_study


def as_table(found: Sequence[Finding]) -> pd.DataFrame:
    """A row for each finding: comparison, setting, effect, interval, p, verdict, detectable, runs.

    The interval is the 95 % interval of this finding alone; ``p`` and ``verdict`` are its family's
    (Holm), ``detectable`` what the family would have found with a probability of 80 %, and
    ``images_factor`` how many times the images it would take to find what matters.

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
                "images_factor": finding.effect.images_factor,
                "runs": finding.effect.runs,
            }
            for finding in found
        ]
    )


def describe_setting(finding: Finding) -> str:
    """A finding's setting in few words, without numbers that are its whole comparison's."""
    told = (
        in_words(name, value)
        for name, value in finding.setting.items()
        if isinstance(value, str) or finding.left_open(name)
    )
    return ", ".join(told) or "everywhere"


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
    if column == "lr":
        return f"rate {value:g}"
    return str(value) if isinstance(value, str) else f"{column} {value:g}"


def as_text(study: Study, found: Sequence[Finding]) -> str:
    """The report: question, then each comparison with what it came to in each setting."""
    table = as_table(found)
    done, declared = progress_of(study)
    lines = [f"{study.name}: {study.question}"]
    if study.comparisons:
        lines.append(f"A difference of {study.matters:g} matters.")
    if done < declared:
        lines.append(f"An interim look, at {done} of {declared} cells: it decides nothing yet.")
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
                f"{row.images_factor:.1f}",
                row.runs,
            ]
            for row in rows.itertuples()
        ]
        headers = [comparison.id, "effect", "95 % interval", "p", "verdict", "detectable"]
        headers += ["images ×", "runs"]
        lines.append(tabulate(shown, headers, disable_numparse=True))
    if study.left_out:
        lines += ["", f"Left out: {study.left_out}"]
    return "\n".join(lines)


def provenance(study: Study, runs: int) -> Provenance:
    """Where so many runs of a record come from, for ``recorded``: its last call's notes.

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
        runs=runs,
        versions={"torch": last["torch"].split("+")[0]},
    )
