"""Two gloo processes come to the weights of one."""

import json
import socket

import pytest
import timm
import torch
from parallel_job import run_cell_as, train_as, trained
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning import data_parallel
from tlcourse.tuning.batchnorm import policies, set_policy
from tlcourse.tuning.data_parallel import (
    distribute,
    joined,
    processes,
    share,
    synchronise,
    total,
    weight,
)


@pytest.fixture
def in_two(start):
    """Call a function in two processes, with the rank of each and a port for both."""

    def call(function, path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [start(function, rank, port, path) for rank in range(2)]
        for child in children:
            child.join()
            assert child.exitcode == 0

    return call


def test_two_processes_come_to_the_weights_of_one(tmp_path, in_two):
    in_two(train_as, tmp_path / "two.pt")
    one, two = trained(), torch.load(tmp_path / "two.pt", weights_only=True)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=2e-4), name
    losses = one["train_loss"]
    assert losses[-1] < 0.9 * losses[0]  # it did train


def test_one_process_needs_nothing():
    model = torch.nn.Linear(2, 2)
    with joined():
        assert processes() == 1 and distribute(model) is model
        assert share(torch.arange(3)).tolist() == [0, 1, 2]
        assert weight(3, 3) == 1 and total(2.0, 3.0) == [2.0, 3.0]


def test_batchnorm_and_batches_that_cannot_be_shared_are_refused(monkeypatch):
    monkeypatch.setattr(data_parallel, "processes", lambda: 2)
    with pytest.raises(ValueError, match="0 and 0 more BatchNorm layers would see a share"):
        distribute(torch.nn.Sequential(torch.nn.BatchNorm2d(3)))
    two = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="0 and 1 more BatchNorm layers"):
        distribute(two)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    assert share(torch.arange(2)).tolist() == [1] and share(torch.arange(5)).tolist() == [3, 4]
    assert weight(2, 5) == 2 * 2 / 5
    with pytest.raises(ValueError, match="a batch of 1 cannot be shared by 2 processes"):
        share(torch.arange(1))


def test_synchronised_layers_keep_activations_policies_and_hooks():
    backbone = load_backbone("tlcourse/efficientnet_lite0", pretrained=False, num_classes=3).eval()
    timms = timm.create_model("efficientnet_lite0", num_classes=3).eval()
    images, calls = torch.rand(2, 3, 64, 64), []
    set_policy(backbone, "frozen", up_to="stage2")
    for model in (backbone, timms):
        layers = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm)}
        next(iter(layers.values())).register_forward_hook(lambda *_: calls.append(1))
        expected = model(images)
        assert synchronise(model) is model
        assert torch.equal(model(images), expected) and len(calls) % 2 == 0
        assert all(isinstance(layer, nn.SyncBatchNorm) for layer in layers.values())
        assert layers.keys() == {n for n, m in model.named_modules() if isinstance(m, _BatchNorm)}
    depth = {name: backbone.stage_index(name.split(".")[0]) for name in policies(backbone)}
    for name, policy in policies(backbone).items():
        assert policy == ("frozen" if depth[name] <= 2 else "train"), name


def test_a_conversion_that_lost_the_activations_is_refused(monkeypatch):
    timms = timm.create_model("efficientnet_lite0", num_classes=3)
    timms = nn.SyncBatchNorm.convert_sync_batchnorm(timms)
    monkeypatch.setattr(data_parallel, "processes", lambda: 2)
    with pytest.raises(ValueError, match="bn1 and 32 more .* an activation that they do not run"):
        distribute(timms)

    class Doubled(nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(nn.BatchNorm2d(3), Doubled(3))
    with pytest.raises(ValueError, match="1 is a Doubled with a forward"):
        synchronise(model)
    assert type(model[0]) is nn.BatchNorm2d, "an error changes nothing"


def test_the_command_for_one_cell_runs_in_both_processes_and_prints_once(tmp_path, in_two):
    in_two(run_cell_as, tmp_path)
    printed = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert json.loads(printed[0]) == {"split": 7, "processes": 2} and not printed[1]
