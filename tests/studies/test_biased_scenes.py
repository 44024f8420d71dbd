"""Biased scenes: backgrounds have the colour that is said, objects theirs."""

import pytest
import torch

from tlcourse.studies import biased_scenes
from tlcourse.studies.biased_scenes import (
    _data,
    _scenes,
    coloured,
    colours,
    learn_biased,
    tied_colours,
)
from tlcourse.studies.outcomes import outcomes_of


def test_objects_stay_and_backgrounds_take_the_colour():
    scenes = _scenes("train", 2, 48, 0)
    images = coloured(scenes, torch.zeros(len(scenes.labels), dtype=torch.int64))
    there = scenes.masks[:, None].expand_as(images)
    assert torch.equal(images[there], scenes.images[there])
    shift = torch.where(there, 0.0, images.float() - scenes.images).mean((0, 2, 3))
    assert shift[0] > 0 > shift[1]  # redder


def test_colours_differ_by_class_and_tell_it_as_often_as_is_said():
    seven = colours(7)
    assert torch.cdist(seven, seven).fill_diagonal_(9).min() > 0.2
    labels = torch.arange(7).repeat(1000)
    own = (tied_colours(labels, 0.9, 7, seed=0) == labels).float().mean()
    assert abs(own - (0.9 + 0.1 / 7)) < 0.01
    assert (tied_colours(labels, 1.0, 7, seed=0) == labels).all()


def test_swapped_tests_show_the_same_objects_in_another_classs_colour():
    scenes = _scenes("test", 2, 48, 0)
    plain, swapped = _data(scenes, 0.0, 0, "plain"), _data(scenes, 1.0, 0, "swapped")
    there = scenes.masks[:, None].expand_as(scenes.images)
    assert torch.equal(plain.data[0][there], swapped.data[0][there])
    background = ~scenes.masks[:, None].expand_as(scenes.images)
    own = coloured(scenes, scenes.labels).float()[background]
    shown, other = swapped.data[0].float()[background], plain.data[0].float()[background]
    assert (shown - own).abs().mean() > (other - own).abs().mean()  # farther than any other colour


@pytest.mark.parametrize("arm", ["two_phase", "extraction"])
def test_a_cell_tests_the_same_animals_in_other_colours(arm, monkeypatch):
    monkeypatch.setattr(biased_scenes, "STEPS", 10)
    small = {"per_class": 2, "split": 0, "tied": 0.9, "image_size": 32}
    result = learn_biased(arm=arm, backbone="efficientnet_lite0", **small)
    plain, swapped = (outcomes_of(result["outcomes"], test) for test in ("plain", "swapped"))
    assert list(plain.groups) == list(swapped.groups) and len(plain.groups) == 7 * 50
    assert plain.right.mean() == pytest.approx(result["plain"])
    assert swapped.right.mean() == pytest.approx(result["swapped"])
