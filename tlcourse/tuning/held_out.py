"""A test set that can be used once: whoever chooses by it measures the choice, not the model."""

from torch import nn

from tlcourse.shapes import Data
from tlcourse.tuning.training import evaluate


class HeldOut:
    """Inputs and labels that give one accuracy, for one model, once.

    Examples
    --------
    >>> import torch
    >>> test = HeldOut((torch.eye(2), torch.tensor([0, 1])))
    >>> test.accuracy(nn.Identity())
    1.0
    >>> test.used
    True
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.used = False

    def accuracy(self, model: nn.Module) -> float:
        """Accuracy in [0, 1] of the model that was chosen; raises RuntimeError the second time."""
        if self.used:
            raise RuntimeError(
                "this test set has been used: the best of several test results is too good to be "
                "true; choose among models by validation data and test the one you chose"
            )
        self.used = True
        return evaluate(model, self.data).accuracy
