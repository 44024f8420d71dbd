"""Calibration: of the answers given with 80 % confidence, are 80 % right?"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlcourse.diagnosis.samples import check_finite, check_labels
from tlcourse.shapes import Labels, Logits

BINS = 10


def reliability(logits: Logits, labels: Labels, *, bins: int = BINS) -> pd.DataFrame:
    """Mean confidence, accuracy and number of images in equal bins of confidence.

    The index is the bin's number, from 0; empty bins are left out. Raises ValueError for inputs
    that do not fit.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks

    Examples
    --------
    >>> logits = torch.tensor([[0.9, 0.1], [0.4, 0.6]]).log()
    >>> reliability(logits, torch.tensor([0, 0]), bins=2)
       confidence  accuracy  images
    1        0.75       0.5       2
    """
    _check(logits, labels)
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    table = pd.DataFrame(
        {"confidence": confidence.double(), "accuracy": (predicted == labels).double()}
    )
    # (0, 0.1], (0.1, 0.2] …, as in the paper
    which = np.ceil(table["confidence"].to_numpy() * bins).clip(1, bins).astype(int) - 1
    grouped = table.groupby(which)
    return grouped.mean().assign(images=grouped.size())


def calibration_error(logits: Logits, labels: Labels, *, bins: int = BINS) -> float:
    """Expected calibration error in [0, 1]: |accuracy − confidence|, averaged over the images.

    Examples
    --------
    >>> logits = torch.tensor([[0.9, 0.1], [0.4, 0.6]]).log()
    >>> round(calibration_error(logits, torch.tensor([0, 0]), bins=2), 3)
    0.25
    """
    table = reliability(logits, labels, bins=bins)
    gaps = (table["accuracy"] - table["confidence"]).abs()
    return float((gaps * table["images"]).sum() / table["images"].sum())


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature T > 0 whose softmax(logits / T) has the lowest cross-entropy.

    Use validation data. T changes no answer, only the confidence. As in Platt's scaling (1999)
    the target of the true class is 1 − 1/(N + 2) rather than 1: a few images that are all named
    rightly would want T = 0, which is to be sure of everything. Logits that tell no classes apart
    keep T = 1. Raises ValueError for inputs that do not fit.

    References
    ----------
    Guo et al. 2017, On Calibration of Modern Neural Networks

    Examples
    --------
    >>> sure = torch.tensor([[9.0, 0.0], [9.0, 0.0]])  # one right, one wrong
    >>> fit_temperature(sure, torch.tensor([0, 1])) > 9
    True
    """
    _check(logits, labels)
    logits = logits.double() - logits.double().mean(dim=1, keepdim=True)
    scale = logits.abs().max().item()  # searched from there, it is found for logits of any size
    if scale == 0:
        return 1.0
    classes = logits.shape[1]
    # Torch gives the true class 1 − ε (1 − 1/C): the uniform part holds some of it, too.
    smoothing = classes / (classes - 1) / (len(labels) + 2)
    logits = logits / scale
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(logits / log_t.exp(), labels, label_smoothing=smoothing)
        value.backward()
        return value

    optimizer.step(loss)
    return scale * log_t.exp().item()


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2 or not 0 < len(logits) == len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)} and {len(labels)} labels; expected (N, C) with N > 0, "
            "C of 2 or more, and N labels"
        )
    check_labels(labels, logits)
    check_finite("the logits", logits)
