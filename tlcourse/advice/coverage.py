"""Does the interval of the expected accuracy hold what it promises, on sources it never saw?"""

import pandas as pd

from tlcourse.advice.choosing import choose
from tlcourse.advice.records import PLACE
from tlcourse.advice.regret import asked


def interval_coverage(records: pd.DataFrame) -> pd.DataFrame:
    """The interval that would have been told of each run, by the records of all other sources.

    Parameters
    ----------
    records : DataFrame
        From ``load_records``, of three sources or more.

    Returns
    -------
    DataFrame
        A row for each source, data set, size and split: the advised ``arm``, its interval from
        ``low`` to ``high``, the ``level`` that was promised, the recorded ``accuracy``, and
        whether the interval ``holds`` it. The mean of ``holds`` by source is what a claim about
        coverage is about.

    Raises
    ------
    ValueError
        For fewer than three sources: without the one that is asked about there is no interval.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records
    >>> found = interval_coverage(load_records())
    >>> list(found), found["level"].unique()
    (['arm', 'low', 'high', 'level', 'accuracy', 'holds'], array([0.75]))
    """
    if records["source"].nunique() < 3:
        raise ValueError(
            f"the records are of {records['source'].nunique()} sources; an interval takes two, "
            "besides the one that is left out"
        )
    accuracy = records.set_index([*PLACE, "arm"])["plain"]
    rows = {}
    for place, measured, basis in asked(records, PLACE):
        advice = choose(measured, basis)
        low, high = advice.table.loc[advice.strategy, ["low", "high"]]
        truth = accuracy[(*place, advice.strategy)]
        told = {"arm": advice.strategy, "low": low, "high": high, "level": advice.level}
        rows[place] = {**told, "accuracy": truth, "holds": low <= truth <= high}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(PLACE)
