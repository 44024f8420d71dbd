"""Heads on frozen features: equal steps for all, selection without leaks, cells that come again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tlcourse.errors import StudyError
from tlcourse.studies import STUDIES, Training, feature_task, train_head
from tlcourse.studies.head_arms import HEAD_ARMS, STARTS, head_arm, head_recipe
from tlcourse.studies.head_cell import best_of, head_cell
from tlcourse.studies.head_start_cell import head_start_cell
from tlcourse.studies.head_training import FeatureTask
from tlcourse.studies.outcomes import outcomes_of
from tlcourse.tuning import Evaluation

HEADS = STUDIES["heads"]
TINY = {"backbone": "efficientnet_lite0", "image_size": 32, "batch_size": 8, "steps": 20}


def blobs(*, images: int = 30, dim: int = 12, classes: int = 3) -> FeatureTask:
    """Classes that lie apart in the first feature and nowhere else."""
    torch.manual_seed(0)
    labels = torch.arange(images) % classes
    features = torch.randn(images, dim)
    features[:, 0] += 6.0 * labels
    return FeatureTask(
        (features, labels), (features, labels), (features, labels), classes, np.arange(len(labels))
    )


def trained(head: nn.Module, task: FeatureTask, **options: int) -> Training:
    fixed = {"lr": 0.01, "weight_decay": 0.01, "steps": 40, "batch_size": 8, "seed": 0}
    return train_head(head, task.train, task.validation, **{**fixed, **options})


@pytest.mark.parametrize("arm", HEAD_ARMS)
@pytest.mark.parametrize("images", [6, 30])
def test_all_heads_and_sizes_take_the_same_number_of_steps(
    arm: str, images: int, monkeypatch: pytest.MonkeyPatch
):
    steps = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *rest: steps.append(1) or step(self, *rest)
    )
    task = blobs(images=images)
    result = trained(head_arm(arm).make(12, 3), task)
    assert len(steps) == result.steps == 40


def test_early_stopping_takes_the_best_weights_back():
    task = blobs()
    guessed = task.train[0], task.train[1].flip(0)  # what no training gets better at for long
    head = nn.Linear(12, 3)
    fixed = {"lr": 0.01, "weight_decay": 0.01, "steps": 400, "batch_size": 8, "seed": 0}
    result = train_head(head, task.train, guessed, patience=2, **fixed)
    assert result.steps < 400
    assert result.validation.accuracy == max(result.curve)


@pytest.mark.parametrize("start", STARTS)
def test_every_start_is_made_of_the_training_set_and_the_seed_only(start: str):
    task, heads = blobs(), []
    for _ in range(2):
        torch.manual_seed(3)
        head = nn.Linear(12, 3)
        STARTS[start](head, task.train)
        heads.append(head)
    assert torch.equal(heads[0].weight, heads[1].weight)


def test_selection_looks_at_the_training_set_and_keeps_what_tells_classes_apart():
    task = blobs()
    constant = torch.ones(30, 1)
    features = torch.cat([constant, task.train[0]], dim=1)
    data = features, task.train[1]
    wide = replace(task, train=data, validation=data, test=data)
    assert torch.equal(wide.only(1).test[0], features[:, 1:2])  # and no warning of constants


def test_the_choice_is_by_accuracy_then_by_loss():
    head = nn.Linear(1, 1)
    tried = {
        (0.1, 0.0): Training(head, 0.0, (), 1, Evaluation(loss=0.2, accuracy=0.8)),
        (0.2, 0.0): Training(head, 0.0, (), 1, Evaluation(loss=0.5, accuracy=0.9)),
        (0.3, 0.0): Training(head, 0.0, (), 1, Evaluation(loss=0.4, accuracy=0.9)),
    }
    assert best_of(tried) == (0.3, 0.0)


def test_smaller_draws_lie_within_larger_ones_and_the_test_stays():
    where = {"pool": 6, "split": 0, "backbone": "efficientnet_lite0", "image_size": 32}
    small, large = (feature_task("digits", per_class=n, **where) for n in (3, 6))
    rows = {tuple(row) for row in large.train[0].tolist()}
    assert {tuple(row) for row in small.train[0].tolist()} <= rows
    assert torch.equal(small.test[0], large.test[0])


@pytest.mark.parametrize("arm", ["logistic", "best_64", "mlp_early"])
def test_a_cell_comes_out_the_same_again(arm: str):
    settings = {
        **TINY, "dataset": "digits", "per_class": 3, "pool": 6, "split": 0, "arm": arm,
        "recipe": "" if arm == "logistic" else head_recipe(arm),
        "lrs": "0.002 0.02", "decays": "0.01 1",
    }  # fmt: skip
    one, other = head_cell(**settings), head_cell(**settings)
    assert one == other
    assert outcomes_of(one["outcomes"], "plain").right.mean() == pytest.approx(one["plain"])
    assert one["gap"] == pytest.approx(one["train"] - one["plain"], abs=1e-6)


def test_another_recipe_is_told():
    with pytest.raises(StudyError, match="another recipe"):
        head_cell(
            **TINY, dataset="digits", per_class=3, pool=6, split=0, arm="mlp", recipe="0",
            lrs="0.1", decays="0",
        )  # fmt: skip


def test_a_head_of_zeros_moves_no_feature_in_its_first_step_of_sgd():
    fixed = {
        **TINY, "batch_size": 4, "dataset": "digits", "per_class": 2, "held_out": 1, "split": 0,
        "optimizer": "SGD", "lr": 0.01,
    }  # fmt: skip
    cells = {
        (scale, steps): head_start_cell(**{**fixed, "scale": scale, "steps": steps})
        for scale in ("1", "0")
        for steps in (1, 3)
    }
    moved = {start: cell["moved"] for start, cell in cells.items()}
    assert moved["0", 1] == 0 < moved["0", 3]
    assert moved["1", 1] > 0
    answers = outcomes_of(cells["1", 3]["outcomes"], "plain")
    assert answers.right.sum() == round(10 * cells["1", 3]["plain"]) and len(answers.groups) == 10


def test_no_two_cells_of_the_studies_are_the_same_and_each_comparison_has_both_arms():
    for study in (HEADS, STUDIES["scaled_init"]):
        assert len({tuple(sorted(cell.items())) for cell in study.cells}) == len(study.cells)
        for comparison in study.comparisons:
            cells = [
                cell
                for cell in study.cells
                if all(cell[k] in v for k, v in (comparison.where or {}).items())
            ]
            sides = [
                {
                    tuple(cell[column] for column in (*study.setting, "split"))
                    for cell in cells
                    if all(cell[k] == v for k, v in side.items())
                }
                for side in (comparison.a, comparison.b)
            ]
            assert sides[0] == sides[1] != set(), comparison.id
