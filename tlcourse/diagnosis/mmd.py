"""Maximum mean discrepancy: how far two samples of features are apart (Gretton et al. 2012)."""

from collections.abc import Sequence

import torch
from torch import Tensor

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def mmd(x: Tensor, y: Tensor, *, scales: Sequence[float] = SCALES) -> Tensor:
    """The unbiased estimate of MMD² between x (N, D) and y (M, D), which may fall below 0.

    Its expectation is 0 where both come from one distribution, because an example is never compared
    with itself. The kernel is a mean of Gaussians whose bandwidths are ``scales`` times the median
    distance in x and y together: one fixed bandwidth sees only differences of its own size. Raises
    ValueError for fewer than two examples, other lengths, and scales that are not positive.
    """
    if min(len(x), len(y)) < 2 or x.shape[1:] != y.shape[1:] or x.ndim != 2:
        raise ValueError(
            f"features of shape {tuple(x.shape)} and {tuple(y.shape)}; "
            "expected (N, D) and (M, D) with N and M of 2 or more"
        )
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales are {tuple(scales)}; expected positive numbers")
    together = torch.cat([x, y])
    squares = torch.cdist(together, together) ** 2
    median = squares.detach()[torch.triu(torch.ones_like(squares), 1) > 0].median()
    kernel = sum(torch.exp(-squares / (2 * scale**2 * median)) for scale in scales) / len(scales)
    n, m = len(x), len(y)
    within_x = (kernel[:n, :n].sum() - n) / (n * (n - 1))  # the diagonal is 1
    within_y = (kernel[n:, n:].sum() - m) / (m * (m - 1))
    return within_x + within_y - 2 * kernel[:n, n:].mean()
