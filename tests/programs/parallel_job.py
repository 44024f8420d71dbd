"""Two networks trained, alone or in two processes; and a command that runs in both."""

import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from tlcourse import studies
from tlcourse.advice.strategies import STRATEGIES
from tlcourse.advice.strategy_training import train
from tlcourse.cli import main
from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.data_parallel import is_first, joined, processes
from tlcourse.tuning.training import fit


def trained() -> dict[str, Tensor]:
    """The weights of both networks and the second one's history."""
    images = torch.randint(0, 256, (13, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    data = images.to(torch.uint8), torch.arange(13) % 2
    backbone = train(
        load_backbone("efficientnet_lite0"),
        STRATEGIES["gradual"],
        data,
        data,
        lr=3e-3,
        num_classes=2,
        steps=10,
        seed=0,
        batch_size=5,  # shares of three and two
    ).network
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    floats = data[0] / 255, data[1]
    model(floats[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    history = fit(model, floats, floats, optimizer, epochs=6, seed=0, batch_size=5)
    columns = ["train_loss", "train_accuracy", "validation_loss"]
    return {
        **backbone.state_dict(),
        **model.state_dict(),
        **{column: torch.tensor(history[column]) for column in columns},
    }


def as_torchrun(rank: int, port: int) -> None:
    """What torchrun does for each of two processes."""
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {"MASTER_ADDR": "127.0.0.1"} | {name: str(n) for name, n in group.items()}


def train_as(rank: int, port: int, path: Path) -> None:
    """The training, in one of two processes."""
    as_torchrun(rank, port)
    with joined():
        state = trained()
        if is_first():
            torch.save(state, path)


def count(*, split: int) -> Mapping[str, int]:
    """A cell that tells how many run it."""
    return {"processes": processes()}


def run_cell_as(rank: int, port: int, folder: Path) -> None:
    """The command for a study's cell, in one of two processes; what it prints, into a file."""
    as_torchrun(rank, port)
    small = replace(studies.STUDIES["heads"], name="small", run=count, cells=({"split": 7},))
    with (
        (folder / str(rank)).open("w") as file,
        redirect_stdout(file),
        mock.patch.dict(studies.STUDIES, small=small),
    ):
        assert main(["study", "small", "--cell", "0"]) == 0
