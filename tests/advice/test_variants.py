"""Tasks made of the same images: which classes, which backgrounds, and what they share."""

import numpy as np
import pytest
import torch

from tlcourse.advice.tasks import make_task
from tlcourse.advice.variants import ANIMALS, PLANTS, SCENES, source_of
from tlcourse.datasets import load_dataset, tint
from tlcourse.studies.transfer_race import IN_FULL
from tlcourse.studies.transfer_race_variants import DATASETS

SMALL = {"per_class": 5, "image_size": 32, "seed": 1, "max_test": 80}


def test_every_cutout_is_an_animal_or_a_plant_and_all_tasks_of_them_are_one_source():
    names = load_dataset("cutouts").class_names
    assert sorted((*ANIMALS, *PLANTS)) == sorted(names)
    assert {source_of(name) for name in SCENES} == {"cutouts"}
    assert {source_of(name) for name in DATASETS} == {"cutouts", "elpv"}
    assert len({source_of(name) for name in IN_FULL}) == 4
    kingdoms = SCENES["scenes_kingdoms"].relabelled(names)
    assert [names[i] for i in np.flatnonzero(kingdoms == 0)] == list(ANIMALS)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_further_task_has_equal_classes_and_tears_no_group(name):
    task = make_task(name, **SMALL)
    assert task.train[1].bincount().tolist() == [5] * task.num_classes
    assert not set(task.train_groups) & set(task.test_groups)
    assert len(task.train_groups) == len(task.train[1])
    assert name.startswith("elpv") or set(task.test_groups) < set(range(187))


def test_backgrounds_and_light_are_the_variants_own():
    plain, checked, tinted = (
        make_task(name, **SMALL) for name in ("scenes", "scenes_checks", "scenes_tinted")
    )
    assert torch.equal(tinted.train[0], tint(plain.train[0]))
    assert torch.equal(tinted.test["plain"][0], tint(plain.test["plain"][0]))
    for task, test in ((checked, "plain"), (plain, "background")):  # squares of one colour
        corner = task.test[test][0][:, :, :3, :3].flatten(2)
        assert (corner == corner[..., :1]).all(2).all(1).float().mean() > 0.5
    assert not torch.equal(checked.test["background"][0], checked.test["plain"][0])


def test_kinds_of_solar_cells_share_no_cell_and_are_all():
    mono, poly = (load_dataset(f"elpv_{kind}") for kind in ("mono", "poly"))
    assert (len(mono), len(poly)) == (1074, 1550)  # Deitsch et al. 2019
    assert not set(mono.images.files) & set(poly.images.files)
    assert not set(mono.groups) & set(poly.groups)
    assert sum(map(len, (mono, poly))) == len(load_dataset("elpv"))
