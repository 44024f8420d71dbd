"""Crops of photographs: real pictures, drawn by a seed."""

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from tlcourse.datasets import photographs
from tlcourse.errors import DatasetError


def test_a_seed_draws_the_same_crops_and_another_one_others():
    first, again, other = (
        photographs.photograph_crops(8, image_size=24, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len({image.numpy().tobytes() for image in first}) == 8


def test_crops_are_parts_of_the_photographs(tmp_path, monkeypatch):
    Image.new("RGB", (90, 60), (10, 120, 250)).save(tmp_path / "one.png")
    monkeypatch.setattr(photographs, "FOLDERS", {tmp_path: ("one.png",)})
    crop = photographs.photograph_crops(1, image_size=16, seed=0)[0]
    whole = pil_to_tensor(Image.open(tmp_path / "one.png"))
    assert torch.equal(crop, whole[:, :16, :16])


def test_missing_photographs_and_no_crops_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match="0 crops; expected one or more"):
        photographs.photograph_crops(0, image_size=16, seed=0)
    monkeypatch.setattr(photographs, "FOLDERS", {tmp_path: ("one.png",)})
    with pytest.raises(DatasetError, match="one.png missing: reinstall"):
        photographs.photograph_crops(1, image_size=16, seed=0)
