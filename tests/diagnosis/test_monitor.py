"""The monitor's numbers against those computed by hand beside it, and nothing left behind."""

import copy
import io
from contextlib import nullcontext

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tlcourse.diagnosis.monitor import Monitor, drift, monitor_figure
from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.freezing import freeze
from tlcourse.tuning.training import fit

IMAGES = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)
LABELS = torch.arange(12) % 3


@pytest.fixture
def backbone():
    return load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)


def test_numbers_are_those_computed_by_hand(backbone):
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1e-4, momentum=0.9)
    backbone.train()
    outputs = {}
    hook = backbone.stage2.register_forward_hook(lambda _, __, out: outputs.update(stage2=out))
    with Monitor(backbone, optimizer, every=2) as monitor:
        for _ in range(3):
            before = {n: p.detach().clone() for n, p in backbone.named_parameters()}
            optimizer.zero_grad()
            loss = cross_entropy(backbone(IMAGES), LABELS)
            loss.backward()
            optimizer.step()
    hook.remove()
    table = monitor.table()
    assert sorted(set(table.index.get_level_values("step"))) == [0, 2]
    last = table.loc[2]
    named = {n: p for n, p in backbone.named_parameters() if n.startswith("stage2.")}
    gradients = torch.cat([p.grad.flatten() for p in named.values()])
    steps = torch.cat([(p.detach() - before[n]).flatten() for n, p in named.items()])
    weights = torch.cat([before[n].flatten() for n in named])
    row = last.loc["stage2"]
    assert row["gradient_norm"] == pytest.approx(gradients.norm().item(), rel=1e-4)
    assert row["update_ratio"] == pytest.approx((steps.norm() / weights.norm()).item(), rel=1e-4)
    assert row["loss_change"] == pytest.approx((gradients @ steps).item(), rel=1e-4)
    assert row["activation_std"] == pytest.approx(outputs["stage2"].std().item(), rel=1e-4)
    assert row["dead"] == pytest.approx((outputs["stage2"] == 0).float().mean().item())
    with torch.no_grad():  # train mode, the same batch: the loss_changed by the sum over stages
        change = cross_entropy(backbone(IMAGES), LABELS) - loss
    assert last["loss_change"].sum() == pytest.approx(change.item(), rel=0.1)


def test_it_changes_no_number_and_leaves_nothing_behind(backbone):
    finals = []
    for watched in (False, True):
        network = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
        freeze(network, up_to="stage1")
        optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad])
        options = {"epochs": 2, "seed": 0, "batch_size": 6}
        if watched:
            with Monitor(network, optimizer, every=1) as monitor:
                fit(network, (IMAGES, LABELS), (IMAGES, LABELS), optimizer, **options)
        else:
            fit(network, (IMAGES, LABELS), (IMAGES, LABELS), optimizer, **options)
        finals.append(network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(f.values() for f in finals), strict=True))
    assert len(monitor.table()) == 4 * len(network.stage_names), "training steps only"
    assert monitor.table().loc[(0, "stem"), ["gradient_norm", "update_ratio"]].isna().all()
    assert not any(m._forward_hooks for m in network.modules())
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks


def test_there_is_a_table_before_the_first_step(backbone):
    monitor = Monitor(backbone, torch.optim.SGD(backbone.parameters(), lr=0.1))
    table = monitor.table()
    assert table.empty and table.index.names == ["step", "stage"]
    assert "update_ratio" in table.columns


@pytest.mark.parametrize("ran_before", [False, True])
def test_a_compiled_model_is_watched_or_said_not_to_be(backbone, ran_before):
    torch.compiler.reset()
    compiled = torch.compile(backbone, backend="eager")
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    numbers = []
    for model in (compiled, backbone):
        if ran_before and model is compiled:
            model(IMAGES)
        with (
            pytest.warns(UserWarning, match="compiled model that ran before")
            if ran_before and model is compiled
            else nullcontext(),
            Monitor(model, optimizer, every=1, live=True) as monitor,
        ):
            optimizer.zero_grad()
            cross_entropy(model(IMAGES), LABELS).backward()
            optimizer.param_groups[0]["lr"] = 0.0  # both see the same weights
            optimizer.step()
        numbers.append(monitor.table())
    compiled_table, plain = numbers
    seen = [c for c in plain if not (ran_before and c in plain.columns[:3])]
    pd.testing.assert_frame_equal(compiled_table[seen], plain[seen], rtol=1e-3)
    assert compiled_table[plain.columns.difference(seen)].isna().all(axis=None)


def test_any_model_is_watched_by_its_submodules():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 3)))
    model.register_parameter("scale", nn.Parameter(torch.ones(())))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, tables = torch.rand(6, 3, 2, 2), []
    for options in ({}, {"stages": ["2.0", "2.1"]}):
        with Monitor(nn.DataParallel(model), optimizer, every=1, **options) as monitor:
            optimizer.zero_grad()
            (cross_entropy(model(inputs), LABELS[:6]) * model.scale).backward()
            optimizer.step()
        tables.append(monitor.table().droplevel("step"))
    assert list(tables[0].index) == ["scale", "0", "1", "2"]
    assert tables[0].loc["0", "activation_mean"] == pytest.approx(inputs.mean().item())
    assert tables[0].loc["scale", "gradient_norm"] > 0
    assert list(tables[1].index) == ["2.0", "2.1"]
    with pytest.raises(ValueError, match="no submodule '3'"):
        Monitor(model, optimizer, stages=["3"])


def test_hooks_are_removed_after_an_error(backbone):
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    with pytest.raises(KeyError), Monitor(backbone, optimizer):
        raise KeyError
    assert not backbone.stem._forward_hooks
    with pytest.raises(ValueError, match="every is 0"):
        Monitor(backbone, optimizer, every=0)


def test_figure_and_tensorboard(backbone, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    with (
        SummaryWriter(str(tmp_path)) as writer,
        Monitor(backbone, optimizer, every=1, live=True, writer=writer) as monitor,
    ):
        fit(backbone, (IMAGES, LABELS), None, optimizer, epochs=2, seed=0)
    events = EventAccumulator(str(tmp_path)).Reload()
    written = [event.value for event in events.Scalars("gradient_norm/stage2")]
    recorded = monitor.table().xs("stage2", level="stage")["gradient_norm"]
    assert written == pytest.approx(recorded.tolist())
    figure = monitor_figure(monitor.table())
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "gradient norm",
        "update ratio",
        "activation std",
        "loss change",
    ]


def test_drift_is_nothing_without_training(backbone):
    other = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3, seed=1)
    same = drift(backbone, backbone, IMAGES)
    assert same["distance"].tolist() == [0] * 5
    assert same["cka"].tolist() == pytest.approx([1] * 5)
    with torch.no_grad():
        x, y = (network.features(IMAGES, up_to="stage2") for network in (backbone, other))
    moved = drift(backbone, other, IMAGES)["distance"]
    assert moved["stage2"] == pytest.approx(((y - x).norm() / x.norm()).item(), rel=1e-4)
    assert (moved > 0.1).all()


def test_what_is_saved_or_copied_while_it_is_watched_tells_the_monitor_nothing():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = backbone.eval().features(images, up_to="stem").mean().item()
    file = io.BytesIO()
    with Monitor(backbone, optimizer, every=1) as monitor:
        backbone(images).sum().backward()
        torch.save(backbone, file)
        file.seek(0)
        for twin in (copy.deepcopy(backbone), torch.load(file, weights_only=False)):
            twin(images + 1)
        optimizer.step()
    assert monitor.table().loc[(0, "stem"), "activation_mean"] == pytest.approx(expected)
