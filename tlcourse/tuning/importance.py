"""Which single weights matter: by their size, or by what the loss would feel (Fisher)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlcourse.modes import evaluating
from tlcourse.runtime import device
from tlcourse.shapes import Data


def magnitude(model: nn.Module) -> dict[str, Tensor]:
    """The absolute value of every element of every trainable parameter, by name.

    Examples
    --------
    >>> sorted(magnitude(nn.Linear(2, 3)))
    ['bias', 'weight']
    """
    return {name: p.detach().abs() for name, p in model.named_parameters() if p.requires_grad}


def fisher(model: nn.Module, data: Data) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information, by name of the trainable parameter.

    It is the mean over examples of the squared gradient of log p(label), in eval mode, one example
    at a time: the square of a batch's gradient would be another thing.

    Parameters
    ----------
    model : Module
    data : pair of tensors
        Inputs and labels, at least one.

    Returns
    -------
    dict
        Tensors of the parameters' shapes, not negative, by name.

    References
    ----------
    Kirkpatrick et al. 2017.

    Examples
    --------
    >>> fisher(nn.Linear(2, 3), (torch.eye(2), torch.tensor([0, 2])))["weight"].shape
    torch.Size([3, 2])
    """
    inputs, labels = data
    model.to(device())
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    squares = {name: torch.zeros_like(p) for name, p in named.items()}
    with evaluating(model):
        for x, y in zip(inputs.split(1), labels.split(1), strict=True):
            gradients = torch.autograd.grad(
                cross_entropy(model(x.to(device())), y.to(device())), list(named.values())
            )
            for square, gradient in zip(squares.values(), gradients, strict=True):
                square += gradient**2 / len(inputs)
    return squares


def most_important(importance: Mapping[str, Tensor], *, share: float) -> dict[str, Tensor]:
    """Masks (bool) of the elements that belong to the most important ``share``, of all together.

    Parameters
    ----------
    importance : mapping
        Tensors by name, as of ``magnitude`` or ``fisher``.
    share : float
        Between 0 and 1; at least one element is chosen. Of equals those that come first.

    Raises
    ------
    ValueError
        Unless 0 < share < 1, and there are elements and none is NaN.

    Examples
    --------
    >>> most_important({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([2.0, 4.0])}, share=0.5)
    {'a': tensor([ True, False]), 'b': tensor([False,  True])}
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; expected more than 0 and less than 1")
    together = torch.cat([values.flatten() for values in importance.values()])
    if not len(together) or together.isnan().any():
        raise ValueError(f"of {len(together)} importances, {together.isnan().sum()} are NaN")
    kept = max(1, round(share * len(together)))
    chosen = torch.zeros_like(together, dtype=torch.bool)
    chosen[together.sort(descending=True, stable=True).indices[:kept]] = True
    parts = chosen.split([values.numel() for values in importance.values()])
    return {
        name: part.view(values.shape)
        for (name, values), part in zip(importance.items(), parts, strict=True)
    }
