"""Advice on constructed records, whose right answer is known."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from tlcourse.advice import measurements
from tlcourse.advice.advisor import advise
from tlcourse.advice.advisor_score import RULES, score
from tlcourse.advice.measurements import FAR, LARGE, Costs, Measured, measure, transfer_scores
from tlcourse.advice.strategies import BATCH_SIZE, STRATEGIES, Phase, Strategy
from tlcourse.advice.tasks import make_task
from tlcourse.networks.backbones import load_backbone


def records(gains: dict[str, dict[str, float]], *, noise: float = 0.002) -> pd.DataFrame:
    """Cells of sets that lie apart in domain; ``gains`` gives each set's gain by strategy."""
    generator = np.random.default_rng(0)
    rows = []
    for number, (dataset, by_strategy) in enumerate(gains.items()):
        for per_class in (10, 40, 160):
            for seed in range(4):
                for strategy in STRATEGIES:
                    gain = by_strategy.get(strategy, -0.1) + noise * generator.normal()
                    place = {"distance": 0.1 * number, "probe": 0.6, "classes": 4, "centroid": 0.5}
                    cell = {"dataset": dataset, "per_class": per_class, "seed": seed}
                    rows.append({**cell, **place, "strategy": strategy, "plain": 0.6 + gain})
    return pd.DataFrame(rows)


def measured(distance: float, per_class: float = 40.0, **others: object) -> Measured:
    plain = {"images": int(4 * per_class), "classes": 4, "probe": 0.6, "centroid": 0.5}
    return Measured(**{**plain, "per_class": per_class, "distance": distance, **others})


COSTS = Costs(forward=0.01, half=0.006, training=0.04)
NEAR_AND_FAR = {"near": {"extraction": 0.2}, "far": {"gradual": 0.2}}


def test_the_strategy_that_won_in_the_nearest_records_is_advised_without_a_doubt():
    table = records(NEAR_AND_FAR)
    near, far = advise(measured(0.01), table), advise(measured(0.09), table)
    assert (near.strategy, far.strategy) == ("extraction", "gradual")
    assert not near.doubts and not far.doubts
    # The probe's 0.6, measured on 160 images, and what the strategy gained over extraction.
    noise = 1.64 * np.sqrt(0.6 * 0.4 / 160)
    row = near.table.loc["extraction"]
    assert (row["low"], row["high"]) == pytest.approx((0.6 - noise, 0.6 + noise), abs=1e-9)
    row = far.table.loc["gradual"]
    assert (row["low"], row["high"]) == pytest.approx((0.9 - noise, 0.9 + noise), abs=0.01)
    assert all("near" in neighbour for neighbour in near.neighbours)


def test_of_strategies_a_point_apart_the_cheapest_is_advised_and_the_doubt_is_named():
    table = records({"near": {"two_phase": 0.205, "extraction": 0.2}}, noise=0.02)
    advice = advise(measured(0.0, costs=COSTS), table)
    assert advice.strategy == "extraction"
    (best, second), (_, lead), (_, error) = (
        column[:2] for column in (advice.table.index, advice.table["behind"], advice.table["error"])
    )
    points = f"{best} leads {second} by {100 * lead:.1f} ± {100 * error:.1f} points"
    assert points in str(advice) and "unsure" in str(advice)
    assert "s on this machine" in str(advice)


def test_a_set_unlike_any_recorded_is_doubted():
    table = records(NEAR_AND_FAR)
    assert any("no recorded set is like" in d for d in advise(measured(0.9), table).doubts)
    assert any("images a class" in d for d in advise(measured(0.0, 5.0), table).doubts)
    with pytest.raises(ValueError, match="no recorded cells"):
        advise(measured(0.0), table[:0])


def test_a_quadrant_begins_at_its_border():
    assert measured(FAR, LARGE).quadrant == ("large", "far")
    below = measured(np.nextafter(FAR, 0), np.nextafter(LARGE, 0))
    assert below.quadrant == ("small", "similar")


