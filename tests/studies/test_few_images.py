"""Cells of few_images: what an arm may know, and that its record comes again."""

import numpy as np
import pytest

from tlcourse.datasets import load_dataset
from tlcourse.errors import StudyError
from tlcourse.studies import STUDIES
from tlcourse.studies.few_images_cell import (
    FewKey,
    Parts,
    _labelled,
    _of_classes,
    _scenes,
    _semi_supervised,
    classify_few,
)
from tlcourse.tuning.probing import fit_probe

KEY = FewKey("digits", 0, 32, "efficientnet_lite0", 4)


def clusters(labels: np.ndarray) -> Parts:
    """Two far clusters of 20 in every part, with labels of our own for those to train on."""
    generator = np.random.default_rng(0)
    where = np.repeat([0, 1], 20)
    vectors = {
        name: {s: generator.normal(8.0 * where[:, None], 1, (40, 3)) for s in ("stage3", "neck")}
        for name in ("train", "validation", "test")
    }
    return Parts(vectors, {"train": labels, "validation": where, "test": where}, where)


@pytest.mark.parametrize("arm", ["self_training", "spreading"])
def test_labels_of_the_pool_are_not_looked_at_and_its_images_are(arm):
    truth = np.repeat([0, 1], 20)
    labelled = np.array([0, 20])
    probe = fit_probe((np.eye(2), np.array([0, 1])), (np.eye(2), np.array([0, 1])))
    answers = []
    for labels in (truth, np.where(np.isin(np.arange(40), labelled), truth, 1 - truth)):
        parts = clusters(labels)
        learner = _semi_supervised(parts, labelled, "neck", arm, probe._replace(c=100.0))
        answers.append(learner.predict(parts.vectors["test"]["neck"]))
        scaled = learner[0].mean_
        assert np.allclose(scaled, parts.vectors["train"]["neck"].mean(0))  # of all the pool
    assert np.array_equal(*answers)
    assert (answers[0] == truth).all()


def test_images_that_no_label_reaches_say_nothing():
    """scikit-learn gives them 0/0, and then the first class to whatever has one as a neighbour."""
    parts = clusters(np.repeat([0, 1], 20))
    probe = fit_probe((np.eye(2), np.array([0, 1])), (np.eye(2), np.array([0, 1])))
    learner = _semi_supervised(parts, np.array([20]), "neck", "spreading", probe)
    assert np.isfinite(learner[-1].label_distributions_).all()


def test_unequal_classes_have_as_many_images_in_all():
    labels = np.tile([0, 1], 40)
    assert np.bincount(labels[_labelled(labels, 20, "labels")]).tolist() == [20, 20]
    assert np.bincount(labels[_labelled(labels, 20, "unequal")]).tolist() == [36, 4]


def test_so_many_animals_of_each_class_are_in_the_scenes(monkeypatch):
    shown = []

    def note(split, count, **options):
        shown.append(options["objects"])
        raise StopIteration

    monkeypatch.setattr("tlcourse.studies.few_images_cell.make_scenes", note)
    for objects in (1, 4):
        with pytest.raises(StopIteration):
            _scenes(KEY._replace(dataset="scenes"), objects)
    cutouts = load_dataset("cutouts", split_seed=0)
    few, more = shown
    assert set(few) < set(more) <= set(cutouts.indices("train").tolist())
    assert np.bincount(cutouts.labels[more]).tolist() == [4] * 7
    assert len(set(cutouts.groups[more])) == len(more)


def test_classes_are_drawn_by_the_split_and_numbered_anew():
    parts = clusters(np.repeat([0, 1], 20))
    one = _of_classes(parts, 1, 0)
    assert {name: set(labels) for name, labels in one.labels.items()} == {
        "train": {0},
        "validation": {0},
        "test": {0},
    }
    assert len(one.vectors["test"]["neck"]) == len(one.groups) == 20


def test_an_unknown_arm_is_refused():
    cell = {"per_class": 2, "objects": 0, "classes": 0, **KEY._asdict()}
    with pytest.raises(StudyError, match="did you mean spreading"):
        classify_few(**cell, arm="spread")


def test_every_comparison_has_cells_on_both_sides():
    study = STUDIES["few_images"]
    for comparison in study.comparisons:
        for side in (comparison.a, comparison.b):
            wanted = {**{k: (v,) for k, v in side.items()}}
            found = [
                cell
                for cell in study.cells
                if all(cell[k] in v for k, v in {**(comparison.where or {}), **wanted}.items())
            ]
            assert found, (comparison.id, side)
