"""Cells of transfer_race: what is chosen, what is held equal, and whether declarations hold."""

import numpy as np
import pandas as pd
import pytest
import torch

from tlcourse.advice.strategy_training import Trained
from tlcourse.advice.tasks import make_task
from tlcourse.datasets import load_dataset
from tlcourse.errors import StudyError
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.studies import STUDIES, probing
from tlcourse.studies.arms import ARMS, Arm, augment, fingerprint
from tlcourse.studies.batchnorm import BATCHNORM
from tlcourse.studies.measuring import choose_and_test, forgetting
from tlcourse.studies.outcomes import outcomes_of
from tlcourse.studies.race import race
from tlcourse.studies.transfer_race import TRANSFER_RACE, cell, columns
from tlcourse.studies.transfer_race_pilot import PILOT
from tlcourse.tuning.probing import fit_probe
from tlcourse.tuning.training import Evaluation

LITE0 = "efficientnet_lite0"
SMALL = {"image_size": 32, "steps": 10, "tuning_steps": 5}


def test_no_cell_stands_twice_and_the_pilots_splits_are_none_of_the_studys():
    for study in STUDIES.values():
        keys = [tuple(sorted(cell.items())) for cell in study.cells]
        assert len(set(keys)) == len(keys)
    splits = [{cell["split"] for cell in study.cells} for study in (PILOT, TRANSFER_RACE)]
    assert not splits[0] & splits[1]


@pytest.mark.parametrize(("study", "splits"), [(TRANSFER_RACE, 10), (PILOT, 3), (BATCHNORM, 10)])
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


def test_arms_that_are_compared_differ_in_what_their_names_say():
    """The same rates of pretrained stages in one_rate and one_tenth; the same steps in all."""
    by_arm = {cell["arm"]: cell for cell in TRANSFER_RACE.cells}
    one, tenth = (
        [float(lr) * factor for lr in by_arm[arm]["lrs"].split()]
        for arm, factor in (("one_rate", 1.0), ("one_tenth", 0.1))
    )
    assert one == pytest.approx(tenth)
    assert {(cell["steps"], cell["tuning_steps"]) for cell in TRANSFER_RACE.cells} == {(300, 50)}
    assert {sum(phase.epochs for phase in arm.phases(1.0)) for arm in ARMS.values()} == {10}


def test_another_recipe_is_another_cell_and_an_old_one_is_not_run(monkeypatch):
    before = cell("digits", 5, 0, columns("one_rate"), **SMALL)
    phases = ARMS["one_rate"].phases
    changed = Arm("", lambda lr: phases(2 * lr))
    monkeypatch.setitem(ARMS, "one_rate", changed)
    assert fingerprint("one_rate") != before["recipe"]
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


def test_a_probes_penalty_is_the_best_on_validation(monkeypatch):
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.normal(size=(60, 200)) + labels[:, None] * (np.arange(200) < 3) * 2
    split = (features[:20], labels[:20]), (features[20:], labels[20:])
    chosen = fit_probe(*split)
    for c in probing.PENALTIES:
        monkeypatch.setattr(probing, "PENALTIES", (c,))
        alone = fit_probe(*split)
        assert (alone.accuracy, -alone.loss) <= (chosen.accuracy, -chosen.loss)


@pytest.mark.parametrize(
    ("survives", "lr", "diverged"), [(1.0, 0.001, 0), (0.0003, 0.0003, 1), (0.0, 0.0001, 2)]
)
def test_what_diverged_is_trained_again_at_the_next_lower_rate(monkeypatch, survives, lr, diverged):
    """Short trainings like high rates; in full ones only rates up to ``survives`` learn."""
    task = make_task("digits", per_class=5, image_size=32, seed=0)
    network = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=10, seed=0)
    full = []

    def train(rate, steps, validate):
        full.extend([rate] if steps == 300 else [])
        loss = 0.1 if steps < 300 or rate <= survives else float(np.log(10))
        history = pd.DataFrame({"train_loss": [loss], "train_accuracy": [0.9]})
        return Trained(network, history.assign(rate=rate))

    accuracy = iter([0.3, 0.5, 0.7])
    monkeypatch.setattr(
        "tlcourse.studies.measuring.evaluate",
        lambda *_: Evaluation(loss=1.0, accuracy=next(accuracy)),
    )
    _, result = choose_and_test(train, task, lrs="0.0001 0.0003 0.001", steps=300, tuning_steps=50)
    assert (result["lr"], result["diverged"]) == (lr, diverged)
    assert full == [0.001, 0.0003, 0.0001][: diverged + 1]
