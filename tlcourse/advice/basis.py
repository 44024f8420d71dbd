"""What advice is made from: what a record lets expect, and of which networks and sizes it is."""

from typing import NamedTuple

import pandas as pd

from tlcourse.advice.expecting import Expectation, fit_expectation
from tlcourse.advice.measurements import Measured
from tlcourse.advice.records import Runs, runs_of


class Basis(NamedTuple):
    """What advice is made from: the record's runs, what they let expect, and where they hold."""

    runs: Runs
    expectation: Expectation
    backbones: tuple[str, ...]
    image_sizes: tuple[int, ...]

    def is_of(self, measured: Measured) -> bool:
        """Whether the record is of a data set's network and image size."""
        return measured.backbone in self.backbones and measured.image_size in self.image_sizes


def basis_of(records: pd.DataFrame) -> Basis:
    """Learn from records, once for any number of data sets; see ``advise``.

    Raises ValueError without records.

    Examples
    --------
    >>> from tlcourse.advice.records import load_records
    >>> basis_of(load_records()).image_sizes
    (128,)
    """
    if records.empty:
        raise ValueError("there are no recorded cells to go by; run a study first")
    runs = runs_of(records)
    backbones, sizes = (sorted(records[name].unique()) for name in ("backbone", "image_size"))
    return Basis(runs, fit_expectation(runs), tuple(backbones), tuple(map(int, sizes)))
