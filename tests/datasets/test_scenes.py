"""Scenes: what is said of the object is where it is."""

import pytest
import torch
from torchvision.ops import masks_to_boxes

from tlcourse.datasets import load_dataset
from tlcourse.datasets.scenes import make_scenes
from tlcourse.errors import DatasetError


@pytest.fixture(scope="module")
def scenes():
    return make_scenes("train", 40, image_size=64, object_size=24, seed=3)


def test_boxes_are_those_of_the_masks(scenes):
    left_top, right_bottom = masks_to_boxes(scenes.masks).split(2, dim=1)
    boxes = torch.cat([left_top, right_bottom + 1], dim=1)
    # Reducing a cutout may fade its outermost pixels.
    assert (boxes - scenes.boxes).abs().max() <= 2
    assert (scenes.boxes[:, 2:] - scenes.boxes[:, :2]).amax(dim=1).eq(24).all()


def test_a_seed_draws_the_same_scenes(scenes):
    again = make_scenes("train", 40, image_size=64, object_size=24, seed=3)
    assert torch.equal(again.images, scenes.images) and torch.equal(again.masks, scenes.masks)
    other = make_scenes("train", 40, image_size=64, object_size=24, seed=4)
    assert not torch.equal(other.images, scenes.images)


def test_cells_are_numbered_as_one_reads(scenes):
    middles = (scenes.boxes[:, :2] + scenes.boxes[:, 2:]) / 2
    for (x, y), cell in zip(middles.tolist(), scenes.cells(2).tolist(), strict=True):
        assert cell == 2 * (y >= 32) + (x >= 32)


def test_a_scene_tells_which_cutout_is_on_it(scenes):
    cutouts = load_dataset("cutouts")
    assert scenes.labels.tolist() == cutouts.labels[scenes.cutouts].tolist()
    assert set(scenes.cutouts.tolist()) <= set(cutouts.indices("train"))


def test_only_the_objects_that_are_asked_for_are_shown():
    rows = load_dataset("cutouts").indices("train")[:3].tolist()
    scenes = make_scenes("train", 30, image_size=32, object_size=16, seed=0, objects=rows)
    assert set(scenes.cutouts.tolist()) == set(rows)


def test_objects_of_another_split_or_none_are_refused():
    other = int(load_dataset("cutouts").indices("test")[0])
    size = {"image_size": 32, "object_size": 16, "seed": 0}
    with pytest.raises(DatasetError, match=rf"rows \[{other}\] are not of train"):
        make_scenes("train", 1, objects=[other], **size)
    with pytest.raises(DatasetError, match="none are given"):
        make_scenes("train", 1, objects=[], **size)


def test_wrong_sizes_and_splits_are_refused():
    with pytest.raises(DatasetError, match="object_size 65 .* at most image_size 64"):
        make_scenes("train", 1, image_size=64, object_size=65, seed=0)
    with pytest.raises(DatasetError, match="no split 'val'; splits are train"):
        make_scenes("val", 1, image_size=64, object_size=24, seed=0)
