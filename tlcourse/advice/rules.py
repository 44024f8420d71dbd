"""Rules for choosing an arm: the advisor's, fixed ones, and those of the course's sources."""

from collections.abc import Callable

from tlcourse.advice.basis import Basis
from tlcourse.advice.choosing import choose
from tlcourse.advice.measurements import Measured
from tlcourse.advice.records import STAGE_PROBE

# A rule names an arm for what was measured of a data set, from records of others.
Rule = Callable[[Measured, Basis], str]

# Two matrices of data size and domain, in the arms that the record has. The first is that of the
# documents that this course was planned from (docs/coverage.md), where freezing most is a probe;
# of "from scratch, or early stages kept and late ones anew" the record has the first at all sizes.
# The second is that of the notes of CS231n.
SOURCES_MATRIX = {
    ("small", "similar"): "probe",
    ("small", "far"): "probe",
    ("large", "similar"): "head_first",
    ("large", "far"): "scratch",
}
CS231N_MATRIX = {
    ("small", "similar"): "probe",
    ("small", "far"): STAGE_PROBE,
    ("large", "similar"): "one_rate",
    ("large", "far"): "one_rate",
}


def by_size(images: int) -> str:
    """Below 1,000 images extract, up to 10,000 freeze the early stages, above fine-tune all.

    Examples
    --------
    >>> [by_size(images) for images in (999, 1000, 10_000, 10_001)]
    ['probe', 'to_stage3', 'to_stage3', 'one_rate']
    """
    return "probe" if images < 1000 else "to_stage3" if images <= 10_000 else "one_rate"


def best_fixed(basis: Basis) -> str:
    """The arm that gains most on average over the sources, chosen without the one that is asked
    about.

    Examples
    --------
    >>> from tlcourse.advice.basis import basis_of
    >>> from tlcourse.advice.records import ADVISED, load_records
    >>> best_fixed(basis_of(load_records())) in ADVISED
    True
    """
    return str(basis.expectation.gains.mean.idxmax())


RULES: dict[str, Rule] = {
    "advisor": lambda measured, basis: choose(measured, basis).strategy,
    "best fixed rule": lambda measured, basis: best_fixed(basis),
    "always fine-tune": lambda measured, basis: "one_rate",
    "head first (LP-FT)": lambda measured, basis: "head_first",
    "always extract": lambda measured, basis: "probe",
    "the sources' matrix": lambda measured, basis: SOURCES_MATRIX[measured.quadrant],
    "CS231n's matrix": lambda measured, basis: CS231N_MATRIX[measured.quadrant],
    "rule by size": lambda measured, basis: by_size(measured.images),
}
