"""A test set is used once."""

import pytest
import torch
from torch import nn

from tlcourse.tuning.held_out import HeldOut


def test_the_second_use_is_an_error():
    test = HeldOut((torch.eye(3), torch.tensor([0, 1, 1])))
    model = nn.Linear(3, 3, bias=False)
    nn.init.eye_(model.weight)
    assert not test.used
    assert test.accuracy(model) == pytest.approx(2 / 3)
    with pytest.raises(RuntimeError, match="choose among models by validation data"):
        test.accuracy(model)
