"""Stages against the networks of torchvision and timm that they were cut from."""

import copy
from typing import ClassVar

import pytest
import timm
import torch
import torchvision
from torch import nn

from tlcourse.errors import BackboneError
from tlcourse.networks.backbone import Backbone, Preprocessing
from tlcourse.networks.classifiers import find_classifier
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
# Families whose blocks are found by running them once, and the stages they come apart into.
FOUND = {
    ("torchvision", "regnet_y_400mf"): "1234",
    ("torchvision", "mnasnet0_5"): "1234",
    ("torchvision", "shufflenet_v2_x0_5"): "123",  # its stem has a stride of 4
    ("timm", "edgenext_xx_small"): "1234",
    ("timm", "levit_128s"): "123",
    ("timm", "deit_tiny_distilled_patch16_224"): "1234",
    ("timm", "mobilenetv4_conv_small"): "1234",
    ("timm", "nf_regnet_b0"): "1234",
    ("timm", "starnet_s1"): "1234",
    ("timm", "resnet18d"): "1234",
    ("timm", "repvit_m0_9"): "1234",  # two heads beside each other in one module
    ("timm", "cait_xxs24_224"): "1234",  # a token comes in between its blocks and its norm
    ("timm", "mvitv2_tiny"): "1234",  # its blocks hand on a height and a width beside the tokens
    ("timm", "xcit_nano_12_p16_224"): "1234",  # its positions are made of numbers, not of maps
    ("timm", "test_vit3"): "1234",  # attention pools its tokens
    ("timm", "pit_ti_distilled_224"): "123",  # a map and tokens beside it
    ("timm", "convnext_tiny_hnf"): "1234",  # of a known family, with another head
    ("timm", "ghostnet_050"): "1234",  # its first block leaves maps as large as its stem's
}


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


