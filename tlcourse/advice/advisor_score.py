"""Is the advice any good? Rules for choosing a strategy, scored on recorded cells."""

from collections.abc import Callable, Mapping

import pandas as pd

from tlcourse.advice.advisor import CLOSE, advise
from tlcourse.advice.measurements import Measured
from tlcourse.advice.strategies import QUADRANTS

Rule = Callable[[Measured, pd.DataFrame], str]
RULES: dict[str, Rule] = {
    "advisor": lambda measured, records: advise(measured, records).strategy,
    "always fine-tune": lambda measured, records: "two_phase",
    "always extract": lambda measured, records: "extraction",
    "rule of thumb by size": lambda measured, records: _by_size(measured.images),
    "textbook quadrants": lambda measured, records: QUADRANTS[measured.quadrant],
}


def _by_size(images: int) -> str:
    """Below 1,000 extract, up to 10,000 freeze the early stages, above fine-tune all."""
    return "extraction" if images < 1000 else "hybrid" if images <= 10_000 else "two_phase"


def losses(records: pd.DataFrame, rules: Mapping[str, Rule] = RULES) -> pd.DataFrame:
    """How many points each rule's choice is behind the best strategy, one run at a time.

    A rule is asked about a data set with the records of all *other* data sets at hand.

    Parameters
    ----------
    records : DataFrame
        From ``load_records``.
    rules : mapping
        Names of rules to functions of what was measured and those records.

    Returns
    -------
    DataFrame
        A row for each data set, size and seed, which are its index; a column for each rule.

    Examples
    --------
    >>> from tlcourse.advice.advisor import load_records
    >>> losses(load_records(), {"always extract": RULES["always extract"]}).shape
    (70, 1)
    """
    rows = {}
    for (dataset, per_class, seed), runs in records.groupby(["dataset", "per_class", "seed"]):
        first = runs.iloc[0]
        measured = Measured(
            images=int(per_class * first["classes"]),
            classes=int(first["classes"]),
            per_class=float(per_class),
            distance=first["distance"],
            probe=first["probe"],
            centroid=first["centroid"],
        )
        accuracy = runs.set_index("strategy")["plain"]
        others = records[records["dataset"] != dataset]
        rows[dataset, per_class, seed] = {
            name: 100 * (accuracy.max() - accuracy[rule(measured, others)])
            for name, rule in rules.items()
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis(["dataset", "per_class", "seed"])


def score(records: pd.DataFrame, rules: Mapping[str, Rule] = RULES) -> pd.DataFrame:
    """How good each rule's choices are, over every recorded data set, size and seed.

    Parameters
    ----------
    records, rules
        As in ``losses``.

    Returns
    -------
    DataFrame
        A row for each rule: ``within_one_point`` is the share of settings in which the choice is at
        most a point worse than the best strategy there, ``regret`` how much worse on average,
        ``worst`` at most, in points.

    Examples
    --------
    >>> from tlcourse.advice.advisor import load_records
    >>> rules = {"always extract": RULES["always extract"]}
    >>> list(score(load_records(), rules).columns)
    ['within_one_point', 'regret', 'worst']
    """
    table = losses(records, rules)
    return pd.DataFrame(
        {
            "within_one_point": (table <= 100 * CLOSE + 1e-9).mean(),
            "regret": table.mean(),
            "worst": table.max(),
        }
    )
