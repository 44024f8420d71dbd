"""Cells of regularisation: what each arm changes of plain fine-tuning, and that one runs."""

import pytest
import torch

from tlcourse.advice.tasks import make_task
from tlcourse.errors import StudyError
from tlcourse.studies import STUDIES, regularised
from tlcourse.studies.regularised import REGULARISERS, regularise, regulariser_recipe

LITE0 = "efficientnet_lite0"
TINY = {
    "dataset": "digits", "per_class": 2, "split": 0, "backbone": LITE0, "image_size": 32,
    "batch_size": 8, "steps": 10, "tuning_steps": 10, "lrs": "0.001",
}  # fmt: skip


@pytest.mark.parametrize("arm", REGULARISERS)
def test_an_arm_changes_what_it_is_named_after_and_nothing_else(arm, monkeypatch):
    told = {}
    monkeypatch.setattr(regularised, "fit", lambda *a, **options: told.update(options, data=a[2]))
    how = REGULARISERS[arm]
    task = make_task("digits", per_class=2, image_size=32, seed=0, max_test=20)
    network = regularised.start(LITE0, how, 10, seed=0)
    fixed = {"mirror": False, "lr": 0.1, "steps": 10, "batch_size": 8, "seed": 0}
    regularised.fine_tune(network, how, task, **fixed)
    changed = {
        "augment": told["augment"] is not None,
        "mix": told["mix"] is not None,
        "label_smoothing": told["label_smoothing"] > 0,
        "ema_decay": told["ema_decay"] is not None,
        "patience": told["patience"] is not None,
        "dropout": isinstance(network.head, torch.nn.Sequential),
        "decay": how.weight_decay != REGULARISERS["none"].weight_decay,
    }
    assert sum(changed.values()) == (arm != "none")
    assert (told["data"] is None) == (arm != "early")


@pytest.mark.parametrize("arm", ["mixup", "early"])
def test_a_cell_runs_and_says_how_far_it_fitted(arm):
    result = regularise(**TINY, arm=arm, recipe=regulariser_recipe(arm))
    assert result["gap"] == pytest.approx(result["train_accuracy"] - result["plain"], abs=1e-6)
    assert set(result["outcomes"]) >= {"plain", "blur"}


def test_another_recipe_is_refused():
    with pytest.raises(StudyError, match="has another recipe now"):
        regularise(**TINY, arm="mixup", recipe="00000000")
    with pytest.raises(StudyError, match="did you mean mixup"):
        regularised.regulariser("mixupp")


def test_every_comparison_has_its_cells():
    study = STUDIES["regularisation"]
    arms = {cell["arm"] for cell in study.cells}
    for comparison in study.comparisons:
        assert {comparison.a["arm"], comparison.b["arm"]} <= arms
    assert 200 <= len(study.cells) <= 300
