"""Every network against torchvision's or timm's: parameters, logits, gradients; and wrong input."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from tlcourse.architectures import (
    alexnet,
    available,
    convnext,
    create,
    densenet,
    efficientnet,
    mobilenet,
    resnet,
    vgg,
    vision_transformer,
)
from tlcourse.architectures.layers import initialise, load_renamed
from tlcourse.architectures.squeeze_excitation import SqueezeExcitation

NAME_RULES = {
    "alexnet": alexnet.TORCHVISION_NAMES,
    "densenet121": densenet.TORCHVISION_NAMES,
    "mobilenet_v2": mobilenet.V2_TORCHVISION_NAMES,
    "mobilenet_v3_small": mobilenet.v3_small_torchvision_names(),
    "efficientnet_b0": efficientnet.torchvision_names(),
    "efficientnet_lite0": efficientnet.timm_names(),
    "convnext_tiny": convnext.TORCHVISION_NAMES,
    "vit_b_16": vision_transformer.TORCHVISION_NAMES,
    "vit_tiny_patch16_224": vision_transformer.TIMM_NAMES,
}
for _name, _depths in vgg.DEPTHS.items():
    NAME_RULES[_name] = vgg.torchvision_names(_depths, batch_norm=False)
    NAME_RULES[f"{_name}_bn"] = vgg.torchvision_names(_depths, batch_norm=True)
for _name in (*resnet.DEPTHS, "seresnet18", "seresnet50"):
    NAME_RULES[_name] = resnet.TORCHVISION_NAMES
FROM_TIMM = ("seresnet18", "seresnet50", "efficientnet_lite0", "vit_tiny_patch16_224")


def reference(name: str, **options: int) -> nn.Module:
    """The library's network of that name."""
    library = timm.create_model if name in FROM_TIMM else torchvision.models.get_model
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


@pytest.mark.parametrize("name", NAME_RULES)
class TestAgainstTheReference:
    def test_parameters(self, name):
        with torch.device("meta"):
            ours, theirs = create(name), reference(name)
        counts = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
        assert counts[0] == counts[1]
        if name not in FROM_TIMM:
            weights = torchvision.models.get_model_weights(name).DEFAULT
            assert counts[0] == weights.meta["num_params"]

    def test_logits_and_gradients(self, name):
        if not name.startswith("vit"):
            networks = pair(name, {}, {})
        for size, training in ((64, False), (96, True)):
            if name.startswith("vit"):  # made for one size
                theirs = "img_size" if name in FROM_TIMM else "image_size"
                networks = pair(name, {"image_size": size}, {theirs: size})
            a, b = (logits_and_gradient(n.train(training), size) for n in networks)
            message = f"{size} px, {training=}: {{}}".format
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, msg=message)


def pair(name: str, ours: dict[str, int], theirs: dict[str, int]) -> tuple[nn.Module, nn.Module]:
    """Our network and the library's, with the same random weights."""
    with torch.device("meta"):
        network = create(name, num_classes=10, **ours)
        library = reference(name, num_classes=10, **theirs)
    randomise(library.to_empty(device="cpu"))
    network.to_empty(device="cpu")
    load_renamed(network, library.state_dict(), NAME_RULES[name])
    return network, library


def logits_and_gradient(network: nn.Module, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)  # the same images, and the same dropout
    images = torch.randn(3, 3, size, size, requires_grad=True)
    logits = network(images)
    (gradient,) = torch.autograd.grad(logits.square().sum(), images)
    return logits.detach(), gradient / gradient.abs().max()


def test_every_network_that_a_library_has_is_compared_with_it():
    libraries = {*torchvision.models.list_models(), *timm.list_models()}
    assert {name for name in available() if name in libraries} == set(NAME_RULES)


def test_names_that_do_not_fit_are_reported():
    network = create("resnet18")
    state = {k: v for k, v in reference("resnet18").state_dict().items() if "fc" not in k}
    with pytest.raises(ValueError, match=r"2 names are missing \(fc.bias, fc.weight\), 0 are left"):
        load_renamed(network, state, resnet.TORCHVISION_NAMES)


