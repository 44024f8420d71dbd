"""Cached features: the same as running the network, and never those of something else."""

import errno
import os

import pytest
import torch
from torch import nn

from tlcourse import runtime
from tlcourse.errors import OutputError
from tlcourse.networks import feature_cache
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.feature_cache import DiskCache, cache_key
from tlcourse.networks.features import extract_features


@pytest.fixture
def images():
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)


@pytest.fixture
def backbone():
    return load_backbone("tlcourse/resnet20", pretrained=False)


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
    next(backbone.stem.buffers())[0] += 1
    keys.add(cache_key(backbone, images, "neck"))
    pool = backbone.neck[0]
    backbone.neck[0] = nn.AdaptiveMaxPool2d(1)  # no weights, other features
    keys.add(cache_key(backbone, images, "neck"))
    backbone.neck[0] = pool
    assert len(keys) == 7
    with torch.no_grad():
        backbone.head.weight.zero_()
    assert cache_key(backbone, images, "neck") in keys  # the head is not part of the features


def test_a_damaged_cache_file_is_computed_again(backbone, images, tmp_path):
    cache = DiskCache(tmp_path)
    first = extract_features(backbone, images, cache=cache).clone()  # it is mapped from the file
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    assert len(cache) == 0 and list(cache) == []
    assert torch.equal(extract_features(backbone, images, cache=cache), first)


def test_images_that_are_not_plain_are_refused(backbone, images):
    with pytest.raises(ValueError, match="expected uint8.*augment while training"):
        extract_features(backbone, images.float())


def test_the_least_recently_used_goes_first_and_the_folder_stays_small(tmp_path):
    tensor = torch.zeros(250)  # 1,000 bytes, and the file's header
    cache = DiskCache(tmp_path, max_bytes=3500)
    for age, key in enumerate("cba"):  # written in an order of their own, a the oldest
        cache[key] = tensor
        os.utime(tmp_path / f"{key}.safetensors", ns=(10**9 * (3 - age),) * 2)
    assert torch.equal(cache["a"], tensor)  # and now the newest
    other = DiskCache(tmp_path, max_bytes=3500)  # as of another process
    other["d"] = tensor
    assert list(cache) == ["a", "c", "d"]
    other["large"] = torch.zeros(1000)
    assert list(cache) == ["a", "c", "d"] and "large" not in other
    for key in "xyz":
        cache[key] = tensor
    assert list(cache) == ["x", "y", "z"]
    del cache["y"]
    assert list(cache) == ["x", "z"]
    with pytest.raises(KeyError, match="y"):
        del cache["y"]


def test_a_cache_for_all_lies_in_the_build_folder_and_can_be_left_out(
    backbone, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(runtime, "BUILD_DIR", tmp_path / "build")
    extract_features(backbone, images, cache=None)
    assert not list(tmp_path.iterdir())
    features = extract_features(backbone, images)
    assert len(list((tmp_path / "build" / "features").iterdir())) == 1
    monkeypatch.setattr(backbone, "features", None)  # a second run would fail
    assert torch.equal(extract_features(backbone, images), features)
    (tmp_path / "file").touch()
    monkeypatch.undo()
    monkeypatch.setattr(runtime, "BUILD_DIR", tmp_path / "file")  # no folder can be made there
    assert torch.equal(extract_features(backbone, images), features)


def test_a_cache_that_takes_no_file_is_done_without_and_one_note_says_so(
    backbone, images, tmp_path, monkeypatch
):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    expected = extract_features(backbone, images, cache=None)
    cache = DiskCache(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    notes = []
    for some in (images, images.flip(0)):
        with pytest.warns(UserWarning, match=r"not kept \(No space left on device\); make") as told:
            extract_features(backbone, some, cache=cache)
        notes += [str(note.message) for note in told]
    assert len(set(notes)) == 1 < len(notes)  # which Python shows once
    with pytest.raises(OutputError, match="x.safetensors cannot be written"):
        cache["x"] = expected
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    extract_features(backbone, images, cache=cache)
    assert len(cache) == 1


@pytest.mark.parametrize("error", [RuntimeError("unable to open file"), PermissionError(13, "no")])
def test_a_cache_file_that_goes_while_it_is_opened_counts_as_absent(error, tmp_path, monkeypatch):
    def gone(*_, **__):
        raise error

    cache = DiskCache(tmp_path)
    cache["a"] = torch.zeros(3)
    monkeypatch.setattr(feature_cache, "load_file", gone)
    monkeypatch.setattr(feature_cache, "safe_open", gone)
    assert "a" not in cache and not list(cache)


def test_features_that_are_too_large_to_keep_are_returned(backbone, images, tmp_path):
    cache = DiskCache(tmp_path, max_bytes=100)
    assert extract_features(backbone, images, cache=cache).shape == (5, 64)
    assert not list(cache)
