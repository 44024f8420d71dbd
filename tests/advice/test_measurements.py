"""What is measured before training: costs by the recipe, distances, and probes by group."""

import itertools

import numpy as np
import pytest
import torch
from made_records import COSTS

from tlcourse.advice import measurements
from tlcourse.advice.measurements import Costs, measure, transfer_scores
from tlcourse.advice.strategies import BATCH_SIZE, STRATEGIES, TUNING_STEPS, Phase, Strategy
from tlcourse.advice.tasks import make_task
from tlcourse.diagnosis import grouped_probe
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.pooled import pooled_stages


def test_costs_are_those_of_the_recipe_at_all_its_rates():
    images, steps = 800, 300  # fewer steps than ten whole passes
    cost = {name: COSTS.of(s, images, steps=steps) for name, s in STRATEGIES.items()}
    assert cost["probe"] == pytest.approx(800 * 0.01)  # one pass, whatever the steps
    seen = 10 * 800 + 4 * TUNING_STEPS * 8  # images in the long training and the four short ones
    assert cost["scratch"] == pytest.approx(seen * 0.04)
    assert cost["one_rate"] == pytest.approx(800 * 0.01 + seen * 0.04)
    assert cost["head_first"] == pytest.approx(800 * 0.01 + 7 / 10 * seen * 0.04)
    late = 1 - (0.6 + 0.4 / 3)  # frozen are the half and a third of the rest
    assert cost["to_stage3"] == pytest.approx(800 * 0.01 + late * seen * 0.04)
    few = COSTS.of(STRATEGIES["one_rate"], 5, steps=300)  # batches of five, and every step counts
    assert few == pytest.approx(5 * 0.01 + (300 + 4 * TUNING_STEPS) * 5 * 0.04)


def test_a_share_of_the_stages_costs_what_lies_between_the_measured_ones():
    assert [COSTS.share(stages) for stages in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [0, 0.3, 0.6, 1]
    )
    assert COSTS.share(0.75) == pytest.approx(0.8)
    quarter = Strategy("", "", "", lambda lr: (Phase(10, lr, frozen=0.25),), lrs=())
    assert COSTS.of(quarter, 800, steps=10) == pytest.approx(800 * (0.01 + 10 * 0.7 * 0.04))


def test_timing_a_network_leaves_it_as_it_was():
    network = load_backbone("tlcourse/resnet20", pretrained=False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measurements.measure_costs(network, torch.zeros(3, 3, 32, 32, dtype=torch.uint8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


@pytest.mark.parametrize(
    ("half", "expected"),
    [((9, 2, 3, 1), 2), ((9, 2, 99, 1), 2), ((9, 7, 9, 8), 4)],
    ids=["the first run warms up", "one disturbed run", "never slower than the whole"],
)
def test_costs_are_medians(half, expected, monkeypatch):
    whole, training = (9, 4, 5, 4), (9, 20, 90, 20)
    clock = itertools.chain.from_iterable(zip(whole, half, training, strict=True))
    monkeypatch.setattr(measurements, "seconds_of", lambda run: BATCH_SIZE * next(clock))
    costs = measurements.measure_costs(
        load_backbone("tlcourse/resnet20", pretrained=False),
        torch.zeros(3, 3, 8, 8, dtype=torch.uint8),
    )
    assert costs == Costs(forward=4.0, half=float(expected), training=20.0)


def test_photographs_are_measured_as_nearer_than_solar_cells():
    network = load_backbone("efficientnet_lite0")
    tasks = [make_task(name, per_class=5, image_size=64, seed=0) for name in ("scenes", "elpv")]
    near, far = (measure(network, t.train, seed=0, groups=t.train_groups) for t in tasks)
    scores = transfer_scores(network, tasks[0].train, seed=0)
    assert scores["mmd"] == pytest.approx(near.distance, rel=1e-3)
    assert all(np.isfinite(value) for value in scores.values()) and len(scores) == 7
    assert (near.quadrant, far.quadrant) == (("small", "similar"), ("small", "far"))
    assert near.per_class == 5 and near.classes == 7 and far.images == 10
    assert 0 < near.costs.half <= near.costs.forward and near.costs.training > 0
    assert near.grouped and (near.backbone, near.image_size) == ("efficientnet_lite0", 64)
    assert list(near.probes) == list(network.stage_names[:-1])
    assert all(0 <= probe <= 1 for probe in (*near.probes.values(), *far.probes.values()))


def test_probes_are_those_of_the_stages_in_whole_groups():
    network = load_backbone("tlcourse/resnet20", pretrained=False, seed=0)
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8)
    labels, groups = torch.arange(24) % 2, np.arange(24) // 3
    found = measure(network, (images, labels), seed=1, groups=groups, costs=False)
    stages = pooled_stages(network, images)
    for stage, features in stages.items():
        expected = grouped_probe(features, labels.numpy(), groups, seed=1)
        assert found.probes[stage] == expected.accuracy
    assert found.probe == found.probes["neck"] and found.costs is None


def test_a_class_that_shows_one_thing_is_named_and_none_is_refused():
    network = load_backbone("tlcourse/resnet20", pretrained=False)
    images = torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8)
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 6, 6])
    found = measure(network, (images, labels), seed=0, groups=groups, costs=False)
    assert found.untested == (2,) and np.isfinite(found.probe)
    with pytest.raises(ValueError, match="8 groups; expected"):
        measure(network, (images, labels), seed=0, groups=groups[:8], costs=False)