def test_a_rule_is_scored_without_the_records_of_the_set_it_is_asked_about():
    table = score(records(NEAR_AND_FAR))
    # The only other set says the opposite of what is right.
    assert table.loc["advisor", "within_one_point"] == 0
    assert table.loc["advisor", "regret"] == pytest.approx(30, abs=1)
    assert table.loc["always extract", "within_one_point"] == 0.5
    assert table.loc["always fine-tune", "within_one_point"] == 0
    assert set(table.index) == set(RULES)
    alike = score(records({"one": {"gradual": 0.1}, "other": {"gradual": 0.1}}))
    assert alike.loc["advisor", "within_one_point"] == 1
    for behind, within in ((0.0099, 1), (0.0101, 0)):
        gains = {"gradual": 0.1 + behind, "two_phase": 0.1}
        table = score(records({"one": gains, "other": gains}, noise=0.0))
        assert table.loc["always fine-tune", "within_one_point"] == within


def test_costs_follow_the_recipe():
    images, steps = 800, 10
    seconds = {n: COSTS.of(s, images, steps=steps) for n, s in STRATEGIES.items()}
    assert seconds["extraction"] == pytest.approx(800 * 0.01)
    assert seconds["scratch"] == pytest.approx(10 * 800 * 0.04)
    assert seconds["hybrid"] == pytest.approx(800 * 0.01 + 10 * 800 * 0.4 * 0.04)
    assert seconds["two_phase"] == pytest.approx(800 * 0.01 + 6 * 800 * 0.04)


def test_a_share_of_the_stages_costs_what_lies_between_the_measured_ones():
    assert [COSTS.share(stages) for stages in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [0, 0.3, 0.6, 1]
    )
    assert COSTS.share(0.75) == pytest.approx(0.8)
    quarter = Strategy("", "", "", (Phase(10, lr=1.0, frozen=0.25),))
    assert COSTS.of(quarter, 800, steps=10) == pytest.approx(800 * (0.01 + 10 * 0.7 * 0.04))


def test_timing_a_network_leaves_it_as_it_was():
    network = load_backbone("tlcourse/resnet20", pretrained=False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measurements.measure_costs(network, torch.zeros(3, 3, 32, 32, dtype=torch.uint8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


def test_what_takes_too_long_is_not_advised_unless_all_does():
    table = records({"near": {"gradual": 0.2, "two_phase": 0.1, "extraction": 0.05}})
    seconds = advise(measured(0.0, costs=COSTS), table).table["seconds"]

    def within(limit: float) -> str:
        return advise(measured(0.0, costs=COSTS), table, minutes=limit / 60).strategy

    assert within(seconds["gradual"] + 0.01) == "gradual"
    assert within(seconds["gradual"] - 0.01) == "two_phase"
    assert within(0.0) == "extraction"
    uncounted = advise(measured(0.0), table, minutes=0.0)  # nobody knows how long it takes
    assert uncounted.strategy == "gradual" and uncounted.table["seconds"].isna().all()
    assert "on this machine" not in str(uncounted)


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
    trains = [
        make_task(name, per_class=5, image_size=64, seed=0).train for name in ("scenes", "elpv")
    ]
    near, far = (measure(network, train, seed=0) for train in trains)
    scores = transfer_scores(network, trains[0], seed=0)
    assert (scores["mmd"], scores["linear_probe"]) == (near.distance, near.probe)
    assert all(np.isfinite(value) for value in scores.values()) and len(scores) == 7
    assert (near.quadrant, far.quadrant) == (("small", "similar"), ("small", "far"))
    assert near.per_class == 5 and near.classes == 7 and far.images == 10
    assert 0 < near.costs.half <= near.costs.forward and near.costs.training > 0
    assert torch.isfinite(torch.tensor([near.probe, near.centroid, near.distance])).all()
