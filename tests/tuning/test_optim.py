"""LARS against timm's, step for step; schedules against their formulas."""

import math

import pytest
import torch
from timm.optim import Lars
from torch import nn

from tlcourse.tuning.optim import LARS, Plateau, WarmRestarts, WarmUp, constant, cosine


def networks() -> tuple[nn.Module, nn.Module]:
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        made.append(nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.LayerNorm(7), nn.Linear(7, 3)))
        nn.init.zeros_(made[-1][3].weight)  # a head that starts at zero
    return made[0], made[1]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_lars_is_timms_step_for_step(momentum):
    ours, theirs = networks()
    settings = {"lr": 2.0, "momentum": momentum}
    optimizer = LARS(ours.parameters(), weight_decay=0.01, **settings)
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim == 1]
    # timm adapts nothing that has no weight decay, which is how biases and norms are left out
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    reference = Lars(groups, eps=0.0, trust_coeff=0.001, **settings)
    for k in range(6):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(k))
        for network, its in ((ours, optimizer), (theirs, reference)):
            its.zero_grad()
            (network(x) ** 2 - network(x).sum()).mean().backward()
            its.step()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q)
    assert ours[3].weight.any(), "what started at zero has left it"


def test_lars_makes_the_relative_step_the_same_for_every_layer():
    network = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 3))
    with torch.no_grad():
        network[1].weight *= 100
    optimizer = LARS(network.parameters(), lr=3.0, momentum=0.0, trust_coefficient=0.01)
    before = [layer.weight.clone() for layer in network]
    network(torch.randn(4, 5)).square().mean().backward()
    optimizer.step()
    steps = [((n.weight - w).norm() / w.norm()).item() for n, w in zip(network, before)]  # noqa: B905
    assert steps == pytest.approx([0.03] * 3, rel=1e-4)  # lr · trust coefficient


def test_lars_leaves_alone_what_has_no_gradient_and_rejects_negative_settings():
    layer = nn.Linear(2, 2)
    LARS(layer.parameters(), lr=1.0).step()
    assert not LARS(layer.parameters(), lr=1.0).state
    with pytest.raises(ValueError, match="trust_coefficient is -1.0"):
        LARS(layer.parameters(), lr=1.0, trust_coefficient=-1.0)


def curve(schedule, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def half_cosine(steps: int) -> list[float]:
    return [1 + math.cos(math.pi * k / steps) for k in range(steps)]


def test_schedules():
    assert curve(constant, 3) == [2.0] * 3
    assert curve(cosine, 8) == pytest.approx(half_cosine(8))
    assert curve(WarmRestarts(cycles=3), 12) == pytest.approx(half_cosine(4) * 3)
    longer = half_cosine(2) + half_cosine(4) + half_cosine(8)
    assert curve(WarmRestarts(cycles=3, mult=2), 14) == pytest.approx(longer)
    rising = [2 / 3, 2 / 3 + 2 / 3]  # from one third of the rate to all of it in two steps
    assert curve(WarmUp(share=0.2), 10) == pytest.approx(rising + half_cosine(8))


@pytest.mark.parametrize("wrong", [{"cycles": 0}, {"mult": 0}])
def test_restarts_do_not_shrink(wrong):
    with pytest.raises(ValueError, match="expected 1 or more of both"):
        WarmRestarts(**wrong)


def test_defaults_are_the_papers():
    group = LARS([nn.Parameter(torch.zeros(1))], lr=1.0).param_groups[0]
    assert (group["momentum"], group["weight_decay"], group["trust_coefficient"]) == (0.9, 0, 0.001)
    assert LARS([nn.Parameter(torch.zeros(1))], lr=0.0)  # nothing moves, but it is no mistake
    assert curve(WarmRestarts(), 7) == pytest.approx((half_cosine(3) * 3)[:7])
    assert curve(WarmUp(), 20) == pytest.approx([2 / 3, 4 / 3, *half_cosine(18)])
    assert curve(WarmUp(share=0.0), 5)[0] == 1.0  # half the rate: one step of warm-up at least
    assert (Plateau().factor, Plateau().patience) == (0.1, 2)


def test_plateau_lowers_the_rate_when_the_loss_does_not_fall():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = Plateau(factor=0.5, patience=1)(optimizer, 10)
    for loss in (1.0, 0.9, 0.9, 0.9):
        scheduler.step(loss)
    assert optimizer.param_groups[0]["lr"] == 1.0