def test_new_weights_have_the_spread_that_the_papers_give():
    """He et al. 2015 for convolutions, from the fan-out; linear layers as torchvision."""
    network = nn.Sequential(nn.Conv2d(16, 64, 5), nn.Linear(200, 300))
    initialise(network)
    convolution, linear = network
    assert convolution.weight.std().item() == pytest.approx((2 / (64 * 25)) ** 0.5, rel=0.05)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not convolution.bias.any() and not linear.bias.any()


def test_an_unknown_name_suggests_near_ones():
    with pytest.raises(ValueError, match="no architecture 'densnet121'.*did you mean densenet121"):
        create("densnet121")


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "seresnet18"])
def test_channels_classes_and_stages(name):
    with torch.device("meta"):
        network = create(name, num_classes=5, in_channels=1)
        assert network(torch.empty(2, 1, 64, 64)).shape == (2, 5)
    stages = ["stem", "stage1", "stage2", "stage3", "stage4", "neck", "head"]
    assert [stage for stage, _ in network.named_children()] == stages


ONE_OF_EACH_KIND = [
    "alexnet", "resnet18", "seresnet18", "plain20", "densenet121", "mobilenet_v3_small",
    "efficientnet_b0", "convnext_tiny", "vit_tiny_patch4_32",
]  # fmt: skip


@pytest.mark.unchecked  # checks of shapes are no part of the graph
@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_torch_compile_takes_the_whole_network_as_one_graph(name, monkeypatch):
    """The tracing alone, which is ours to allow; ``benchmarks/compiled.py`` compiles them all."""
    monkeypatch.setattr(densenet, "DEPTHS", (2, 2, 2, 2))  # more are only more of the same
    torch.compiler.reset()
    network = create(name, num_classes=5).eval()
    images = torch.rand(2, 3, 32, 32) if "patch4" in name else torch.rand(2, 3, 64, 64)
    traced = torch.compile(network, backend="eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(traced(images), network(images))


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_channels_last_changes_nothing_but_the_layout(name):
    network = create(name, num_classes=5).eval()
    images = torch.rand(2, 3, 32, 32) if "patch4" in name else torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network(images)
        network.to(memory_format=torch.channels_last)
        last = network(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


def test_input_of_a_wrong_shape_names_the_sizes():
    network = create("resnet18")
    with pytest.raises(ValueError, match=r"shape \(2, 1, 64, 64\); expected \(N, 3, height, width"):
        network(torch.empty(2, 1, 64, 64))
    with pytest.raises(ValueError, match="31 × 64 px; this network needs 32 × 32 px"):
        network(torch.empty(2, 3, 31, 64))
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1000)


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
    ours, theirs = SqueezeExcitation(64, hidden=8), timm.layers.SEModule(64, rd_ratio=1 / 16)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 64, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.gates(x).shape == (2, 64, 1, 1)


def test_attention_as_written_is_torchs_fast_path():
    attention = vision_transformer.MultiHeadSelfAttention(width=24, num_heads=3)
    x = torch.randn(2, 7, 24)
    value, weights = vision_transformer.attention(*attention._heads(x))
    written = attention.out(value.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), written)
    torch.testing.assert_close(attention.weights(x), weights)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 7))


def test_attention_is_torchs_own_layer():
    ours = vision_transformer.MultiHeadSelfAttention(width=24, num_heads=3)
    theirs = nn.MultiheadAttention(24, 3, batch_first=True)
    rules = ((r"^qkv\.", "in_proj_"), (r"^out", "out_proj"))
    load_renamed(ours, randomise(theirs).state_dict(), rules)
    x = torch.randn(2, 7, 24)
    expected, weights = theirs(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.weights(x), weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 60}, "patches of 16 px do not divide images of 60 px; .* fits is 64 px"),
        ({"patch_size": 24}, "patches of 24 px do not divide images of 224 px"),
        ({"width": 100, "num_heads": 3}, "width of 100 cannot be divided among 3 heads"),
    ],
)
def test_a_vision_transformer_whose_sizes_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        create("vit_tiny_patch16_224", **options)


def test_a_vision_transformer_takes_one_size_only():
    network = create("vit_tiny_patch16_224", image_size=64)
    with pytest.raises(ValueError, match="96 × 96 px; this network's positions .* 64 × 64 px"):
        network(torch.empty(1, 3, 96, 96))
