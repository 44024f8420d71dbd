"""Gradual unfreezing: momentum is kept, and an interrupted run ends as an uninterrupted one."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CyclicLR,
    LambdaLR,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
)

from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.batchnorm import policies, set_policy
from tlcourse.tuning.checkpoints import Run
from tlcourse.tuning.optim import LARS, Plateau, WarmRestarts, WarmUp, cosine
from tlcourse.tuning.param_groups import geometric, param_groups
from tlcourse.tuning.training import fit
from tlcourse.tuning.unfreezing import GradualUnfreezing, extend, one_by_one

DATA = (
    torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8),
    torch.arange(12) % 3,
)


def prepare(kind=torch.optim.SGD):
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    factors = geometric(backbone)
    settings = {"lr": 0.1, "weight_decay": 0.01}
    unfreezing = GradualUnfreezing(backbone, one_by_one(backbone), factors=factors, **settings)
    optimizer = kind(param_groups(backbone, **settings), momentum=0.9)
    return backbone, unfreezing, optimizer


def train(parts, epochs=5, **options):
    backbone, unfreezing, optimizer = parts
    options = {"epochs": epochs, "seed": 0, "batch_size": 6, "unfreezing": unfreezing, **options}
    return fit(backbone, DATA, DATA, optimizer, **options)


def test_stages_thaw_one_after_another_at_their_rates():
    backbone, unfreezing, optimizer = prepare()
    assert unfreezing.plan == {"stage3": 1, "stage2": 2, "stage1": 3, "stem": 4}
    trainable = []
    for epoch in range(5):
        unfreezing.start_epoch(epoch, optimizer)
        stages = {n.split(".")[0] for n, p in backbone.named_parameters() if p.requires_grad}
        trainable.append(stages)
    order = ("head", "stage3", "stage2", "stage1", "stem")
    assert trainable == [set(order[: k + 1]) for k in range(5)]
    rates = {g["name"]: g["lr"] for g in optimizer.param_groups}
    assert rates["stage3"] == pytest.approx(0.1 / 2.6)
    assert rates["stem"] == pytest.approx(0.1 / 2.6**4)


@cache
def uninterrupted(schedule):
    parts = prepare()
    return parts, train(parts, schedule=schedule)


@pytest.mark.parametrize("schedule", [cosine, WarmUp(0.2), WarmRestarts(2), Plateau()])
@pytest.mark.parametrize("stop", [1, 3])
def test_saved_and_resumed_is_as_without_interruption(tmp_path, schedule, stop, monkeypatch):
    whole, history = uninterrupted(schedule)
    checkpoint = tmp_path / "run.pt"
    interrupted = prepare()
    with monkeypatch.context() as patch:
        interrupt_after(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            train(interrupted, schedule=schedule, checkpoint=checkpoint)
    resumed = prepare()
    again = train(resumed, schedule=schedule, checkpoint=checkpoint)
    for name, tensor in whole[0].state_dict().items():
        assert torch.equal(tensor, resumed[0].state_dict()[name]), name
    state, expected = resumed[2].state_dict(), whole[2].state_dict()
    assert state["param_groups"] == expected["param_groups"]
    for key, slot in expected["state"].items():
        assert torch.equal(slot["momentum_buffer"], state["state"][key]["momentum_buffer"])
    assert again["train_loss"].tolist() == history["train_loss"].tolist()


def interrupt_after(patch: pytest.MonkeyPatch, epochs: int) -> None:
    finish = Run.finish_epoch

    def finish_and_stop(run, row):
        finish(run, row)
        if len(run.history) == epochs:
            raise KeyboardInterrupt

    patch.setattr(Run, "finish_epoch", finish_and_stop)


def test_what_a_policy_froze_stays_frozen():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    set_policy(backbone, "frozen")
    unfreezing = GradualUnfreezing(backbone, {"stage3": 1}, lr=0.1, weight_decay=0.0)
    optimizer = torch.optim.SGD(backbone.head.parameters(), lr=0.1)
    unfreezing.start_epoch(1, optimizer)
    assert set(policies(backbone).values()) == {"frozen"}
    assert backbone.get_submodule("stage3.0.conv1").weight.requires_grad


@pytest.mark.parametrize(
    "schedule",
    [
        cosine,
        WarmUp(0.5),
        WarmRestarts(2),
        lambda optimizer, steps: LambdaLR(optimizer, lambda k: 0.9**k),
        lambda optimizer, steps: MultiplicativeLR(optimizer, lambda k: 0.9),
        lambda optimizer, steps: ChainedScheduler(
            [ConstantLR(optimizer, 0.5, 5), MultiplicativeLR(optimizer, lambda k: 0.9)]
        ),
    ],
)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, LARS])
def test_extending_keeps_momentum_and_joins_the_schedule(schedule, kind):
    old, new = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    optimizer = kind([old], lr=0.5)
    scheduler = schedule(optimizer, 10)

    def step(*parameters: nn.Parameter) -> None:
        for parameter in parameters:
            parameter.grad = torch.ones(3, 3)
        optimizer.step()
        scheduler.step()

    for _ in range(3):
        step(old)
    state = {k: v.clone() for k, v in optimizer.state[old].items()}
    extend(optimizer, [{"params": [new], "lr": 0.05}], scheduler)
    assert all(torch.equal(v, optimizer.state[old][k]) for k, v in state.items())
    for _ in range(4):
        first, second = optimizer.param_groups
        assert second["lr"] == pytest.approx(first["lr"] / 10)
        step(old, new)
    assert not torch.equal(new, torch.ones(3, 3))


def test_plans_rates_and_the_schedules_of_groups_that_join():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    assert one_by_one(backbone, every=2) == {"stage3": 2, "stage2": 4, "stage1": 6, "stem": 8}
    thawing = GradualUnfreezing(
        backbone, {"stage3": 2, "stage2": 2}, lr=0.1, weight_decay=0.2, factors={"stage2": 0.5}
    )
    optimizer = torch.optim.SGD(backbone.head.parameters(), lr=0.4)
    thawing.start_epoch(1, optimizer)
    assert thawing.thawed == [] and len(optimizer.param_groups) == 1
    thawing.start_epoch(3, optimizer)  # late, as after a resumed run
    assert thawing.thawed == ["stage3", "stage2"]
    found = {g.get("name", "head"): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups}
    assert found["stage3"] == (0.1, 0.2) and found["stage3, no decay"] == (0.1, 0.0)
    assert found["stage2"] == (0.05, 0.2) and found["head"] == (0.4, 0)


def test_a_stage_joins_at_the_rate_that_a_plateau_left():
    parts = prepare()

    def falling(optimizer, steps):  # nothing is ever better: down at each epoch
        return ReduceLROnPlateau(optimizer, factor=0.1, patience=0, threshold=1e9)

    train(parts, epochs=3, schedule=falling)
    rates = {g["name"]: g["lr"] for g in parts[2].param_groups}
    assert rates["stage3"] / rates["head"] == pytest.approx(1 / 2.6)
    assert rates["stage2"] / rates["head"] == pytest.approx(1 / 2.6**2)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda optimizer, steps: OneCycleLR(optimizer, 0.1, total_steps=steps),
        lambda optimizer, steps: CyclicLR(optimizer, 0.01, 0.1),
        lambda optimizer, steps: ChainedScheduler([OneCycleLR(optimizer, 0.1, total_steps=steps)]),
    ],
)
def test_schedules_that_nothing_can_join_are_refused_before_the_first_step(schedule):
    parts = prepare()
    before = [p.clone() for p in parts[0].parameters()]
    with pytest.raises(ValueError, match=r"(OneCycle|Cyclic)LR is made with .* WarmUp\(share"):
        train(parts, schedule=schedule)
    assert all(torch.equal(a, b) for a, b in zip(before, parts[0].parameters(), strict=True))
    scheduler = schedule(parts[2], 10)
    with pytest.raises(ValueError, match="so that a stage that joins later has none"):
        extend(parts[2], [{"params": [nn.Parameter(torch.ones(1))], "lr": 0.1}], scheduler)
    assert len(parts[2].param_groups) == 2, "an error changes nothing"


def test_where_the_schedule_stands_is_read_off_a_group_with_a_rate():
    still, moving, new = (nn.Parameter(torch.ones(1)) for _ in range(3))
    optimizer = torch.optim.SGD([{"params": [still], "lr": 0.0}, {"params": [moving], "lr": 0.4}])
    scheduler = LambdaLR(optimizer, lambda k: 1 / (k + 1))
    optimizer.step(), scheduler.step()
    extend(optimizer, [{"params": [new], "lr": 0.1}], scheduler)
    assert [g["lr"] for g in optimizer.param_groups] == [0, 0.2, 0.05]


def test_mistakes_are_named():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    settings = {"lr": 0.1, "weight_decay": 0.0}
    with pytest.raises(ValueError, match="no stage 'stage9'"):
        GradualUnfreezing(backbone, {"stage9": 1}, **settings)
    with pytest.raises(ValueError, match="stage3 at epoch 2, stage1 at epoch 1; expected .* last"):
        GradualUnfreezing(backbone, {"stage1": 1, "stage3": 2}, **settings)
    with pytest.raises(ValueError, match="thaws nothing"):
        GradualUnfreezing(backbone, {}, **settings)
    with pytest.raises(ValueError, match="from 1 on"):
        GradualUnfreezing(backbone, {"stage3": 0}, **settings)
    optimizer = torch.optim.SGD(backbone.head.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="more than one parameter group"):
        extend(optimizer, [{"params": [backbone.head.weight], "lr": 0.1}])
