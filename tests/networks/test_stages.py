"""Stages against the networks of torchvision and timm that they were cut from."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from tlcourse.networks.stages import split_into_stages

ALL_STAGES = ["stem", "stage1", "stage2", "stage3", "stage4", "neck", "head"]
# One or two of every family, the smallest there is, at the smallest size it takes.
TORCHVISION = {
    "alexnet": 64,
    "vgg11_bn": 32,
    "resnet18": 32,
    "densenet121": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "efficientnet_b0": 32,
    "convnext_tiny": 32,
    "vit_b_32": 224,
}
TIMM = {
    "efficientnet_lite0": 32,
    "seresnet18": 32,
    "mobilenetv3_small_050": 32,
    "densenet121": 32,
    "convnext_atto": 32,
    "vit_tiny_patch16_224": 224,
    "vgg11": 224,
}
FALLBACK = {"shufflenet_v2_x0_5": 64, "regnet_y_400mf": 32}


def create(library: str, name: str) -> nn.Module:
    if library == "timm":
        return timm.create_model(name)
    return torchvision.models.get_model(name, weights=None)


@pytest.mark.parametrize(
    ("library", "name", "size"),
    [("torchvision", *item) for item in TORCHVISION.items()]
    + [("timm", *item) for item in TIMM.items()],
)
def test_stages_run_like_the_network_and_hold_each_parameter_once(library, name, size):
    network = create(library, name).eval()
    parameters = [id(p) for p in network.parameters()]
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        expected = network(images)
        x, shapes = images, {}
        stages = split_into_stages(network)
        for stage, module in stages.items():
            x = module(x)
            shapes[stage] = x.shape

    assert list(stages) == ALL_STAGES
    assert torch.equal(x, expected)
    assert sorted(id(p) for m in stages.values() for p in m.parameters()) == sorted(parameters)
    assert isinstance(stages["head"], nn.Linear)
    for stage, stride in {"stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32}.items():
        if "vit" not in name and name != "alexnet":
            assert shapes[stage][-1] == size // stride, stage


@pytest.mark.parametrize(("name", "size"), FALLBACK.items())
def test_other_networks_have_a_body_and_a_head(name, size):
    network = create("torchvision", name).eval()
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        expected = network(images)
        stages = split_into_stages(network)
        assert list(stages) == ["body", "head"]
        assert torch.equal(stages["head"](stages["body"](images)), expected)


def test_a_network_without_a_linear_classifier_is_refused():
    with pytest.raises(ValueError, match="SqueezeNet does not end in one linear classifier"):
        split_into_stages(create("torchvision", "squeezenet1_1"))
