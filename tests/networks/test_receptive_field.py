"""Receptive fields against published ones and against the formula."""

import math

import pytest
from torch import nn

from tlcourse.networks.receptive_field import receptive_fields


def formula(*layers: tuple[int, int]) -> int:
    """1 + Σ (kernel − 1) × product of the strides before (Araujo et al. 2019, equation 2)."""
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field


@pytest.mark.parametrize(("name", "published"), [("alexnet", 195), ("vgg16", 212)])
def test_the_published_fields(zeros, name, published):
    """Araujo et al. 2019, *Computing receptive fields of convolutional neural networks*."""
    assert receptive_fields(zeros(name), image_size=64)["stage4"].size == published


def test_a_residual_networks_field_is_that_of_its_longest_way(zeros):
    stage = [(3, 2), (3, 1), (3, 1), (3, 1)]
    layers = [(7, 2), (3, 2), *[(3, 1)] * 4]
    fields = receptive_fields(zeros("resnet18"), image_size=224)
    for k in (2, 3, 4):
        layers += stage
        assert fields[f"stage{k}"].size == formula(*layers)


def test_global_pooling_sees_everything():
    network = nn.Sequential()
    network.stem = nn.Conv2d(3, 4, 5)
    network.pool = nn.AdaptiveAvgPool2d(1)
    fields = receptive_fields(network, image_size=32)
    assert fields["stem"] == (5, 1, 2) and fields["pool"].size == math.inf


def test_squeeze_excitation_and_attention_see_everything_and_a_patch_only_itself(zeros):
    assert receptive_fields(zeros("seresnet18"), image_size=64)["stage1"].size == math.inf
    fields = receptive_fields(zeros("vit_tiny_patch4_32"), image_size=32)
    assert fields["stem"] == (4, 4, 1.5) and fields["stage1"].size == math.inf


def test_where_the_first_place_looks(zeros):
    """Odd kernels with even padding look at every s-th pixel, 2 × 2 pooling between two."""
    fields = receptive_fields(zeros("resnet18"), image_size=64)
    assert fields["stage4"] == (435, 32, 0)
    fields = receptive_fields(zeros("vgg11"), image_size=64)
    assert fields["stage1"][1:] == (4, 1.5)
    fields = receptive_fields(zeros("convnext_tiny"), image_size=64)
    assert fields["stage4"][1:] == (32, 15.5)
