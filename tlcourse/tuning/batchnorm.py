"""BatchNorm in transfer: what of it learns, what adapts, and how far its statistics are off.

A BatchNorm layer has two kinds of memory. γ and β are parameters: the optimiser moves them. The
running mean and variance are *statistics*: every forward pass in train mode moves them, gradient or
not. A policy says what may move:

=================  ========  ==========  ====================================================
policy             γ and β   statistics  normalises with
=================  ========  ==========  ====================================================
train              learn     adapt       the batch in training, the statistics in evaluation
affine_frozen      frozen    adapt       the same
statistics_only    learn     frozen      the statistics, always
frozen             frozen    frozen      the statistics, always
=================  ========  ==========  ====================================================

GroupNorm and LayerNorm normalise each image by itself. They keep no statistics, so there is nothing
to adapt or to drift, in any mode and for any batch size; their γ and β freeze like other weights,
``freeze(backbone, layers=nn.LayerNorm)``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Unpack, get_args

import pandas as pd
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse.modes import evaluating, follow_mode, stay_in_eval, stays_in_eval
from tlcourse.networks.selection import Part, select
from tlcourse.networks.submodules import contents
from tlcourse.runtime import device
from tlcourse.wrappers import unwrapped

Policy = Literal["train", "affine_frozen", "statistics_only", "frozen"]


def set_policy(model: nn.Module, policy: Policy, **part: Unpack[Part]) -> None:
    """Give BatchNorm layers (1d, 2d, 3d, synchronised) a policy, whatever they had before.

    ``model.train()``, ``deepcopy``, DDP, ``torch.compile`` and ``synchronise`` keep the policy;
    torch's ``convert_sync_batchnorm`` builds new layers, without it.

    Parameters
    ----------
    model : Module
    policy : str
        train, affine_frozen, statistics_only or frozen: see the table above.
    **part
        ``up_to``, ``only`` or ``except_`` choose among the stages and blocks of a backbone, or the
        submodules of any model (see ``select``); without any, all layers get the policy.

    Raises
    ------
    ValueError
        For an unknown policy, a model without BatchNorm and layers that keep no statistics.

    Examples
    --------
    >>> from tlcourse.networks.backbones import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> set_policy(backbone, "frozen", up_to="stage1")
    >>> policies(backbone)["stage1.0.norm1"], policies(backbone)["stage2.0.norm1"]
    ('frozen', 'train')
    """
    if policy not in get_args(Policy):
        raise ValueError(f"no policy {policy!r}; policies are {', '.join(get_args(Policy))}")
    model = unwrapped(model)
    layers = set(batchnorm_layers(model).values())
    if any(choice is not None for choice in part.values()):
        chosen = select(model, **part)
        layers &= {layer for name in chosen for layer in contents(model, name)[0]}
        if not layers:
            raise ValueError(f"there is no BatchNorm in {', '.join(chosen)}")
    for layer in layers:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad = policy in ("train", "statistics_only")
            parameter.grad = None
        if policy in ("frozen", "statistics_only"):
            stay_in_eval(layer)
        else:
            follow_mode(layer, model.training)
        vars(layer)["policy"] = policy  # what is meant, where γ and β do not tell


def policies(model: nn.Module) -> dict[str, Policy]:
    """The policy of every BatchNorm layer, by name, read off what may move.

    Examples
    --------
    >>> policies(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    {'1': 'train'}
    """
    return {name: _policy(layer) for name, layer in batchnorm_layers(model).items()}


def _policy(layer: _BatchNorm) -> Policy:
    learns, stays = any(p.requires_grad for p in layer.parameters()), stays_in_eval(layer)
    possible: dict[tuple[bool, bool], Policy] = {
        (True, False): "train",
        (False, False): "affine_frozen",
        (True, True): "statistics_only",
        (False, True): "frozen",
    }
    if layer.affine:
        return possible[learns, stays]
    meant: Policy | None = getattr(layer, "policy", None)  # there is no γ that would tell
    fits = meant in (possible[True, stays], possible[False, stays])
    return meant if meant is not None and fits else possible[not stays, stays]


def has_batchnorm(model: nn.Module) -> bool:
    """Whether a model has any BatchNorm layer."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def batchnorm_layers(model: nn.Module) -> dict[str, _BatchNorm]:
    """All BatchNorm layers by name; raises ValueError that explains when there is none."""
    model = unwrapped(model)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    if not layers:
        others = sorted({type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__})
        explanation = (
            f", only {', '.join(others)}: they normalise each image by itself and keep no "
            "statistics, so there is no policy to set; freeze(…, layers=…) freezes their weights"
        )
        raise ValueError("this model has no BatchNorm" + (explanation if others else ""))
    without = [name for name, layer in layers.items() if layer.running_mean is None]
    if without:
        raise ValueError(
            f"{without[0]} keeps no running statistics (track_running_stats=False): it normalises "
            "with the batch even in eval mode, so its output for an image depends on the others"
        )
    return layers


def re_estimate(model: nn.Module, images: Shaped[Tensor, "n ..."], *, batch_size: int = 32) -> None:
    """Replace the statistics of all BatchNorm layers by those of ``images``, without labels.

    Each becomes the plain average over the batches of one pass, in which every layer normalises
    with its batch, as in training (torch's ``swa_utils.update_bn``); also where a policy freezes
    the statistics: you asked for it. Dropout stays off, weights and modes stay as they were.

    Parameters
    ----------
    model : Module
    images : Tensor (N, …)
        What the model takes; two or more.
    batch_size : int

    Raises
    ------
    ValueError
        For fewer than two images.

    Examples
    --------
    >>> model = nn.Sequential(nn.BatchNorm1d(2))
    >>> re_estimate(model, torch.full((4, 2), 7.0))
    >>> model[0].running_mean
    tensor([7., 7.])
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images give no variance; expected 2 or more")
    layers = batchnorm_layers(model)
    model.to(device())
    kept = {layer: (layer.momentum, layer.training) for layer in layers.values()}
    with evaluating(model), torch.no_grad():
        for layer in kept:
            type(layer).reset_running_stats(layer)  # frozen or not
            layer.momentum, layer.training = None, True  # None: a plain average
        try:
            # Near-equal batches: a last batch of one image would have no variance.
            for batch in images.tensor_split(-(-len(images) // batch_size)):
                model(batch.to(device()))
        finally:
            for layer, (momentum, training) in kept.items():
                layer.momentum, layer.training = momentum, training


def input_statistics(
    model: nn.Module, images: Shaped[Tensor, "n ..."], *, batch_size: int = 32
) -> dict[str, tuple[Float[Tensor, " c"], Float[Tensor, " c"]]]:
    """Mean and variance (C,) of what enters each BatchNorm layer, by name, in eval mode.

    They are exact over all images and places, with the network as it is: what the frozen
    statistics should be if these were the images it was trained on.
    """
    layers = batchnorm_layers(model.to(device()))
    sums: dict[str, list[Tensor]] = {name: [] for name in layers}

    def watch(name: str, x: Tensor) -> None:
        x = x.double().transpose(0, 1).flatten(1)  # (C, everything else)
        count = torch.full((len(x),), float(x.shape[1]), dtype=x.dtype, device=x.device)
        sums[name].append(torch.stack([count, x.sum(1), (x**2).sum(1)]))

    with _watching(layers, watch), evaluating(model), torch.no_grad():
        for batch in images.split(batch_size):
            model(batch.to(device()))
    statistics = {}
    for name, parts in sums.items():
        count, total, squares = torch.stack(parts).sum(0)
        mean = total / count
        statistics[name] = mean.float(), (squares / count - mean**2).clamp(min=0).float()
    return statistics


def statistics_distance(
    model: nn.Module, images: Shaped[Tensor, "n ..."], *, batch_size: int = 32
) -> pd.DataFrame:
    """How far ``images`` are from the data behind the running statistics, one row a layer.

    Parameters
    ----------
    model : Module
    images : Tensor (N, …)
        What the model takes.
    batch_size : int

    Returns
    -------
    DataFrame
        ``mean_shift`` is the mean over channels of |μ − running mean| in running standard
        deviations, ``std_ratio`` the geometric mean of σ over the running one, ``kl`` the mean
        divergence of the normal distribution of the images from the stored one, in nats. Without
        shift: 0, 1 and 0.

    Examples
    --------
    >>> model = nn.Sequential(nn.BatchNorm1d(2))  # new: mean 0, variance 1
    >>> statistics_distance(model, torch.tensor([[1.0, 1.0], [3.0, 3.0]])).round(2)
       mean_shift  std_ratio   kl
    0         2.0        1.0  2.0
    """
    rows = {}
    found = input_statistics(model, images, batch_size=batch_size)
    for name, layer in batchnorm_layers(model).items():
        assert layer.running_mean is not None and layer.running_var is not None  # batchnorm_layers
        mean, variance = (t + e for t, e in zip(found[name], (0, layer.eps), strict=True))
        shift = (mean - layer.running_mean) ** 2 / (layer.running_var + layer.eps)
        ratio = variance / (layer.running_var + layer.eps)
        rows[name] = {
            "mean_shift": shift.sqrt().mean().item(),
            "std_ratio": (ratio.log().mean() / 2).exp().item(),
            "kl": ((ratio + shift - 1 - ratio.log()) / 2).mean().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


@contextmanager
def _watching(
    layers: dict[str, _BatchNorm], watch: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Calls ``watch(name, input)`` before each of the layers runs."""
    handles = [
        layer.register_forward_pre_hook(lambda _, args, name=name: watch(name, args[0]))
        for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
