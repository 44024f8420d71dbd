"""Maximum mean discrepancy: how far two samples of features are apart (Gretton et al. 2012)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.diagnosis.samples import check_samples

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def mmd(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], *, scales: Sequence[float] = SCALES
) -> Float[Tensor, ""]:
    """The unbiased estimate of MMD² between two samples, which may fall below 0.

    Its expectation is 0 where both come from one distribution, because an example is never compared
    with itself. It is a tensor, so that it can be a loss.

    Parameters
    ----------
    x, y
        Features (N, D) and (M, D), two examples or more of each.
    scales
        The kernel is a mean of Gaussians whose bandwidths are these times the median distance in x
        and y together: one fixed bandwidth sees only differences of its own size.

    Raises
    ------
    ValueError
        For fewer than two examples, other lengths, numbers that are not finite, and scales that are
        not positive.

    References
    ----------
    Gretton et al. 2012, A Kernel Two-Sample Test

    Examples
    --------
    >>> x, y = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0))
    >>> mmd(x, y).item() < 0.1 < mmd(x, y + 3).item()
    True
    """
    check_samples(x, y)
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales are {tuple(scales)}; expected positive numbers")
    together = torch.cat([x, y])
    squares = torch.cdist(together, together) ** 2
    apart = squares.detach()[torch.triu(torch.ones_like(squares), 1) > 0]
    # Where most examples are the same, their median distance is 0; where all are, any will do.
    bandwidth = next(
        (b for b in (apart.median(), apart.mean()) if b > 0), torch.ones_like(apart[0])
    )
    kernels = [torch.exp(-squares / (2 * scale**2 * bandwidth)) for scale in scales]
    kernel = sum(kernels, torch.zeros_like(squares)) / len(scales)
    n, m = len(x), len(y)
    within_x = (kernel[:n, :n].sum() - n) / (n * (n - 1))  # the diagonal is 1
    within_y = (kernel[n:, n:].sum() - m) / (m * (m - 1))
    return within_x + within_y - 2 * kernel[:n, n:].mean()
