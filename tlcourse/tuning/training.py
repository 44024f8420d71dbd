"""The training loop: read ``fit`` from top to bottom, the rest are its helpers."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from tlcourse.files import replacing
from tlcourse.hashing import hash_tensors
from tlcourse.modes import evaluating
from tlcourse.runtime import device, mixed_precision, progress, seed_everything
from tlcourse.shapes import Data
from tlcourse.tuning.data_parallel import distribute, is_first, share, total, weight
from tlcourse.tuning.optim import Schedule, cosine
from tlcourse.tuning.unfreezing import GradualUnfreezing


def fit(
    model: nn.Module,
    train: Data,
    validation: Data | None,
    optimizer: Optimizer,
    *,
    epochs: int,
    seed: int,
    batch_size: int = 32,
    schedule: Schedule = cosine,
    augment: nn.Module | None = None,
    patience: int | None = None,
    unfreezing: GradualUnfreezing | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Train with cross-entropy and leave the model with the weights that did best on validation.

    Best is the highest accuracy, then the lowest loss; without ``validation`` (None) nothing is
    chosen and the last weights stay.

    ``train`` and ``validation`` are (inputs, labels): uint8 images (N, 3, H, W) for a backbone, or
    cached features for a part of it; labels int64 (N,). ``augment`` is applied to each training
    image anew. ``unfreezing`` thaws stages as the epochs go by. Training stops early after
    ``patience`` epochs without a better validation result. With a ``checkpoint`` every finished
    epoch is kept in that file; called again, ``fit`` goes on from there and ends with the same
    weights as without the interruption. ``on_epoch`` gets the history after each epoch. On a GPU
    it runs in mixed precision; started by torchrun, in several processes (see ``data_parallel``).
    Seeds the global generators.

    Returns one row an epoch: epoch, lr (the largest of all groups), train_loss, train_accuracy,
    validation_loss and validation_accuracy where there is validation, seconds, and best, which is
    True where the kept weights come from. Raises ValueError for inputs and labels that do not fit
    the model, for augmentation of cached features, for patience without validation and for a
    checkpoint of another run; FloatingPointError when the loss is not finite.
    """
    _check_data(model, train, validation, augment)
    if patience is not None and validation is None:
        raise ValueError("patience needs validation data: without them nothing can get worse")
    inputs, labels = train
    model.to(device(), memory_format=torch.channels_last)
    num_batches = -(-len(inputs) // batch_size)
    settings = (
        {}
        if checkpoint is None
        else {  # hashing the data takes time: only if it is kept
            "epochs": epochs,
            "seed": seed,
            "batch_size": batch_size,
            "schedule": getattr(schedule, "__name__", repr(schedule)),
            "unfreezing": None if unfreezing is None else unfreezing.plan,
            "augment": repr(augment),
            "optimizer": repr(optimizer),
            "data": hash_tensors(dict(enumerate((*train, *(validation or ()))))),
        }
    )
    scheduler = schedule(optimizer, epochs * num_batches)
    by_loss = isinstance(scheduler, ReduceLROnPlateau)  # it steps once an epoch
    run = _Run(model, optimizer, scheduler, unfreezing, settings)
    run.resume(checkpoint)

    for epoch in progress(range(len(run.history), epochs), desc="epochs"):
        if patience is not None and run.epochs_since_best() >= patience:
            break
        started = time.perf_counter()
        if unfreezing is not None:
            unfreezing.start_epoch(epoch, optimizer, scheduler)
        seed_everything(seed + 100_003 * epoch)  # an epoch's numbers depend on nothing before it
        lr = max(group["lr"] for group in optimizer.param_groups)
        losses, hits = 0.0, 0.0
        model.train()
        parallel = distribute(model)  # anew: what was thawed must be averaged, too
        # Near-equal batches: a last batch of one image would break BatchNorm.
        for batch in torch.randperm(len(inputs)).tensor_split(num_batches):
            mine = share(batch)
            x, y = inputs[mine], labels[mine].to(device())
            if augment is not None:
                x = torch.stack([augment(image) for image in x])
            with mixed_precision():
                logits = parallel(x.to(device()))
                loss = cross_entropy(logits, y)
            optimizer.zero_grad()
            run.scaler.scale(loss * weight(len(mine), len(batch))).backward()
            run.scaler.step(optimizer)
            run.scaler.update()
            if not by_loss:
                scheduler.step()
            losses += loss.item() * len(mine)
            hits += (logits.argmax(dim=1) == y).sum().item()
        losses, hits = total(losses, hits)
        if not losses < float("inf"):
            raise FloatingPointError(
                f"the training loss is {losses} in epoch {epoch} at learning rate {lr:g}; "
                "a lower rate or normalised inputs usually cure it"
            )
        row = {
            "epoch": epoch,
            "lr": lr,
            "train_loss": losses / len(inputs),
            "train_accuracy": hits / len(inputs),
        }
        if validation is not None:
            row["validation_loss"], row["validation_accuracy"] = evaluate(model, *validation)
        if by_loss:
            scheduler.step(row.get("validation_loss", row["train_loss"]))
        run.finish_epoch({**row, "seconds": time.perf_counter() - started}, checkpoint)
        if on_epoch is not None:
            on_epoch(pd.DataFrame(run.history))
    return run.finish()


def predict(model: nn.Module, inputs: Tensor, *, batch_size: int = 32) -> Tensor:
    """Logits (N, C) on the CPU, in eval mode; the model's mode is put back."""
    model.to(device())
    with evaluating(model), torch.inference_mode(), mixed_precision():
        logits = [model(batch.to(device())).float().cpu() for batch in inputs.split(batch_size)]
    return torch.cat(logits)


def evaluate(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy in [0, 1]."""
    logits = predict(model, inputs)
    accuracy = (logits.argmax(dim=1) == labels).double().mean()
    return cross_entropy(logits, labels).item(), accuracy.item()


class _Run:
    """What a run must remember from epoch to epoch, in memory and in its checkpoint file."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        unfreezing: GradualUnfreezing | None,
        settings: dict[str, Any],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.unfreezing = unfreezing
        self.settings = settings
        self.scaler = torch.amp.GradScaler(enabled=device().type == "cuda")
        self.history: list[dict[str, float]] = []
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}

    def epochs_since_best(self) -> int:
        return len(self.history) - 1 - self.best_epoch

    def finish_epoch(self, row: dict[str, float], checkpoint: Path | None) -> None:
        self.history.append(row)
        if self.best_epoch < 0 or _is_better(row, self.history[self.best_epoch]):
            self.best_epoch = len(self.history) - 1
            self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        if checkpoint is not None and is_first():
            with replacing(checkpoint) as temporary:
                torch.save(self._state(), temporary)

    def finish(self) -> pd.DataFrame:
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        history = pd.DataFrame(self.history)
        history["best"] = history.index == self.best_epoch
        return history

    def resume(self, checkpoint: Path | None) -> None:
        if checkpoint is None or not Path(checkpoint).exists():
            return
        try:
            state = torch.load(checkpoint, map_location=device(), weights_only=True)
        except Exception as error:  # torch.load raises many kinds for a file that is not its own
            raise ValueError(
                f"checkpoint {checkpoint} cannot be read ({error}); delete it to start anew"
            ) from error
        differing = [k for k, v in self.settings.items() if state["settings"].get(k) != v]
        if differing:
            raise ValueError(
                f"checkpoint {checkpoint} is of another run: {', '.join(differing)} differ; "
                "use the same settings to go on, or another file to start anew"
            )
        if self.unfreezing is not None and state["history"]:
            # The optimiser must have the groups whose momentum it is about to get back.
            self.unfreezing.start_epoch(len(state["history"]) - 1, self.optimizer, self.scheduler)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = state["history"]
        self.best_epoch = state["best_epoch"]
        self.best_weights = state["best_weights"]

    def _state(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }


def _is_better(row: dict[str, float], best: dict[str, float]) -> bool:
    if "validation_loss" not in row:
        return True
    new, old = ((r["validation_accuracy"], -r["validation_loss"]) for r in (row, best))
    return new > old


def _check_data(
    model: nn.Module, train: Data, validation: Data | None, augment: nn.Module | None
) -> None:
    """Find what would fail in the middle of training before it starts."""
    parts = {"train": train} if validation is None else {"train": train, "validation": validation}
    for name, (inputs, labels) in parts.items():
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
    if augment is not None and train[0].dtype != torch.uint8:
        raise ValueError(
            "augmentation changes the images in every epoch, but these inputs are features that "
            "were computed once; train the backbone on uint8 images, or leave out augment"
        )


def _try(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits of one input, or a ValueError that names the shapes."""
    try:
        return predict(model, inputs[:1])
    except RuntimeError as error:
        raise ValueError(
            f"the model cannot take inputs of shape {tuple(inputs.shape)} ({error}); "
            "expected images (N, 3, H, W) for a backbone, features (N, feature_size) for a head"
        ) from error
