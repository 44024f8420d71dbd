"""Small networks against the paper's table and what a shortcut must do."""

import pytest
import timm
import torch

from tlcourse.architectures import create
from tlcourse.architectures.small_resnet import PaddedShortcut, small_resnet


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_parameters_are_those_of_the_paper(depth, millions):
    """He et al. 2016, table 6."""
    network = small_resnet(depth, kind="resnet")
    assert count(network) / 1e6 == pytest.approx(millions, abs=0.05 if depth == 110 else 0.005)
    assert count(small_resnet(depth, kind="plain")) == count(network)


def test_depth_counts_layers_with_weights():
    network = small_resnet(32, kind="resnet")
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 32


def test_a_residual_block_without_its_residual_passes_its_input_on_and_a_plain_one_nothing():
    images = torch.rand(2, 3, 32, 32)
    for kind, passes in (("resnet", True), ("seresnet", True), ("plain", False)):
        network = small_resnet(8, kind=kind).eval()
        block = network.stage1[0]
        torch.nn.init.zeros_(block.norm2.weight)
        x = network.stem(images)
        assert torch.equal(block(x), x if passes else torch.zeros_like(x)), kind


def test_the_padded_shortcut_takes_every_second_place_and_adds_empty_channels():
    x = torch.rand(2, 16, 8, 8)
    y = PaddedShortcut(16, 32, 2)(x)
    assert torch.equal(y[:, :16], x[:, :, ::2, ::2]) and y[:, 16:].abs().sum() == 0
    assert y.shape == (2, 32, 4, 4)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("name", ["plain20", "resnet20", "seresnet20"])
def test_sizes_of_small_images(name, size):
    assert create(name, num_classes=7)(torch.rand(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize(("depth", "near"), [(21, "20 and 26"), (3, "8 and 14"), (13, "8 and 14")])
def test_an_impossible_depth_names_its_neighbours(depth, near):
    with pytest.raises(ValueError, match=f"{depth} is not 6 n .* near depths are {near}"):
        small_resnet(depth, kind="resnet")


def test_the_small_vision_transformer_is_timms_with_small_patches():
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4)
    assert count(create("vit_tiny_patch4_32")) == count(theirs)
