"""One training on several processes: each takes its share of every batch, gradients are averaged.

``torchrun --nproc-per-node 2 -m tlcourse study NAME --cell N`` starts the processes. ``fit`` does
the rest: with one process everything here does nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized

from tlcourse.modes import stays_in_eval
from tlcourse.runtime import device


@contextmanager
def joined() -> Iterator[None]:
    """Join the group of processes that torchrun started; without torchrun there is none.

    Examples
    --------
    >>> with joined():
    ...     processes()
    1
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return not dist.is_initialized() or dist.get_rank() == 0


def distribute(model: nn.Module) -> nn.Module:
    """The model, or one around it that averages gradients over the processes after backward.

    Wrap anew when something was thawed: only what is trainable now is averaged. Raises ValueError
    for BatchNorm that would normalise with this process's share of the batch alone.
    """
    if processes() == 1:
        return model
    alone = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and not isinstance(layer, nn.SyncBatchNorm)
        and not stays_in_eval(layer)
    ]
    if alone:
        raise ValueError(
            f"{alone[0]} and {len(alone) - 1} more BatchNorm layers would see a share of each "
            "batch only; freeze their statistics (set_policy) or, on GPUs, synchronise(model)"
        )
    if silent := without_activation(model):
        raise ValueError(
            f"{silent[0]} and {len(silent) - 1} more synchronised layers hold an activation that "
            "they do not run: torch's convert_sync_batchnorm drops it, and the logits are wrong; "
            "synchronise(model) in its place keeps it"
        )
    ids = [torch.cuda.current_device()] if device().type == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids)


def synchronise(model: nn.Module) -> nn.Module:
    """Make all BatchNorm layers normalise with the batches of all processes together, in place.

    torch's ``SyncBatchNorm.convert_sync_batchnorm`` builds new layers: it loses policies and hooks,
    and the activation inside timm's ``BatchNormAct2d``. Here each layer stays the object it is.

    Parameters
    ----------
    model : Module

    Returns
    -------
    Module
        The same model.

    Raises
    ------
    ValueError
        For a layer whose own forward or parametrization would be lost.

    References
    ----------
    timm's ``convert_sync_batchnorm``, for its own layers.

    Examples
    --------
    >>> type(synchronise(nn.Sequential(nn.BatchNorm2d(3)))[0]).__name__
    'SyncBatchNorm'
    """
    kinds: dict[nn.Module, type[nn.SyncBatchNorm]] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, _BatchNorm) or isinstance(layer, nn.SyncBatchNorm):
            continue
        if type(layer).forward is _BatchNorm.forward and not is_parametrized(layer):
            kinds[layer] = nn.SyncBatchNorm
        elif type(layer) is BatchNormAct2d:
            kinds[layer] = SyncBatchNormAct
        else:
            raise ValueError(
                f"{name} is a {type(layer).__name__} with a forward or a parametrization of its "
                "own, which a synchronised layer would lose; freeze its statistics (set_policy)"
            )
    for layer, kind in kinds.items():
        layer.__class__ = kind
        vars(layer)["process_group"] = None  # all of them
    return model


def without_activation(model: nn.Module) -> list[str]:
    """Names of synchronised layers that hold layers which their forward does not run."""
    return [
        name
        for name, layer in model.named_modules()
        if type(layer) is nn.SyncBatchNorm
        and any(not isinstance(child, nn.Identity) for child in layer.children())
    ]


def share(batch: Tensor) -> Tensor:
    """The part of a batch's indices (B,) that this process takes; ValueError if one gets none."""
    if processes() == 1:
        return batch
    if len(batch) < processes():
        raise ValueError(
            f"a batch of {len(batch)} cannot be shared by {processes()} processes; "
            "use larger batches or fewer processes"
        )
    return batch.tensor_split(processes())[dist.get_rank()]


def weight(mine: int, batch: int) -> float:
    """What to scale a mean over ``mine`` images with, so that the average over the processes is the
    mean over the whole ``batch``; 1 for one process."""
    return mine * processes() / batch


def total(*values: float) -> list[float]:
    """Each value summed over the processes."""
    if processes() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=device())
    dist.all_reduce(sums)
    return sums.tolist()
