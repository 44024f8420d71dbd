"""What the chapters are written with: claims, exercises, figures, and the run of the course."""

from tlcourse.book.answers import check_answer
from tlcourse.book.claims import claim, claims_family, recorded
from tlcourse.book.diagrams import (
    encoder_block,
    head_shapes,
    residual_blocks,
    squeeze_excitation_block,
)
from tlcourse.book.exercises import check
from tlcourse.book.expectations import (
    Expectation,
    at_least,
    at_most,
    between,
    close_to,
    equals,
    greater_than,
)
from tlcourse.book.facts import exact, guard
from tlcourse.book.plotting import (
    MARKERS,
    PALETTE,
    LiveFigure,
    Picture,
    image_grid,
    learning_curves,
    means_over,
    named_points,
    runs_and_means,
    runs_over,
    show,
    stage_shares,
)
from tlcourse.book.register import ClaimFailed, start_chapter
from tlcourse.book.statements import Statement

__all__ = [
    "ClaimFailed",
    "Expectation",
    "LiveFigure",
    "MARKERS",
    "PALETTE",
    "Picture",
    "Statement",
    "at_least",
    "at_most",
    "between",
    "check",
    "check_answer",
    "claim",
    "claims_family",
    "close_to",
    "encoder_block",
    "equals",
    "exact",
    "greater_than",
    "guard",
    "head_shapes",
    "image_grid",
    "learning_curves",
    "means_over",
    "named_points",
    "recorded",
    "residual_blocks",
    "runs_and_means",
    "runs_over",
    "show",
    "squeeze_excitation_block",
    "stage_shares",
    "start_chapter",
]
