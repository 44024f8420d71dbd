"""What a training remembers from epoch to epoch, in memory and in the file it goes on from."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from tlcourse.files import replacing
from tlcourse.hashing import hash_tensors
from tlcourse.runtime import device
from tlcourse.tuning.data_parallel import is_first

Row = dict[str, int | float]  # of the history: one epoch


@runtime_checkable
class Thawing(Protocol):
    """What lets parts of a network join a running training; see ``GradualUnfreezing``."""

    plan: dict[str, int]

    def start_epoch(
        self, epoch: int, optimizer: Optimizer, scheduler: LRScheduler | None = None
    ) -> None:
        """Hand what is due at this epoch to the optimiser and its scheduler."""


class Checkpoint:
    """A file with the state of a training, and the settings and data it belongs to."""

    def __init__(self, path: Path, data: Iterable[Tensor], **settings: Any) -> None:
        self.path = Path(path)
        self.settings = {**settings, "data": hash_tensors(dict(enumerate(data)))}

    def load(self) -> dict[str, Any] | None:
        """The state, or None if there is no file; ValueError for a broken or another run's one."""
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location=device(), weights_only=True)
        except Exception as error:  # torch.load raises many kinds for a file that is not its own
            raise ValueError(
                f"checkpoint {self.path} cannot be read ({error}); delete it to start anew"
            ) from error
        differing = [k for k, v in self.settings.items() if state["settings"].get(k) != v]
        if differing:
            raise ValueError(
                f"checkpoint {self.path} is of another run: {', '.join(differing)} differ; "
                "use the same settings to go on, or another file to start anew"
            )
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Put the state into the file, whole or not at all; only one process writes."""
        if is_first():
            content = io.BytesIO()  # of a full disk torch would say "unexpected pos 576"
            torch.save({"settings": self.settings, **state}, content)
            with replacing(self.path) as temporary:
                temporary.write_bytes(content.getbuffer())


class Run:
    """A training's model, optimiser and schedule, its history, and the best weights so far."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        unfreezing: Thawing | None,
        checkpoint: Checkpoint | None,
        average: AveragedModel | None = None,
    ) -> None:
        self.model = model
        self.average = average
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.checkpoint = checkpoint
        self.scaler = torch.amp.GradScaler(enabled=device().type == "cuda")
        self.history: list[Row] = []
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}
        state = checkpoint and checkpoint.load()
        if state:
            self._resume(state, unfreezing)

    @property
    def kept(self) -> nn.Module:
        """What is validated and kept: the model, or the average of its weights."""
        return self.model if self.average is None else self.average.module

    def epochs_since_best(self) -> int:
        return len(self.history) - 1 - self.best_epoch

    def finish_epoch(self, row: Row) -> None:
        """Add the row to the history, keep the weights if they are the best, and save all."""
        self.history.append(row)
        if self.best_epoch < 0 or _is_better(row, self.history[self.best_epoch]):
            self.best_epoch = len(self.history) - 1
            self.best_weights = {k: v.detach().clone() for k, v in self.kept.state_dict().items()}
        if self.checkpoint is not None:
            self.checkpoint.save(self._state())

    def finish(self) -> pd.DataFrame:
        """Put the best weights into the model; the history, which marks their epoch."""
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        history = pd.DataFrame(self.history)
        history["best"] = history.index == self.best_epoch
        return history

    def _resume(self, state: Mapping[str, Any], unfreezing: Thawing | None) -> None:
        if unfreezing is not None and state["history"]:
            # The optimiser must have the groups whose momentum it is about to get back.
            unfreezing.start_epoch(len(state["history"]) - 1, self.optimizer, self.scheduler)
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = state["history"]
        self.best_epoch = state["best_epoch"]
        self.best_weights = state["best_weights"]

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average and self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }


def _is_better(row: Row, best: Row) -> bool:
    if "validation_loss" not in row:
        return True
    new, old = ((r["validation_accuracy"], -r["validation_loss"]) for r in (row, best))
    return new > old
