"""Every network against torchvision's or timm's: parameters, logits, gradients; and wrong input."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from tlcourse.architectures import available, create, resnet, vgg
from tlcourse.architectures.alexnet import TORCHVISION_NAMES as ALEXNET_NAMES
from tlcourse.architectures.layers import load_renamed
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation

NAME_RULES = {"alexnet": ALEXNET_NAMES}
for _name, _depths in vgg.DEPTHS.items():
    NAME_RULES[_name] = vgg.torchvision_names(_depths, batch_norm=False)
    NAME_RULES[f"{_name}_bn"] = vgg.torchvision_names(_depths, batch_norm=True)
for _name in available():
    if "resnet" in _name:
        NAME_RULES[_name] = resnet.TORCHVISION_NAMES


def reference(name: str, **options: int) -> nn.Module:
    """The library's network of that name."""
    library = timm.create_model if name.startswith("se") else torchvision.models.get_model
    return library(name, **options)


def randomise(network: nn.Module) -> nn.Module:
    """Weights of unit gain, and BatchNorm statistics that are not zero and one."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if "running_var" in name or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.ndim == 1:
            tensor.normal_(std=0.1, generator=generator)
        elif tensor.ndim > 1:
            # Uniform draws are faster; this bound keeps the variance of what passes through.
            bound = (3 / tensor[0].numel()) ** 0.5
            tensor.uniform_(-bound, bound, generator=generator)
    return network


@pytest.mark.parametrize("name", available())
class TestAgainstTheReference:
    def test_parameters(self, name):
        with torch.device("meta"):
            ours, theirs = create(name), reference(name)
        counts = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
        assert counts[0] == counts[1]
        if not name.startswith("se"):
            weights = torchvision.models.get_model_weights(name).DEFAULT
            assert counts[0] == weights.meta["num_params"]

    def test_logits_and_gradients(self, name):
        with torch.device("meta"):
            ours, theirs = create(name, num_classes=10), reference(name, num_classes=10)
        theirs = randomise(theirs.to_empty(device="cpu"))
        ours.to_empty(device="cpu")
        load_renamed(ours, theirs.state_dict(), NAME_RULES[name])
        for training in (False, True):
            ours.train(training)
            theirs.train(training)
            for size in (64, 96):
                a, b = (logits_and_gradient(network, size) for network in (ours, theirs))
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def logits_and_gradient(network: nn.Module, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)  # the same images, and the same dropout
    images = torch.randn(3, 3, size, size, requires_grad=True)
    logits = network(images)
    (gradient,) = torch.autograd.grad(logits.square().sum(), images)
    return logits.detach(), gradient / gradient.abs().max()


def test_names_that_do_not_fit_are_reported():
    network = create("resnet18")
    with pytest.raises(ValueError, match=r"2 names are missing \(fc.bias, fc.weight\), 0 are left"):
        state = {k: v for k, v in reference("resnet18").state_dict().items() if "fc" not in k}
        load_renamed(network, state, resnet.TORCHVISION_NAMES)


def test_an_unknown_name_suggests_near_ones():
    with pytest.raises(ValueError, match="no architecture 'resnet51'.*did you mean resnet50"):
        create("resnet51")


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "seresnet18"])
def test_channels_classes_and_stages(name):
    with torch.device("meta"):
        network = create(name, num_classes=5, in_channels=1)
        assert network(torch.empty(2, 1, 64, 64)).shape == (2, 5)
    stages = ["stem", "stage1", "stage2", "stage3", "stage4", "neck", "head"]
    assert [stage for stage, _ in network.named_children()] == stages


def test_input_of_a_wrong_shape_names_the_sizes():
    network = create("resnet18")
    with pytest.raises(ValueError, match=r"shape \(2, 1, 64, 64\); expected \(N, 3, height, width"):
        network(torch.empty(2, 1, 64, 64))
    with pytest.raises(ValueError, match="16 × 64 px; this network needs 32 × 32 px"):
        network(torch.empty(2, 3, 16, 64))


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_the_smallest_size_is_the_smallest_that_leaves_a_map(name):
    with torch.device("meta"):
        network = create(name)
        smallest = network.min_size
        network(torch.empty(2, 3, smallest, smallest))
        network.min_size = 0
        with pytest.raises(RuntimeError):
            network(torch.empty(2, 3, smallest - 1, smallest - 1))


def test_squeeze_excitation_is_timms():
    ours, theirs = SqueezeExcitation(64), timm.layers.SEModule(64, rd_ratio=1 / 16)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 64, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.gates(x).shape == (2, 64, 1, 1)
