"""Spot checks: does this machine give a record's numbers, and do they fall where it says?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from tlcourse.advice.sweeps import Settings
from tlcourse.errors import StudyError
from tlcourse.studies.study import Study, read_study
from tlcourse.suggestions import did_you_mean

LEVEL = 0.99  # of the interval for one more run: one honest cell in a hundred lies outside
TOLERANCE = 0.02  # eight of 400 test images


def spot_check(
    study: Study,
    count: int,
    seed: int = 0,
    *,
    measure: str = "plain",
    where: Mapping[str, tuple[Any, ...]] | None = None,
    tolerance: float = TOLERANCE,
) -> pd.DataFrame:
    """Run some recorded cells again and compare.

    A cell *holds* when its value now is within ``tolerance`` of the recorded one and, give or take
    that, inside the interval in which one more run of its arm and setting falls with 99 % by the
    record (Student's t over its splits or seeds). The first finds a number that was changed or
    that this machine does not give, the second one that is not like its neighbours.

    Parameters
    ----------
    study : Study
        With a record.
    count : int
        Cells to draw, at least 1.
    seed : int
        Of the draw. The same cells come in the study's order, as neighbours may share work.
    measure : str
        The result that is compared.
    where : mapping of str to tuple, optional
        Draws only from cells whose settings have these values: the cheap ones, say.
    tolerance : float
        In the measure's unit. On the machine and with the versions of the record the values are
        equal: all draws are seeded, on one thread. On others sums differ in their last digits. A
        classifier on frozen features then names at most a few borderline images otherwise, for
        which the default leaves room; training multiplies such differences, so networks that were
        trained need more, up to the spread over seeds.

    Returns
    -------
    DataFrame
        A row for each cell: its settings, ``recorded``, ``now``, ``difference``, ``low`` and
        ``high`` of the interval (NaN below three runs), ``holds``.

    Raises
    ------
    FileNotFoundError
        When nothing has been recorded.
    StudyError
        For a column that is not there, and when fewer cells are recorded than asked for.

    References
    ----------
    The interval for one more value: Hahn & Meeker 1991, Statistical Intervals, section 4.3.

    Examples
    --------
    >>> from tlcourse.studies import STUDIES
    >>> where = {"dataset": ("cutouts",), "arm": ("pixels",), "image_size": (128,)}
    >>> table = spot_check(STUDIES["frozen_features"], 1, 0, where=where)
    >>> bool(table["holds"].all())
    True
    """
    record = read_study(study)
    settings = list(study.cells[0])
    _check_columns(study, record, (measure, *(where or {})))
    candidates = matching(record.dropna(subset=[measure]), where)
    if not 1 <= count <= len(candidates):
        raise StudyError(f"{count} cells were asked for; the record has {len(candidates)} of them")
    drawn = np.sort(np.random.default_rng(seed).choice(len(candidates), count, replace=False))
    rows = []
    for position in drawn:
        cell = candidates.iloc[position]
        now = float(study.run(**_settings(study, cell))[measure])
        group = (record[settings] == cell[settings]).drop(columns=study.over).all(axis=1)
        low, high = one_more(record.loc[group, measure].dropna().to_numpy())
        outside = max(low - now, now - high) > tolerance  # false where there is no interval
        difference = now - cell[measure]
        rows.append(
            {
                **cell[settings].to_dict(),
                "recorded": cell[measure],
                "now": now,
                "difference": difference,
                "low": low,
                "high": high,
                "holds": bool(abs(difference) <= tolerance and not outside),
            }
        )
    return pd.DataFrame(rows)


def one_more(values: np.ndarray) -> tuple[float, float]:
    """The interval in which one more run falls with 99 %; NaN below three runs.

    Examples
    --------
    >>> low, high = one_more(np.array([0.79, 0.80, 0.81]))
    >>> round(low, 3), round(high, 3)
    (0.685, 0.915)
    """
    k = len(values)
    if k < 3:
        return float("nan"), float("nan")
    margin = scipy.stats.t.ppf((1 + LEVEL) / 2, k - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / k)
    return float(values.mean() - margin), float(values.mean() + margin)


def matching(table: pd.DataFrame, where: Mapping[str, tuple[Any, ...]] | None) -> pd.DataFrame:
    """The rows whose columns have one of the values that are asked for.

    Examples
    --------
    >>> table = pd.DataFrame({"arm": ["knn", "hog"], "plain": [0.7, 0.6]})
    >>> matching(table, {"arm": ("hog",)})["plain"].tolist()
    [0.6]
    """
    for column, values in (where or {}).items():
        table = table[table[column].isin(values)]
    return table


def _check_columns(study: Study, record: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for column in columns:
        if column not in record:
            raise StudyError(
                f"{study.name} has no column {column!r}; there are {', '.join(record.columns)}"
                f"{did_you_mean(column, record.columns)}"
            )


def _settings(study: Study, cell: pd.Series) -> Settings:
    """A cell's settings in the study's own types: pandas' numbers are not Python's."""
    wanted = {name: cell[name] for name in study.cells[0]}
    return next(c for c in study.cells if all(c[name] == wanted[name] for name in wanted))
