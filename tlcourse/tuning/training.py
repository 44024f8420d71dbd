"""The training loop: read ``fit`` and ``_train_epoch``, the rest are their helpers."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tlcourse.modes import evaluating
from tlcourse.networks.depthwise import depthwise_by_parts
from tlcourse.runtime import device, mixed_precision, progress, seed_everything
from tlcourse.shapes import Data, Logits, OtherData
from tlcourse.tuning.averaging import averaged_copy
from tlcourse.tuning.checkpoints import Checkpoint, Row, Run, Thawing
from tlcourse.tuning.data_parallel import distribute, share, total, weight
from tlcourse.tuning.mixing import check_mix, mixed
from tlcourse.tuning.optim import Schedule, cosine
from tlcourse.tuning.unfreezing import check_joinable


class Evaluation(NamedTuple):
    """How well logits fit labels: mean cross-entropy in nats, and accuracy in [0, 1].

    Examples
    --------
    >>> Evaluation(loss=0.5, accuracy=0.9).accuracy
    0.9
    """

    loss: float
    accuracy: float

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better: the higher accuracy, then the lower loss."""
        return self.accuracy, -self.loss


def fit(
    model: nn.Module,
    train: Data,
    validation: OtherData | None,
    optimizer: Optimizer,
    *,
    epochs: int,
    seed: int,
    batch_size: int = 32,
    steps_per_epoch: float | None = None,
    schedule: Schedule = cosine,
    augment: nn.Module | None = None,
    mix: nn.Module | None = None,
    label_smoothing: float = 0.0,
    ema_decay: float | None = None,
    patience: int | None = None,
    unfreezing: Thawing | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Train with cross-entropy and leave the model with the weights that did best on validation.

    Best is the highest accuracy, then the lowest loss; without ``validation`` (None) nothing is
    chosen and the last weights stay. On a GPU it runs in mixed precision; started by torchrun, in
    several processes (see ``joined``). Seeds the global generators.

    Parameters
    ----------
    model : Module
        Trained in place, and left in eval mode.
    train, validation : pair of tensors
        Inputs and labels: uint8 images (N, 3, H, W) for a backbone, or cached features for a part
        of it; labels int64 (N,).
    optimizer : Optimizer
        Holds what shall learn; see ``param_groups``.
    epochs, seed, batch_size : int
        Batches are near-equal, of at most ``batch_size``.
    steps_per_epoch : float, optional
        Makes an epoch so many steps: the nearest whole number of passes over the data or, where one
        pass takes more, a part of them drawn anew in each epoch. By default it is one pass.
    schedule : callable
        Takes the optimiser and the number of all steps; see ``cosine``, ``WarmUp`` and others.
    augment : Module, optional
        Applied to each training image anew.
    mix : Module, optional
        ``torchvision.transforms.v2.MixUp`` or ``CutMix``, applied to each batch of images.
    label_smoothing : float
        The share of each target that all classes divide, in [0, 1]; see ``cross_entropy``.
    ema_decay : float, optional
        Validate and keep the moving average of weights and statistics; see ``averaged_copy``.
    patience : int, optional
        Stop after so many epochs without a better validation result.
    unfreezing : Thawing, optional
        Thaws stages as the epochs go by; see ``GradualUnfreezing``.
    checkpoint : Path, optional
        Every finished epoch is kept in that file; called again, ``fit`` goes on from there and ends
        with the same weights as without the interruption.
    on_epoch : callable, optional
        Gets the history after each epoch.

    Returns
    -------
    DataFrame
        One row an epoch: epoch, lr (the largest of all groups), train_loss, train_accuracy,
        validation_loss and validation_accuracy where there is validation, seconds, and best, which
        is True where the kept weights come from.

    Raises
    ------
    ValueError
        For inputs and labels that do not fit the model, for augmented or mixed features, for shares
        of other classes than the model's, for smoothing and decay out of their ranges, for patience
        without validation, for a checkpoint of another run, for LBFGS, and for schedules that
        groups cannot join, where there is unfreezing.
    FloatingPointError
        When the loss is not finite.

    Examples
    --------
    >>> data = torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
    >>> model = nn.Linear(3, 3)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    >>> history = fit(model, data, data, optimizer, epochs=20, seed=0)
    >>> len(history), evaluate(model, data).accuracy
    (20, 1.0)
    """
    _check_data(model, train, validation, augment, mix)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is {label_smoothing}; expected a share, 0 to 1")
    if patience is not None and validation is None:
        raise ValueError("patience needs validation data: without them nothing can get worse")
    if isinstance(optimizer, LBFGS):
        raise ValueError(
            "LBFGS needs the same loss several times a step, and batches give another each time; "
            "linear_probe solves a head with it, any other optimiser will do here"
        )
    model.to(device()).to(memory_format=torch.channels_last)
    kept = None if checkpoint is None else Checkpoint(
        checkpoint, (*train, *(validation or ())), epochs=epochs, seed=seed, batch_size=batch_size,
        steps_per_epoch=steps_per_epoch, schedule=getattr(schedule, "__name__", repr(schedule)),
        unfreezing=unfreezing and unfreezing.plan, augment=repr(augment), optimizer=repr(optimizer),
        mix=mix and repr(mix), label_smoothing=label_smoothing or None, ema_decay=ema_decay,
    )  # fmt: skip
    seen, num_batches = epoch_length(len(train[0]), batch_size, steps_per_epoch)
    scheduler = schedule(optimizer, epochs * num_batches)
    if unfreezing is not None:
        check_joinable(scheduler)
        for group in optimizer.param_groups:  # what ``extend`` measures the schedule by
            group.setdefault("initial_lr", group["lr"])
    average = None if ema_decay is None else averaged_copy(model, ema_decay)
    run = Run(model, optimizer, scheduler, unfreezing, kept, average)
    for epoch in progress(range(len(run.history), epochs), desc="epochs"):
        if patience is not None and run.epochs_since_best() >= patience:
            break
        started = time.perf_counter()
        if unfreezing is not None:
            unfreezing.start_epoch(epoch, optimizer, scheduler)
        seed_everything(seed + 100_003 * epoch)  # an epoch's numbers depend on nothing before it
        lr = max(group["lr"] for group in optimizer.param_groups)
        row: Row = {"epoch": epoch, "lr": lr}
        with depthwise_by_parts(model):
            row["train_loss"], row["train_accuracy"] = _train_epoch(
                run, train, seen, num_batches, augment, mix, label_smoothing
            )
        if not row["train_loss"] < float("inf"):
            raise FloatingPointError(
                f"the training loss is {row['train_loss']} in epoch {epoch} at learning rate "
                f"{lr:g}; a lower rate or normalised inputs usually cure it"
            )
        if validation is not None:
            row["validation_loss"], row["validation_accuracy"] = evaluate(run.kept, validation)
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(row.get("validation_loss", row["train_loss"]))
        run.finish_epoch({**row, "seconds": time.perf_counter() - started})
        if on_epoch is not None:
            on_epoch(pd.DataFrame(run.history))
    return run.finish()


def _train_epoch(
    run: Run,
    train: Data,
    seen: int,
    num_batches: int,
    augment: nn.Module | None,
    mix: nn.Module | None,
    label_smoothing: float,
) -> Evaluation:
    """Take ``seen`` images in random order, a part of all or each equally often; a step a batch."""
    inputs, labels = train
    losses, hits = 0.0, 0.0
    run.model.train()
    parallel = distribute(run.model)  # anew: what was thawed must be averaged, too
    # Near-equal batches: a last batch of one image would break BatchNorm.
    for batch in torch.randperm(max(seen, len(inputs)))[:seen].tensor_split(num_batches):
        mine = share(batch) % len(inputs)
        x, y = inputs[mine], labels[mine].to(device())
        if augment is not None:
            x = torch.stack([augment(image) for image in x])
        target = y
        if mix is not None:
            x, target = mixed(mix, x.to(device()), y)
            y = target.argmax(dim=1)  # what most of the image shows
        with mixed_precision():
            logits = parallel(x.to(device()))
            loss = cross_entropy(logits, target, label_smoothing=label_smoothing)
        run.optimizer.zero_grad()
        run.scaler.scale(loss * weight(len(mine), len(batch))).backward()
        run.scaler.step(run.optimizer)
        run.scaler.update()
        if not isinstance(run.scheduler, ReduceLROnPlateau):  # that one steps once an epoch
            run.scheduler.step()
        if run.average is not None:
            run.average.update_parameters(run.model)
        losses += loss.item() * len(mine)
        hits += (logits.argmax(dim=1) == y).sum().item()
    losses, hits = total(losses, hits)
    return Evaluation(losses / seen, hits / seen)


def epoch_length(n: int, batch_size: int, steps_per_epoch: float | None) -> tuple[int, int]:
    """How many of n inputs an epoch takes, and its steps; ``fit`` says how they are chosen."""
    batch_size = min(batch_size, n)
    seen = n
    if steps_per_epoch is not None:
        wanted = max(batch_size, round(steps_per_epoch * batch_size))
        seen = wanted if wanted < n else n * round(wanted / n)
    return seen, -(-seen // batch_size)


def predict(model: nn.Module, inputs: Shaped[Tensor, "n ..."], *, batch_size: int = 32) -> Logits:
    """Logits (N, C) on the CPU, in eval mode; the model's mode is put back.

    Examples
    --------
    >>> predict(nn.Linear(4, 3), torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """
    model.to(device())
    with evaluating(model), torch.inference_mode(), mixed_precision():
        logits = [model(batch.to(device())).float().cpu() for batch in inputs.split(batch_size)]
    return torch.cat(logits)


def evaluate(model: nn.Module, data: Data) -> Evaluation:
    """Mean cross-entropy in nats, and accuracy in [0, 1].

    Examples
    --------
    >>> evaluate(nn.Identity(), (torch.eye(3), torch.tensor([0, 1, 0]))).accuracy > 0.6
    True
    """
    inputs, labels = data
    logits = predict(model, inputs)
    accuracy = (logits.argmax(dim=1) == labels).double().mean()
    return Evaluation(cross_entropy(logits, labels).item(), accuracy.item())


def _check_data(
    model: nn.Module,
    train: Data,
    validation: OtherData | None,
    augment: nn.Module | None,
    mix: nn.Module | None,
) -> None:
    """Find what would fail in the middle of training before it starts."""
    splits = {"train": train} if validation is None else {"train": train, "validation": validation}
    for name, (inputs, labels) in splits.items():
        if len(inputs) != len(labels) or len(inputs) == 0:
            raise ValueError(
                f"{name} data: {len(inputs)} inputs and {len(labels)} labels; "
                "expected equal numbers, at least one"
            )
        num_classes = _try(model, inputs).shape[1]
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(
                f"{name} labels run from {labels.min()} to {labels.max()}, but the model has "
                f"{num_classes} classes (0 to {num_classes - 1}); "
                f"make it with num_classes={labels.max() + 1}"
            )
    if not (augment is mix is None) and train[0].dtype != torch.uint8:
        raise ValueError(
            "augmentation changes the images in every epoch, but these inputs are features that "
            "were computed once; train the backbone on uint8 images, or leave out augment and mix"
        )
    if mix is not None:
        check_mix(mix, num_classes)


def _try(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits of one input, or a ValueError that names the shapes."""
    try:
        return predict(model, inputs[:1])
    except RuntimeError as error:
        raise ValueError(
            f"the model cannot take inputs of shape {tuple(inputs.shape)}; "
            "expected images (N, 3, H, W) for a backbone, features (N, feature_size) for a head"
        ) from error
