"""Train and eval mode: borrowed for a moment, or kept for good, module by module."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

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

    Statistics that it keeps stand still then, also where torch's ``update_bn`` would reset them.
    The overrides are attributes of the module, so ``deepcopy``, pickling, DDP and
    ``torch.compile`` keep them, and ``train()`` of any module around it respects them.
    """
    module.training = False
    if not stays_in_eval(module):
        own = vars(module).get("train", partial(type(module).train, module))
        vars(module)["train"] = partial(_train_but_itself, module, own)
    if hasattr(module, "reset_running_stats"):
        vars(module)["reset_running_stats"] = _keep_statistics


def follow_mode(module: nn.Module, training: bool) -> None:
    """Undo ``stay_in_eval``: the module follows ``train()`` again, and is in that mode now."""
    if stays_in_eval(module):
        own = vars(module).pop("train").args[1]
        if getattr(own, "func", None) is not type(module).train:  # a user's own, of this object
            vars(module)["train"] = own
    if vars(module).get("reset_running_stats") is _keep_statistics:
        del vars(module)["reset_running_stats"]
    module.training = training


def stays_in_eval(module: nn.Module) -> bool:
    """Whether the module keeps its eval mode."""
    return getattr(vars(module).get("train"), "func", None) is _train_but_itself


def _train_but_itself(module: nn.Module, train: Callable[[bool], Any], mode: bool = True) -> Any:
    """What the module's own ``train`` does, but for the mode of the module itself."""
    result = train(mode)
    module.training = False
    return result


def _keep_statistics() -> None:
    """In place of ``reset_running_stats``."""
