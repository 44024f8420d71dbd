"""Costs against torchvision's published figures and by hand."""

import pytest
import torch
import torchvision
from torch import nn

from tlcourse.architectures import create
from tlcourse.networks.complexity import complexity


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg11", "resnet18", "resnet50", "densenet121", "mobilenet_v2",
             "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_16"]
)  # fmt: skip
def test_multiply_adds_are_the_published_ones(zeros, name):
    """torchvision counts with fvcore, in thousand millions, rounded to three digits behind."""
    published = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].meta
    table = complexity(zeros(name), image_size=224)
    assert table["multiply_adds"].sum() / 1e9 == pytest.approx(
        published["_ops"], rel=5e-3, abs=5e-4
    )
    assert table["parameters"].sum() == published["num_params"]


def test_se_resnet_50_costs_little_more(zeros):
    """Hu et al. 2018, table 2: 28.1 M parameters, less than one per cent more operations."""
    plain, se = (complexity(zeros(name), image_size=224) for name in ("resnet50", "seresnet50"))
    assert round(se["parameters"].sum() / 1e6, 1) == 28.1
    more = se["multiply_adds"].sum() / plain["multiply_adds"].sum() - 1
    assert 0 < more < 0.01


def test_bytes_by_hand():
    """A convolution keeps its input, ReLU its output, which the next layer takes; once each."""
    network = nn.Sequential()
    network.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    table = complexity(network, image_size=10)
    assert table.loc["stem", "activation_bytes"] == 4 * 100 * (3 + 8)
    assert table.loc["stem", "output"] == "4 × 10 × 10"
    assert table.loc["stem", "multiply_adds"] == 100 * (3 * 8 * 9 + 8 * 4)


def test_the_network_is_left_as_it_was():
    network = create("resnet20", num_classes=5).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    complexity(network, image_size=32)
    assert network.training and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
