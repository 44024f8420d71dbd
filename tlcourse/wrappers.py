"""What torch puts around a model: the model inside is the one with names."""

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``.

    Examples
    --------
    >>> unwrapped(DataParallel(nn.ReLU()))
    ReLU()
    """
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:  # as torch.compile names it
            model = model.get_submodule("_orig_mod")
        else:
            return model
