"""Train and eval mode: borrowed for a moment, or kept for good, module by module."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; every module's own mode is put back, also after an error."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def stay_in_eval(module: nn.Module) -> None:
    """Put one module, without its children, in eval mode for good: ``train()`` leaves it there.

    The override is an attribute of the module, so ``deepcopy``, pickling, DDP and
    ``torch.compile`` keep it, and ``train()`` of any module around it respects it.
    """
    module.training = False
    module.train = partial(_train_children, module)  # type: ignore[method-assign]


def follow_mode(module: nn.Module, training: bool) -> None:
    """Undo ``stay_in_eval``: the module follows ``train()`` again, and is in that mode now."""
    vars(module).pop("train", None)
    module.training = training


def stays_in_eval(module: nn.Module) -> bool:
    """Whether the module keeps its eval mode."""
    return "train" in vars(module)


def _train_children(module: nn.Module, mode: bool = True) -> nn.Module:
    for child in module.children():
        child.train(mode)
    return module
