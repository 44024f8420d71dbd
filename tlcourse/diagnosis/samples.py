"""What every measure asks of the numbers that it is given."""

import torch
from torch import Tensor


def check_finite(name: str, values: Tensor) -> None:
    """ValueError that counts what is NaN or infinite."""
    finite = torch.isfinite(values)
    if not finite.all():
        raise ValueError(
            f"{name} are not finite: {(~finite).sum().item()} of {values.numel()} numbers are NaN "
            "or infinite"
        )


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Raise ValueError for a label that is none of the logits' classes."""
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()} do not fit logits of {logits.shape[1]} "
            "classes"
        )


def check_samples(x: Tensor, y: Tensor) -> None:
    """ValueError unless both are features (N, D) and (M, D), N and M of 2 or more, and finite."""
    if min(len(x), len(y)) < 2 or x.ndim != 2 or x.shape[1:] != y.shape[1:] or x.shape[1] == 0:
        raise ValueError(
            f"features of shape {tuple(x.shape)} and {tuple(y.shape)}; "
            "expected (N, D) and (M, D) with D > 0, and N and M of 2 or more"
        )
    check_finite("the features", torch.cat([x, y]))
