"""What an audit finds in single layers: modes, statistics, and activations that are not run."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse.diagnosis.faults import Fault, FaultKind
from tlcourse.modes import stays_in_eval
from tlcourse.tuning.data_parallel import without_activation


def layer_faults(model: nn.Module, moved: set[str]) -> Iterator[Fault]:
    """All faults of single layers; ``moved`` are the tensors that a step changed."""
    if drifting := _drifting(model, moved):
        yield Fault(
            FaultKind.STATISTICS_DRIFT,
            drifting,
            "Its weights are frozen, but in train mode every forward pass moves its statistics, "
            "and model.train() undoes an eval() of before. freeze(backbone, …) or "
            'set_policy(model, "frozen") stops them for good; "affine_frozen" says you mean it.',
        )
    if asleep := _asleep(model):
        yield Fault(
            FaultKind.STAYS_IN_EVAL,
            asleep,
            "freeze() switched it to eval mode for good, and the weights around it were thawed by "
            "requires_grad = True alone: dropout and stochastic depth stay off, BatchNorm keeps "
            "its statistics. unfreeze(backbone, only=…) undoes all of it.",
        )
    if silent := without_activation(model):
        yield Fault(
            FaultKind.LOST_ACTIVATION,
            silent,
            "torch's convert_sync_batchnorm drops the activation inside timm's BatchNormAct2d, so "
            "that the logits are wrong. Load the network anew and use synchronise(model).",
        )


def _drifting(model: nn.Module, moved: set[str]) -> list[str]:
    """BatchNorm layers that are frozen but for their statistics."""
    return [
        f"{name}.running_mean"
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and f"{name}.running_mean" in moved
        and not any(p.requires_grad for p in layer.parameters())
        and layer.affine
        and getattr(layer, "policy", None) != "affine_frozen"
    ]


def _asleep(model: nn.Module) -> list[str]:
    """Layers that work in train mode only, kept out of it inside of what learns again."""
    modules = dict(model.named_modules())
    found = []
    for name, layer in modules.items():
        if stays_in_eval(layer) and _has_a_mode(layer):
            around = name
            while around and not _weights(modules[around]):
                around = around.rpartition(".")[0]
            # A policy keeps single layers in eval mode, freeze() also the module around them.
            weights = _weights(modules[around])
            if stays_in_eval(modules[around]) and weights and all(p.requires_grad for p in weights):
                found.append(name)
    return found


def _has_a_mode(layer: nn.Module) -> bool:
    """Whether it does something else in train mode: BatchNorm, dropout, stochastic depth."""
    rates = (getattr(layer, name, None) for name in ("p", "drop_prob", "dropout"))
    return isinstance(layer, _BatchNorm) or any(isinstance(r, float) and 0 < r <= 1 for r in rates)


def _weights(module: nn.Module) -> list[nn.Parameter]:
    """All parameters but those of BatchNorm, which a policy freezes by themselves."""
    return [
        parameter
        for inner in module.modules()
        if not isinstance(inner, _BatchNorm)
        for parameter in inner.parameters(recurse=False)
    ]
