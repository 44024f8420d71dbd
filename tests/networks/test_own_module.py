"""A user's own network as a backbone: the same logits, nothing of it changed, and it trains."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from tlcourse.advice.strategies import STRATEGIES
from tlcourse.advice.strategy_training import start, train
from tlcourse.diagnosis import cka_by_stage, drift
from tlcourse.errors import BackboneError
from tlcourse.networks import Preprocessing, block_names, extract_features, replace_head
from tlcourse.networks.own_module import as_backbone
from tlcourse.own_images.export import save_model
from tlcourse.tuning.freezing import freeze

PREPROCESSING = Preprocessing(32, 32, "bilinear", mean=(0.5,) * 3, std=(0.25,) * 3)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A residual block that halves the map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.norm(self.conv(x)) + self.shortcut(x)).relu()


class Own(nn.Module):
    """Four blocks, and a head whose neck is written out in ``forward``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList([Block(8, 8), Block(8, 16), Block(16, 16), Block(16, 32)])
        self.last = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x.mean([2, 3]))


def small_resnet() -> nn.Module:
    """torchvision's, changed by its owner for small images."""
    network = torchvision.models.resnet18(num_classes=5)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return network


@pytest.mark.parametrize("make", [Own, small_resnet])
def test_it_gives_the_modules_logits_with_its_parameters_and_modes(make):
    torch.manual_seed(0)
    module = make().train()
    module.get_submodule("blocks.1.norm" if make is Own else "layer2.0.bn1").eval()
    state = copy.deepcopy(module.state_dict())
    modes = {name: part.training for name, part in module.named_modules()}
    backbone = as_backbone(nn.DataParallel(module), PREPROCESSING)
    assert {name: part.training for name, part in module.named_modules()} == modes
    assert all(torch.equal(t, state[name]) for name, t in module.state_dict().items())
    assert set(backbone.parameters()) == set(module.parameters())
    assert [s for s in backbone.stage_names if s.startswith("stage")] and backbone.training
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(IMAGES), module.eval()(IMAGES))
    freeze(backbone, up_to="stage1")
    frozen = {name.split(".")[0] for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen == ({"first", "blocks"} if make is Own else {"conv1", "bn1", "layer1"})


def test_what_its_owner_computes_otherwise_is_kept_or_refused():
    network = small_resnet().eval()
    network.forward = lambda x: -torchvision.models.ResNet.forward(network, x)
    with pytest.raises(BackboneError, match="ResNet cannot be a backbone: the logits of ResNet"):
        as_backbone(network, PREPROCESSING)
    with pytest.raises(BackboneError, match="Sequential cannot be a backbone.*does not run"):
        as_backbone(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), PREPROCESSING)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_what_has_no_parts_or_no_sizes_yet_is_refused():
    with pytest.raises(BackboneError, match="it was scripted or traced"):
        as_backbone(torch.jit.trace(Own().eval(), IMAGES), PREPROCESSING)
    layers = nn.LazyConv2d(4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)
    lazy = nn.Sequential(*layers)
    with pytest.raises(BackboneError, match=r"0.weight of Sequential has no size yet"):
        as_backbone(lazy, PREPROCESSING)
    lazy(IMAGES)
    assert as_backbone(lazy, PREPROCESSING).num_classes == 3


def test_one_made_for_its_size_takes_no_other():
    layers = nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 3)
    backbone = as_backbone(nn.Sequential(*layers).double(), PREPROCESSING)
    assert (backbone.stage_names, backbone.fixed_size) == (("body", "head"), 32)
    assert as_backbone(Own(), PREPROCESSING).fixed_size is None
    with pytest.raises(BackboneError, match="own/Sequential takes images of 32 × 32 px only"):
        backbone(torch.zeros(1, 3, 64, 64).double())


def test_a_body_of_one_child_has_the_blocks_of_that():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, 1, 1))
            self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return (self.left(x * self.scale) * self.right(x)).mean([2, 3])

    backbone = as_backbone(nn.Sequential(Gated(), nn.Linear(4, 2)), PREPROCESSING)
    assert block_names(backbone) == ["body.0.scale", "body.0.left", "body.0.right", "head"]


def test_strategies_train_it_and_draw_anew_what_they_do_not_keep(tmp_path):
    torch.manual_seed(2)  # not a seed that the strategies draw from here
    backbone = as_backbone(Own(), PREPROCESSING)
    before = copy.deepcopy(backbone.state_dict())
    data = (torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), torch.arange(8) % 2)
    fixed = {"lr": 1e-3, "num_classes": 2, "steps": 10, "seed": 0, "batch_size": 4}
    trained = train(backbone, STRATEGIES["head_first"], data, data, **fixed)
    assert trained.network.num_classes == 2 and backbone.num_classes == 5
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())
    one, same, other = (
        start(backbone, STRATEGIES["scratch"], num_classes=2, seed=seed).state_dict()
        for seed in (0, 0, 1)
    )
    drawn = [name for name in one if name.endswith("conv.weight")]
    assert len(drawn) == 4
    for name in drawn:
        assert torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name])
        assert not torch.equal(one[name], before[name])
    settings = {
        "classes": ["a", "b"],
        "image_size": 32,
        "resize_size": 32,
        "interpolation": "nearest",
    }
    with pytest.raises(BackboneError, match="own/Own is a module of your own.*state_dict"):
        save_model(trained.network, tmp_path, settings)


def test_a_layer_that_does_not_say_how_it_is_drawn_is_refused_only_where_it_starts_anew():
    module = Own()
    module.blocks[3].scale = nn.Parameter(torch.ones(1))
    backbone = as_backbone(module, PREPROCESSING)
    start(backbone, STRATEGIES["probe"], num_classes=2, seed=0)
    with pytest.raises(BackboneError, match=r"own/Own is a Block without reset_parameters\(\)"):
        start(backbone, STRATEGIES["scratch"], num_classes=2, seed=0)


def test_what_needs_stages_finds_the_backbone_in_its_wrapper_or_says_what_to_do():
    torch.manual_seed(0)
    backbone = as_backbone(Own(), PREPROCESSING).eval()
    wrapped = nn.DataParallel(backbone)
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    plain = extract_features(backbone, images, up_to="stage2", cache=None)
    assert torch.equal(extract_features(wrapped, images, up_to="stage2", cache=None), plain)
    assert (drift(wrapped, backbone, images)["distance"] == 0).all()
    assert cka_by_stage(wrapped, backbone, images).equals(cka_by_stage(backbone, backbone, images))
    replace_head(wrapped, 3, seed=0)
    assert backbone.num_classes == 3
    with pytest.raises(BackboneError, match="a Own has no stages; .* as_backbone makes one"):
        extract_features(Own(), images)
