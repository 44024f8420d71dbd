"""How many points a rule's choice costs against the best arm, on sources that it never saw."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from tlcourse.advice.basis import Basis, basis_of
from tlcourse.advice.expecting import CLOSE
from tlcourse.advice.measurements import Measured
from tlcourse.advice.rules import RULES, Rule
from tlcourse.evidence import mean_interval


def asked(records: pd.DataFrame, by: list[str]) -> Iterator[tuple[tuple, Measured, Basis]]:
    """What a rule is asked about each place, and the records of all *other* sources.

    ``by`` names columns from ``source`` on; what was measured is the mean over the rest.
    """
    for source, here in records.groupby("source"):
        basis = basis_of(records[records["source"] != source])
        for place, runs in here.groupby(by):
            first = runs.iloc[0]
            probes = pd.DataFrame(runs["probes"].tolist()).mean()
            yield (
                place,
                Measured(
                    images=int(first["per_class"] * first["classes"]),
                    classes=int(first["classes"]),
                    per_class=float(first["per_class"]),
                    distance=float(runs["distance"].mean()),
                    probes=probes.to_dict(),
                    backbone=first["backbone"],
                    image_size=int(first["image_size"]),
                    grouped=True,
                ),
                basis,
            )


def regrets(records: pd.DataFrame, rules: Mapping[str, Rule] = RULES) -> pd.DataFrame:
    """Points of accuracy that each rule's choice is behind the best arm, by setting.

    A setting is a data set with so many images a class; its accuracies are means over the splits.
    A rule is asked with the records of all *other* sources at hand. The best of several noisy
    means owes something to luck, so that every regret here is a little too high.

    Parameters
    ----------
    records : DataFrame
        From ``load_records``, of two sources or more.
    rules : mapping
        Names to rules.

    Returns
    -------
    DataFrame
        A row for each source, data set and size; a column for each rule, NaN where the record has
        no cell of the arm that the rule names.

    Raises
    ------
    ValueError
        For records of a single source: nothing would be left to go by.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records
    >>> list(regrets(load_records(), {"always extract": RULES["always extract"]}))
    ['always extract']
    """
    if records["source"].nunique() < 2:
        raise ValueError(
            f"the records are of {records['source'].nunique()} source; a rule is scored on one "
            "with the records of others, so that it takes two or more"
        )
    setting = ["source", "dataset", "per_class"]
    accuracy = records.pivot_table(index=setting, columns="arm", values="plain")
    rows = {}
    for place, measured, basis in asked(records, setting):
        here = accuracy.loc[place]
        chosen = {name: rule(measured, basis) for name, rule in rules.items()}
        rows[place] = {
            name: 100 * (here.max() - here.get(arm, np.nan)) for name, arm in chosen.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(setting)


def score(records: pd.DataFrame, rules: Mapping[str, Rule] = RULES) -> pd.DataFrame:
    """Each rule's regret in points, over the sources, with its 95 % interval.

    Parameters
    ----------
    records, rules
        As in ``regrets``.

    Returns
    -------
    DataFrame
        A row for each rule: ``regret`` is the mean over sources of the mean over settings, from
        ``low`` to ``high`` (NaN for fewer than three sources); ``worst`` the largest of a setting;
        ``within_one_point`` the share of settings, in [0, 1], each source weighing the same. NaN
        for a rule whose arm the record lacks in one of the settings.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records
    >>> rules = {"always extract": RULES["always extract"]}
    >>> list(score(load_records(), rules))
    ['regret', 'low', 'high', 'worst', 'within_one_point']
    """
    table = regrets(records, rules)
    near = (table <= 100 * CLOSE + 1e-9).where(table.notna()).astype(float)
    by_source, near_by_source = (
        values.groupby(level="source").agg(lambda of_rule: of_rule.mean(skipna=False))
        for values in (table, near)
    )
    rows = {}
    for rule in table:
        ends = (np.nan, np.nan)
        if len(by_source) > 2:
            interval = mean_interval(by_source[rule].tolist())
            ends = (interval.low, interval.high)
        rows[rule] = {
            "regret": by_source[rule].mean(skipna=False),
            "low": ends[0],
            "high": ends[1],
            "worst": table[rule].max(skipna=False),
            "within_one_point": near_by_source[rule].mean(skipna=False),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
