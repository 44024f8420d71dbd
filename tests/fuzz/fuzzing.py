"""How long the fuzzers run: TLCOURSE_FUZZ=10000 python -m pytest tests/fuzz for long.

The short run draws the same examples every time; a long one draws new ones, and what fails it
prints with the decorator that draws it again.
"""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("TLCOURSE_FUZZ", "0"))
fuzz = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
