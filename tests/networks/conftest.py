"""A network whose weights do not matter."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tlcourse.architectures import create


@pytest.fixture(scope="session")
def zeros() -> Callable[[str], nn.Module]:
    """The network with weights of zero, which NaN passes as well: quicker than drawing them."""

    def zeros(name: str) -> nn.Module:
        with torch.device("meta"):
            network = create(name)
        network.to_empty(device="cpu")
        for tensor in network.state_dict().values():
            tensor.zero_()
        return network

    return zeros
