"""Rules for choosing an arm: the advisor's, fixed ones, and those of the course's sources."""

from collections.abc import Callable

from tlcourse.advice.basis import Basis
from tlcourse.advice.choosing import choose
from tlcourse.advice.measurements import Measured
from tlcourse.advice.strategies import QUADRANTS

# A rule names an arm for what was measured of a data set, from records of others.
Rule = Callable[[Measured, Basis], str]

# The matrix of the documents that this course was planned from (docs/coverage.md), in the arms that
# the record has: freezing most is extraction, and of "from scratch, or early stages kept and late
# ones anew" the record has both; this is the second.
SOURCES_MATRIX = {
    ("small", "similar"): "extraction",
    ("small", "far"): "extraction",
    ("large", "similar"): "two_phase",
    ("large", "far"): "hybrid",
}


def by_size(images: int) -> str:
    """Below 1,000 images extract, up to 10,000 freeze the early stages, above fine-tune all.

    Examples
    --------
    >>> [by_size(images) for images in (999, 1000, 10_000, 10_001)]
    ['extraction', 'hybrid', 'hybrid', 'two_phase']
    """
    return "extraction" if images < 1000 else "hybrid" if images <= 10_000 else "two_phase"


def best_fixed(basis: Basis) -> str:
    """The arm that gains most on average over the sources, chosen without the one that is asked
    about.

    Examples
    --------
    >>> from tlcourse.advice.basis import basis_of
    >>> from tlcourse.advice.records import load_records
    >>> best_fixed(basis_of(load_records()))
    'gradual'
    """
    return str(basis.expectation.gains.mean.idxmax())


RULES: dict[str, Rule] = {
    "advisor": lambda measured, basis: choose(measured, basis).strategy,
    "best fixed rule": lambda measured, basis: best_fixed(basis),
    "always fine-tune": lambda measured, basis: "one_rate",
    "head first (LP-FT)": lambda measured, basis: "two_phase",
    "always extract": lambda measured, basis: "extraction",
    "the sources' matrix": lambda measured, basis: SOURCES_MATRIX[measured.quadrant],
    "this course's quadrants": lambda measured, basis: QUADRANTS[measured.quadrant],
    "rule by size": lambda measured, basis: by_size(measured.images),
}
