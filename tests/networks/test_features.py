"""Cached features: the same as running the network, and never those of something else."""

import pytest
import torch

from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.features import DiskCache, cache_key, extract_features


@pytest.fixture
def images():
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)


@pytest.fixture
def backbone():
    return load_backbone("resnet18", pretrained=False)


def test_features_are_the_networks_own_and_can_be_trained_on(backbone, images):
    backbone.train()
    features = extract_features(backbone, images, batch_size=2)
    assert backbone.training  # the mode is put back
    backbone.eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone.head(features), backbone(images))
    backbone.head(features).sum().backward()
    backbone(images).sum().backward()  # and the network can still be fine-tuned afterwards


def test_the_statistics_of_batchnorm_do_not_move(backbone, images):
    before = {name: tensor.clone() for name, tensor in backbone.train().state_dict().items()}
    extract_features(backbone, images)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("make_cache", [dict, DiskCache], ids=["memory", "disk"])
def test_the_network_runs_once(make_cache, backbone, images, tmp_path, monkeypatch):
    cache = make_cache() if make_cache is dict else DiskCache(tmp_path)
    first = extract_features(backbone, images, cache=cache)
    monkeypatch.setattr(backbone, "features", None)  # a second run would fail
    assert torch.equal(extract_features(backbone, images, cache=cache), first)
    assert len(cache) == 1


def test_the_key_follows_weights_buffers_preprocessing_stage_and_images(backbone, images):
    keys = {cache_key(backbone, images, "neck"), cache_key(backbone, images, "stage2")}
    changed = images.clone()
    changed[0, 0, 0, 0] ^= 1
    keys.add(cache_key(backbone, changed, "neck"))
    keys.add(cache_key(backbone, images[:4], "neck"))
    keys.add(cache_key(load_backbone("timm/resnet18", pretrained=False), images, "neck"))
    backbone.stem[1].running_mean[0] += 1
    keys.add(cache_key(backbone, images, "neck"))
    assert len(keys) == 6
    with torch.no_grad():
        backbone.head.weight.zero_()
    assert cache_key(backbone, images, "neck") in keys  # the head is not part of the features


def test_a_damaged_cache_file_is_computed_again(backbone, images, tmp_path):
    cache = DiskCache(tmp_path)
    first = extract_features(backbone, images, cache=cache).clone()  # it is mapped from the file
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    assert torch.equal(extract_features(backbone, images, cache=cache), first)


def test_images_that_are_not_plain_are_refused(backbone, images):
    with pytest.raises(ValueError, match="expected uint8.*augment while training"):
        extract_features(backbone, images.float())
