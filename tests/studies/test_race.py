"""Cells of transfer_race: what is chosen, what is held equal, and whether declarations hold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tlcourse.advice.strategies import STRATEGIES, fingerprint
from tlcourse.advice.strategy_training import Trained
from tlcourse.advice.tasks import make_task
from tlcourse.datasets import load_dataset
from tlcourse.errors import StudyError
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.studies import STUDIES, read_study
from tlcourse.studies.arms import augment
from tlcourse.studies.batchnorm import BATCHNORM
from tlcourse.studies.measuring import choose_and_test, forgetting
from tlcourse.studies.outcomes import outcomes_of
from tlcourse.studies.race import race
from tlcourse.studies.race_tasks import RACE_TASKS
from tlcourse.studies.transfer_race import TRANSFER_RACE, cell, columns
from tlcourse.studies.transfer_race_full import FULL
from tlcourse.studies.transfer_race_pilot import PILOT
from tlcourse.studies.transfer_race_variants import VARIANTS
from tlcourse.tuning.training import Evaluation

LITE0 = "efficientnet_lite0"
SMALL = {"image_size": 32, "steps": 10, "tuning_steps": 5}


def test_no_cell_stands_twice_and_the_pilots_splits_are_none_of_the_studys():
    for study in STUDIES.values():
        keys = [tuple(sorted(cell.items())) for cell in study.cells]
        assert len(set(keys)) == len(keys)
    splits = [{cell["split"] for cell in study.cells} for study in (PILOT, TRANSFER_RACE)]
    assert not splits[0] & splits[1]


@pytest.mark.parametrize(
    ("study", "splits"),
    [(TRANSFER_RACE, 10), (PILOT, 3), (BATCHNORM, 10), (VARIANTS, 3), (FULL, 10)],
)
def test_every_comparison_finds_both_of_its_arms_in_the_cells(study, splits):
    for comparison in study.comparisons:
        for arm in (comparison.a, comparison.b):
            found = [
                cell
                for cell in study.cells
                if all(cell[column] == value for column, value in arm.items())
                and all(cell[c] in v for c, v in (comparison.where or {}).items())
            ]
            assert len({cell["split"] for cell in found}) == splits, comparison.id


def test_every_task_of_the_race_is_measured_for_the_advisor():
    places = [
        {(cell["dataset"], cell["per_class"], cell["split"]) for cell in study.cells}
        for study in (TRANSFER_RACE, VARIANTS, RACE_TASKS)
    ]
    assert places[0] | places[1] == places[2] and len(RACE_TASKS.cells) == len(places[2])


def test_arms_that_are_compared_differ_in_what_their_names_say():
    """The same rates of pretrained stages in one_rate and one_tenth; the same steps in all."""
    by_arm = {cell["arm"]: cell for cell in TRANSFER_RACE.cells}
    one, tenth = (
        [float(lr) * factor for lr in by_arm[arm]["lrs"].split()]
        for arm, factor in (("one_rate", 1.0), ("one_tenth", 0.1))
    )
    assert one == pytest.approx(tenth)
    arms = [strategy for strategy in STRATEGIES.values() if strategy.lrs]
    assert {(cell["steps"], cell["tuning_steps"]) for cell in TRANSFER_RACE.cells} == {(300, 50)}
    assert {sum(phase.epochs for phase in arm.phases(1.0)) for arm in arms} == {10}


def test_another_recipe_is_another_cell_and_an_old_one_is_not_run(monkeypatch):
    before = cell("digits", 5, 0, columns("one_rate"), **SMALL)
    phases = STRATEGIES["one_rate"].phases
    changed = replace(STRATEGIES["one_rate"], phases=lambda lr: phases(2 * lr))
    monkeypatch.setitem(STRATEGIES, "one_rate", changed)
    assert fingerprint(changed) != before["recipe"]
    with pytest.raises(StudyError, match="has another recipe now"):
        race(**before)


def test_an_unknown_arm_is_named_with_those_near():
    with pytest.raises(StudyError, match="no arm 'one_tent'.*one_tenth"):
        columns("one_tent")


@pytest.mark.parametrize("arm", ["one_rate", "probe"])
def test_a_cell_gives_the_same_again_and_tests_what_it_chose(arm):
    settings = cell("digits", 5, 3, columns(arm), **SMALL)
    first, second = race(**settings), race(**settings)
    assert first == second
    plain = outcomes_of(first["outcomes"], "plain")
    assert plain.right.sum() == round(400 * first["plain"])  # 40 of each digit
    test = load_dataset("digits", split_seed=3).indices("test")
    assert len(set(plain.groups)) == 400 and set(plain.groups) <= set(test)
    for measure in set(first["outcomes"]):
        outcomes = outcomes_of(first["outcomes"], measure)
        assert outcomes.right.mean() == pytest.approx(first[measure])
        if measure in ("blur", "tint", "noise"):
            assert set(outcomes.groups) < set(plain.groups)
    assert {"plain", "blur", "tint", "noise"} <= set(first)
    if arm == "one_rate":
        assert 0 <= first["old_after"] <= 1 and first["old_before"] > 1 / 7
        best = max(zip(first["tuning"], [-loss for loss in first["tuning_loss"]], strict=True))
        rates = [float(lr) for lr in settings["lrs"].split()]
        assert first["lr"] == rates[first["tuning_loss"].index(-best[1])]


@pytest.mark.parametrize(
    ("study", "others", "within"),
    [
        (TRANSFER_RACE, {"arm": "probe"}, {"plain": 0.01, "tint": 0.01, "by_stage": 0.01}),
        (RACE_TASKS, {}, {"distance": 1e-3, "probes": 0.021}),
    ],
)
def test_a_recorded_cell_comes_out_again(study, others, within):
    """Up to a few of 400 test and one of 50 training images: rounding differs by machine."""
    chosen = {"dataset": "digits", "per_class": 5, "split": 0, **others}
    (settings,) = (c for c in study.cells if chosen.items() <= c.items())
    table = read_study(study)
    recorded = (table[list(settings)] == list(settings.values())).all(axis=1)
    (row,) = table[recorded].to_dict("records")
    again = study.run(**settings)
    for measure, error in within.items():
        assert again[measure] == pytest.approx(row[measure], abs=error), measure


def test_nothing_is_forgotten_by_a_network_that_did_not_learn():
    untouched = forgetting(load_backbone(LITE0), "digits", LITE0, 64)
    assert untouched["old_after"] == pytest.approx(untouched["old_before"], abs=0.01)


def test_what_is_mirrored_keeps_its_class():
    ramp = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64)
    torch.manual_seed(0)
    for dataset, mirrored in (("digits", False), ("scenes", True)):
        light = augment("light", dataset, 64)
        falls = [bool(light(ramp)[0, 0, 0] > light(ramp)[0, 0, -1]) for _ in range(20)]
        assert any(falls) == mirrored
    assert augment("none", "scenes", 64) is None


def test_pooled_stages_are_the_means_of_the_stages_maps():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3, seed=0)
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    pooled = pooled_stages(backbone, images, batch_size=2)
    with torch.inference_mode():
        expected = backbone.features(images, up_to="stage2").mean((2, 3))
    np.testing.assert_allclose(pooled["stage2"], expected, rtol=1e-4, atol=1e-5)
    assert list(pooled) == list(backbone.stage_names[:-1])


def test_a_cell_tells_the_rate_that_was_trained_and_how_many_had_diverged(monkeypatch):
    """Short trainings like high rates; in full ones only lower rates learn."""
    task = make_task("digits", per_class=5, image_size=32, seed=0)
    network = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=10, seed=0)

    def train(rate, steps, validate):
        loss = 0.1 if steps < 300 or rate < 0.001 else float(np.log(10))
        return Trained(network, pd.DataFrame({"train_loss": [loss], "train_accuracy": [0.9]}))

    accuracy = iter([0.3, 0.5, 0.7])
    monkeypatch.setattr(
        "tlcourse.advice.rates.evaluate",
        lambda *_: Evaluation(loss=1.0, accuracy=next(accuracy)),
    )
    _, result = choose_and_test(train, task, lrs="0.0001 0.0003 0.001", steps=300, tuning_steps=50)
    assert (result["lr"], result["diverged"]) == (0.0003, 1)
    assert result["tuning"] == [0.3, 0.5, 0.7] and result["train_loss"] == 0.1