@pytest.mark.parametrize(("library", "name"), FOUND)
def test_stages_that_are_found_run_like_the_network(library, name):
    network = create(library, name).eval()
    parameters = {id(p) for p in network.parameters()}
    size = getattr(network, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[-1]
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected = copy.deepcopy(network)(images)  # some keep what they computed
        stages = split_into_stages(network)
        found = nn.Sequential(*stages.values())(images)
    numbered = [f"stage{number}" for number in FOUND[library, name]]
    assert list(stages) == ["stem", *numbered, "neck", "head"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    held = [id(p) for module in stages.values() for p in module.parameters()]
    assert len(held) == len(set(held))
    # A head that was made of two, or of a 1 × 1 convolution, is a new layer on their weights.
    made = {id(p) for p in stages["head"].parameters()} - parameters
    assert set(held) - made <= parameters
    assert made or set(held) == parameters


def test_a_neck_of_the_networks_own_modules_is_these():
    network = create("torchvision", "regnet_y_400mf")
    neck = split_into_stages(network)["neck"]
    assert [type(layer) for layer in neck] == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity]
    assert neck[0] is network.avgpool


def test_parts_that_small_weights_hide_are_the_right_ones():
    """CaiT's layer scales start at 1e-5: its logits are nearly those of the class token alone."""
    network = create("timm", "cait_xxs24_224").eval()
    stages = split_into_stages(network)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for p in network.parameters():
            p += 0.3 * torch.rand(p.shape, generator=generator) * (p.ndim < 2)
        images = torch.randn(2, 3, 224, 224)
        expected = network(images)
        torch.testing.assert_close(nn.Sequential(*stages.values())(images), expected)
        assert (network(images.flip(0)) - expected).abs().max() > 1e-2  # it sees them


class AddsInPlace(nn.Module):
    """A block whose output is the very tensor that its layers put out, with a shortcut in it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        convolutions = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.layers = nn.Sequential(*convolutions)

    def forward(self, x):
        y = self.layers(x)
        y += x
        return y


def test_a_block_that_adds_in_place_is_more_than_its_layers():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 4, 4),
        *(AddsInPlace(4) for _ in range(4)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    stages = split_into_stages(network)
    assert list(stages) == ALL_STAGES
    assert stages["stage1"][0] is network[1]


@pytest.mark.parametrize("stem", ["^0", ["^0", "^1"], [("^0", None), ("^1", (0,))]])
def test_the_stem_is_what_the_library_calls_it(stem):
    class Named(nn.Sequential):
        def group_matcher(self, coarse):
            return {"stem": stem, "blocks": r"^(\d)"}

    blocks = (AddsInPlace(4) for _ in range(5))
    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    network = Named(nn.Conv2d(3, 4, 4, 4), *blocks, *pool)
    assert split_into_stages(network)["stage1"][0] is network[1 if stem == "^0" else 2]


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_its_blocks_are_handed_goes_on_learning(wrapped):
    """Mixed rotary positions are computed from parameters, outside of the blocks."""
    network = create("timm", "vit_small_patch16_rope_mixed_224").eval()
    if wrapped:
        network.reset_classifier(0)
        network = Wrapped(network, 384).eval()
    stages = nn.Sequential(*split_into_stages(network).values())
    assert all(p.requires_grad for p in network.parameters())
    stages(torch.randn(1, 3, 224, 224)).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


class Wrapped(nn.Module):
    """An encoder of the library's with its owner's normalisation and head."""

    def __init__(self, encoder: nn.Module, features: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(features, 3)

    def forward(self, images):
        return self.classifier(self.encoder((images - 0.5) / 0.25))


@pytest.mark.parametrize(
    ("name", "features"), [("resnet18", 512), ("vit_tiny_patch16_224", 192), ("swin_tiny", 768)]
)
def test_an_encoder_in_a_wrapper_comes_apart(name, features):
    name = f"{name}_patch4_window7_224" if name == "swin_tiny" else name
    network = Wrapped(timm.create_model(name, num_classes=0), features).eval()
    stages = split_into_stages(network)
    assert list(stages) == ALL_STAGES
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(nn.Sequential(*stages.values())(images), network(images))
    held = [id(p) for module in stages.values() for p in module.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_a_large_first_block_is_no_encoder():
    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 3, 3, padding=1)

        def forward(self, x):
            return x + self.two(self.one(x).relu())

    blocks = Large(), Large(), AddsInPlace(3)
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    assert split_into_stages(network)["stage1"][0] is network[0]


def test_what_cannot_be_cut_has_a_body_and_a_head():
    class TwoPaths(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5, padding=1)
            self.classifier = nn.Linear(4, 3)

        def forward(self, x):
            return self.classifier((self.left(x) * self.right(x)).mean([2, 3]))

    network = TwoPaths().eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network(images)
        stages = split_into_stages(network)
        assert list(stages) == ["body", "head"]
        assert torch.equal(stages["head"](stages["body"](images)), expected)


class Turned(nn.Module):
    """Blocks that are handed the positions of a map's places, as rotary embeddings are.

    Once for all images, or once for each.
    """

    pretrained_cfg: ClassVar = {"input_size": (3, 32, 32)}

    def __init__(self, for_each: bool) -> None:
        super().__init__()
        self.for_each = for_each
        self.stem = nn.Conv2d(3, 4, 4, 4)
        self.blocks = nn.ModuleList(Shifted() for _ in range(4))
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        x = self.stem(images)
        places = torch.linspace(0, 1, x.shape[-1])
        if self.for_each:
            places = places.repeat(len(x), 1, 1, 1)
        for block in self.blocks:
            x = block(x, places)
        return self.head(x.mean([2, 3]))


class Shifted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def forward(self, x, places):
        assert places.ndim == 1 or len(places) == len(x)
        return self.layers(x + places)


@pytest.mark.parametrize("for_each", [False, True])
def test_blocks_that_were_handed_positions_take_one_size(for_each):
    network = Turned(for_each).eval()
    preprocessing = Preprocessing(32, 32, "bicubic", (0.5,) * 3, (0.5,) * 3)
    stages = split_into_stages(network)
    backbone = Backbone("turned", stages, preprocessing, licence="none", provenance="none")
    assert backbone.stage_names == tuple(ALL_STAGES)
    for count in (1, 2, 5):
        images = torch.randn(count, 3, 32, 32)
        torch.testing.assert_close(backbone(images), network(images))
    with pytest.raises(BackboneError, match="32 × 32 px only, got 40 × 40"):
        backbone(torch.zeros(1, 3, 40, 40))


class Bent(nn.Sequential):
    def forward(self, x):
        return super().forward(x).sin()


def test_weights_of_zero_do_not_hide_logits_that_are_not_linear():
    network = Bent(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(network[-1].weight)
    nn.init.zeros_(network[-1].bias)
    with pytest.raises(ValueError, match="Bent are not those of one linear layer"):
        split_into_stages(network)
    assert not network[-1].weight.any()


class SumOfHeads(nn.Module):
    """Heads on features of their own, weighed as EfficientViM's are, or as a maximum."""

    num_classes = 2

    def __init__(self, weigh) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])
        self.weigh = weigh

    def get_classifier(self):
        return self.heads

    def forward(self, x):
        x = self.layers(x)
        return self.weigh(self.heads[0](x), self.heads[1](x.square()))


def test_heads_that_are_weighed_become_one():
    network = SumOfHeads(lambda a, b: 0.2 * a + 0.8 * b)
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        expected = network(images)
        stages = split_into_stages(network)
        torch.testing.assert_close(stages["head"](stages["body"](images)), expected)
        # The library's heads hold what the one head learns.
        stages["head"].weight += 1
        stages["head"].bias += 1
        torch.testing.assert_close(stages["head"](stages["body"](images)), network(images))


def test_one_bias_of_many_heads_is_theirs_to_the_last_bit():
    """A sum of equal numbers, divided by their count, need not be the number."""
    heads = nn.ModuleList(nn.Linear(2, 50) for _ in range(7))
    for head in heads:
        head.bias.data = torch.linspace(0, 1, 50)
    network = SumOfHeads(lambda a, b: a + b)
    network.heads, network.num_classes = heads, 50
    assert torch.equal(find_classifier(network).linear.bias, heads[0].bias)


def test_heads_in_a_list_become_one():
    network = create("timm", "crossvit_tiny_240").eval()
    images = torch.randn(1, 3, 240, 240)
    with torch.inference_mode():
        expected = network(images)
        stages = split_into_stages(network)
        torch.testing.assert_close(stages["head"](stages["body"](images)), expected)
    assert stages["head"].in_features == 96 + 192


def test_logits_that_no_single_linear_layer_gives_are_refused():
    with pytest.raises(ValueError, match="SumOfHeads are not those of one linear layer"):
        split_into_stages(SumOfHeads(torch.maximum))


def test_a_network_without_a_linear_classifier_is_refused():
    with pytest.raises(ValueError, match="SqueezeNet does not end in one linear classifier"):
        split_into_stages(create("torchvision", "squeezenet1_1"))
