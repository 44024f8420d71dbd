"""Depthwise weights' gradient in parts: torch's own numbers, and the model as it was."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tlcourse.networks import load_backbone
from tlcourse.networks.depthwise import depthwise_by_parts


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (5, 1, 2, 8),
        (5, 2, 2, 9),
        (5, 2, 2, 8),
        (7, 1, 3, 7),
        (7, 3, 0, 16),
        ((3, 5), (1, 2), (1, 0), 8),
        ((1, 4), 1, (0, 1), 8),
        (6, 1, 0, 9),
        (5, 1, 4, 3),
        (5, 1, 0, 5),
    ],
)
def test_the_gradients_are_torchs(kernel, stride, padding, size, bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, padding, groups=6, bias=bias)
    x = torch.randn(3, 6, size, size + 1, requires_grad=True)
    kinds = (x, *layer.parameters())

    def gradients():
        y = layer(x)
        weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
        return y, *torch.autograd.grad((y * weights).sum(), kinds)

    expected = gradients()
    with depthwise_by_parts(layer):
        found = gradients()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_only_what_is_slow_is_changed_and_only_within():
    layers = nn.ModuleDict(
        {
            "large": nn.Conv2d(4, 4, 5, groups=4),
            "3 × 3": nn.Conv2d(4, 4, 3, groups=4),
            "tall": nn.Conv2d(4, 4, (5, 3), groups=4),
            "dilated": nn.Conv2d(4, 4, 5, groups=4, dilation=2),
            "mirrored": nn.Conv2d(4, 4, 5, padding=2, groups=4, padding_mode="reflect"),
            "same": nn.Conv2d(4, 4, 5, padding="same", groups=4),
            "dense": nn.Conv2d(4, 4, 5),
            "two a group": nn.Conv2d(4, 8, 5, groups=4),
        }
    )
    with pytest.raises(RuntimeError, match="stop"), depthwise_by_parts(layers):
        assert [name for name, m in layers.items() if "forward" in vars(m)] == ["large"]
        raise RuntimeError("stop")
    assert not any("forward" in vars(m) for m in layers.values())


def test_a_training_step_of_a_network_is_the_same():
    network = load_backbone("efficientnet_lite0", pretrained=False, num_classes=3, seed=0).train()
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8)
    labels = torch.arange(6) % 3

    def step(model):
        cross_entropy(model(images), labels).backward()
        return {name: p.grad for name, p in model.named_parameters()}

    other = copy.deepcopy(network)
    expected = step(network)
    with depthwise_by_parts(other):
        found = step(other)
    for name, grad in found.items():
        scale = expected[name].abs().max()
        torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-4 * float(scale) + 1e-6)


def test_a_frozen_layer_gets_no_gradient_and_hands_it_on():
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4).requires_grad_(False)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    with depthwise_by_parts(layer):
        layer(x).sum().backward()
    assert layer.weight.grad is None and x.grad is not None
