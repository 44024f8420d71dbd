"""Maps against torchcam's, and against what a class activation map is by definition."""

import copy
import functools

import pytest
import torch
from torch import nn
from torchcam.methods import CAM, GradCAM

from tlcourse.architectures import create
from tlcourse.datasets import load_dataset
from tlcourse.diagnosis.cam import _on_grid, cam, grad_cam
from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.freezing import freeze

CLASSES = torch.tensor([1, 3])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create("resnet20", num_classes=5).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 48, 32)


def torchcams(method, network, images, **layers):
    """torchcam's maps, one image at a time: it takes one class for a batch."""
    maps = []
    for image, label in zip(images, CLASSES.tolist(), strict=True):
        with method(network, input_shape=tuple(image.shape), **layers) as extractor:
            scores = network(image[None])
            maps.append(extractor(label, scores, normalized=False)[0][0])
    return torch.stack(maps).detach()


def test_cam_is_torchcams(network, images):
    theirs = torchcams(CAM, network, images, target_layer="stage3", fc_layer="head")
    ours = cam(network, images, CLASSES)
    assert ours.shape == (2, 12, 8)
    torch.testing.assert_close(ours.relu(), theirs.relu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_grad_cam_is_torchcams(network, images, stage):
    theirs = torchcams(GradCAM, network, images, target_layer=stage)
    ours = grad_cam(network, images, CLASSES, stage=stage)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_the_mean_of_a_cam_and_the_bias_are_the_logit_of_a_real_network():
    backbone = load_backbone("efficientnet_lite0")
    photographs, _ = load_dataset("cutouts").tensors("validation", 128)
    with torch.no_grad():
        scores, classes = backbone(photographs[:4]).max(dim=1)
        from_maps = cam(backbone, photographs[:4], classes).mean(dim=(1, 2))
        from_maps += backbone.head.bias[classes]
    torch.testing.assert_close(from_maps, scores, rtol=1e-4, atol=1e-4)


def test_grad_cam_of_the_last_map_is_cam_where_it_is_positive(network, images):
    """Behind average pooling the gradient of a logit is the head's weight over the places."""
    places = 12 * 8
    expected = cam(network, images, CLASSES).relu() / places
    torch.testing.assert_close(grad_cam(network, images, CLASSES, stage="stage3"), expected)


def test_frozen_networks_and_transformers_have_maps_too():
    backbone = load_backbone("efficientnet_lite0", num_classes=5)
    freeze(backbone, up_to="neck")
    photographs = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert grad_cam(backbone, photographs, CLASSES, stage="stage4").shape == (2, 2, 2)
    transformer = create("vit_tiny_patch4_32", num_classes=5)
    maps = grad_cam(transformer, torch.rand(2, 3, 32, 32), CLASSES, stage="stage4")
    assert maps.shape == (2, 8, 8)


def test_a_submodule_of_any_model_wrapped_or_not(network, images):
    theirs = torchcams(GradCAM, network, images, target_layer="stage2.1.conv1")
    ours = grad_cam(nn.DataParallel(network), images, CLASSES, stage="stage2.1.conv1")
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
    compiled = torch.compile(network, backend="eager")
    assert torch.equal(cam(compiled, images, CLASSES), cam(network, images, CLASSES))


def test_the_mean_of_a_cam_is_the_logit_without_a_bias_too(network, images):
    bare = copy.deepcopy(network)
    bare.head = nn.Linear(64, 5, bias=False)
    with torch.no_grad():
        scores = bare(images).gather(1, CLASSES[:, None])[:, 0]
    torch.testing.assert_close(cam(bare, images, CLASSES).mean(dim=(1, 2)), scores)


@pytest.mark.parametrize("before", [0, 1, 5])
def test_tokens_and_channels_at_the_end_come_to_the_same_map(before):
    maps = torch.rand(2, 7, 6, 4)  # of images of 48 × 32
    tokens = torch.cat([torch.full((2, before, 7), 9.0), maps.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(_on_grid(tokens, 32 / 48), maps)
    assert torch.equal(_on_grid(maps.permute(0, 2, 3, 1), 32 / 48), maps)
    assert torch.equal(_on_grid(maps, 32 / 48), maps)


def test_nothing_is_left_behind(network, images):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    grad_cam(network, images, CLASSES, stage="stage2")
    cam(network, images, CLASSES)
    assert network.training
    network.eval()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["alexnet", "vit_tiny_patch4_32"])
def test_cam_refuses_other_endings(name):
    size = 32 if "vit" in name else 64
    with pytest.raises(
        ValueError, match="global average pooling and one linear layer; use grad_cam"
    ):
        cam(create(name, num_classes=5), torch.rand(2, 3, size, size), CLASSES)


def test_cam_refuses_logits_that_are_a_little_else(network, images):
    warmer = copy.deepcopy(network)
    warmer.register_forward_hook(lambda *hooked: hooked[-1] * 1.05)
    with pytest.raises(ValueError, match="global average pooling and one linear layer"):
        cam(warmer, images, CLASSES)


def test_grad_cam_names_the_stages(network, images):
    with pytest.raises(ValueError, match="no stage 'stage9'; stages are stem, stage1"):
        grad_cam(network, images, CLASSES, stage="stage9")
    with pytest.raises(ValueError, match=r"'neck' is \(2, 64\): no map"):
        grad_cam(network, images, CLASSES, stage="neck")


def test_outputs_and_classes_that_have_no_map_are_named(network, images):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.LSTM(96, 4, batch_first=True)

        def forward(self, x):
            return self.rows(x.mean(1))[0][:, -1]

    with pytest.raises(ValueError, match="LSTM gives a tuple: no map"):
        grad_cam(Recurrent(), torch.rand(2, 3, 48, 96), torch.tensor([0, 1]), stage="rows")
    for draw in (cam, functools.partial(grad_cam, stage="stage2")):
        for wrong in (5, -1):
            with pytest.raises(ValueError, match=f"from {min(wrong, 0)} to .* logits of 5 classes"):
                draw(network, images, torch.tensor([0, wrong]))


def test_what_no_gradient_reaches_is_named():
    network = create("resnet20", num_classes=3)
    network.neck.register_forward_hook(lambda *hooked: hooked[-1].detach())
    with pytest.raises(ValueError, match="no gradient comes from the logits to 'stage2'"):
        grad_cam(network, torch.rand(1, 3, 32, 32), torch.tensor([1]), stage="stage2")
