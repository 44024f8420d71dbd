"""The size of a study: which differences so many splits could see, by the spread in its pilot."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlcourse.evidence import detectable_effect
from tlcourse.evidence.power import ALPHA
from tlcourse.studies.findings import Finding

SPLITS = (3, 5, 6, 8, 10)


def detectable_by_splits(
    pilot: Sequence[Finding], *, family: int = 1, splits: Sequence[int] = SPLITS
) -> pd.DataFrame:
    """The difference that each comparison of a pilot would find with a probability of 80 %.

    A pilot of three splits knows a spread badly, to a factor of two or more, so beside each
    comparison stands their root mean square, which has the degrees of freedom of all.

    Parameters
    ----------
    pilot
        Findings, each alone or after Holm.
    family
        Comparisons that the study decides together.
    splits
        Numbers of splits, three or more each.

    Returns
    -------
    DataFrame
        A row for each finding and one for ``all``; columns ``sd`` and ``overlap`` (what splits
        share, as measured over test images or as declared), then one for each number of splits.

    Raises
    ------
    ValueError
        For a pilot without a finding that has an interval.

    References
    ----------
    Cohen (1988), Statistical Power Analysis, chapter 2; Browne (1995), On the use of a pilot sample
    for sample size determination, Statistics in Medicine 14.

    Examples
    --------
    >>> from tlcourse.studies import STUDIES, findings
    >>> table = detectable_by_splits(findings(STUDIES["frozen_features"]), splits=(5, 10))
    >>> bool(table.loc["all", 5] > table.loc["all", 10])
    True
    """
    known = [finding for finding in pilot if not math.isnan(finding.effect.low)]
    if not known:
        raise ValueError("the pilot has no comparison of three splits or more that differ")
    spreads = {finding.id: (finding.effect.sd, finding.effect.overlap) for finding in known}
    sds, overlaps = np.array(list(spreads.values())).T
    spreads["all"] = (float(np.sqrt((sds**2).mean())), float(overlaps.mean()))
    return pd.DataFrame.from_dict(
        {
            name: {
                "sd": sd,
                "overlap": overlap,
                **{
                    k: detectable_effect(sd, k, overlap=overlap, alpha=ALPHA / family)
                    for k in splits
                },
            }
            for name, (sd, overlap) in spreads.items()
        },
        orient="index",
    )
