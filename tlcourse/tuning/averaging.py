"""The exponential moving average of a model's weights, as ``fit`` keeps it beside the training."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """A copy that follows the model: decay · average + (1 − decay) · weights, after each step.

    BatchNorm's statistics are averaged with the weights, to which they belong. By torch's default
    averaged weights would meet the statistics of the newest ones.

    Parameters
    ----------
    model : Module
    decay : float
        From 0 (the last weights) to below 1; 1 / (1 − decay) steps are remembered, about.

    Raises
    ------
    ValueError
        For another decay.

    References
    ----------
    Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging; torch's
    ``AveragedModel``.

    Examples
    --------
    >>> import torch
    >>> model = nn.Linear(1, 1)
    >>> average = averaged_copy(model, 0.75)
    >>> for weight in (0.0, 4.0):
    ...     _ = nn.init.constant_(model.weight, weight)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    1.0
    """
    if not 0 <= decay < 1:
        raise ValueError(f"ema_decay is {decay}; expected 0 or more and less than 1, such as 0.98")
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
