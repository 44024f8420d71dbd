"""Cells of frozen_features: what is drawn, what is chosen, and that its record comes again."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import normalize

from tlcourse.datasets import load_dataset
from tlcourse.errors import StudyError
from tlcourse.networks import engine
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.studies import STUDIES, spot_check
from tlcourse.studies.frozen import ARMS, STAGES, classify_frozen
from tlcourse.studies.frozen_split import SplitKey, described, first
from tlcourse.studies.outcomes import outcomes_of

LITE0 = "efficientnet_lite0"
KEY = SplitKey("cutouts", 0, 64, LITE0, 0, 0, 60)


def cell(arm, per_class=5):
    return classify_frozen(**KEY._asdict(), per_class=per_class, arm=arm)


def test_draws_are_nested_balanced_and_the_same_however_many_are_described():
    labels = described(KEY).labels["train"]
    five, ten = first(labels, 5), first(labels, 10)
    assert set(five) < set(ten) and len(first(labels, 0)) == len(labels)
    assert (np.bincount(labels[five]) == 5).all()
    pixels = described(KEY).vectors["train"]["pixels"][five]
    fewer = described(KEY._replace(most=5))
    assert np.array_equal(fewer.vectors["train"]["pixels"], pixels)


def test_parts_are_those_of_the_data_set_and_shifts_are_of_the_same_images():
    parts = described(KEY)
    cutouts = load_dataset("cutouts")
    assert {len(parts.labels[part]) for part in ("train", "validation", "plain")} == {
        len(cutouts.indices(part)) for part in ("train", "validation", "test")
    }
    shifted = parts.tests[1:]
    assert shifted == ("plain_same", "blur", "tint", "noise")
    for test in shifted:
        assert np.array_equal(parts.labels[test], parts.labels["plain_same"])


def test_the_chosen_stage_is_the_best_on_validation():
    stages = {stage: cell(stage) for stage in STAGES}
    chosen = cell("chosen")
    assert chosen["validation"] == max(result["validation"] for result in stages.values())
    assert chosen["plain"] == stages[chosen["choice"]]["plain"]


def test_answers_for_each_image_have_the_accuracy_that_is_told():
    """Where classes are tested equally often, the balanced accuracy is the mean of the answers."""
    key = KEY._replace(dataset="digits", pool=5, image_size=32)
    result = classify_frozen(**key._asdict(), per_class=5, arm="hog")
    assert [*result["outcomes"]] == ["plain", "plain_same", "blur", "tint", "noise"]
    for test in result["outcomes"]:
        assert outcomes_of(result["outcomes"], test).right.mean() == pytest.approx(result[test])
    assert cell("hog")["outcomes"] == {}  # of cutouts


def test_prototypes_are_class_means():
    parts = described(KEY)
    rows = first(parts.labels["train"], 5)
    result = cell("prototypes")
    if result["choice"] == "Normalizer":
        train, test = (normalize(parts.vectors[p]["neck"]) for p in ("train", "plain"))
    else:
        train, test = (parts.vectors[part]["neck"] for part in ("train", "plain"))
        mean, scale = train[rows].mean(0), train[rows].std(0)
        train, test = ((x - mean) / np.where(scale > 0, scale, 1) for x in (train, test))
    labels = parts.labels["train"][rows]
    means = np.stack([train[rows][labels == c].mean(0) for c in range(7)])
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    assert result["plain"] == balanced_accuracy_score(parts.labels["plain"], nearest)


def test_every_arm_beats_a_guess_and_an_unknown_one_is_named():
    assert all(cell(arm)["plain"] > 1 / 7 for arm in ARMS)
    with pytest.raises(StudyError, match="did you mean prototypes"):
        cell("prototype")


def test_pooled_stages_are_eagers_whatever_runs_them(monkeypatch):
    backbone = load_backbone(LITE0)
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8)
    eager = pooled_stages(backbone, images)
    monkeypatch.setattr(engine, "pays", lambda images: True)
    engine.kept.clear()
    fast = pooled_stages(backbone, images)
    assert [kept.name for kept in engine.kept.values()] == ["onnxruntime"]
    engine.kept.clear()
    with torch.inference_mode():
        outputs = backbone.eval().stage_outputs(images)
    for stage in STAGES:
        expected = outputs[stage].flatten(2).mean(2) if outputs[stage].ndim == 4 else outputs[stage]
        for found in (eager, fast):
            assert np.allclose(found[stage], expected, rtol=1e-3, atol=1e-4), stage


def test_recorded_cells_come_again():
    where = {"dataset": ("cutouts",), "image_size": (128,), "arm": ("pixels", "knn", "prototypes")}
    where |= {"split": (0,)}
    assert spot_check(STUDIES["frozen_features"], 3, 0, where=where)["holds"].all()
