"""Parameter groups against timm's layer decay, and each trainable parameter exactly once."""

from collections import OrderedDict

import pytest
import timm
import torch
import torchvision
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm

from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.freezing import freeze
from tlcourse.tuning.param_groups import (
    by_depth,
    count_trainable,
    describe_groups,
    geometric,
    layer_decay,
    param_groups,
    pretrained_factor,
)


@pytest.fixture
def backbone():
    return load_backbone("resnet18", pretrained=False, num_classes=3)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_layer_decay_is_timms(name):
    """Compared by the shapes of the tensors in order, which both networks have in common."""
    theirs_network = timm.create_model(name, num_classes=3)
    no_decay = getattr(theirs_network, "no_weight_decay", set)()
    theirs = rates(
        param_groups_layer_decay(
            theirs_network, weight_decay=0.05, layer_decay=0.7, no_weight_decay_list=no_decay
        ),
        theirs_network,
        scale="lr_scale",
    )
    ours_network = load_backbone(f"timm/{name}", pretrained=False, num_classes=3)
    factors = layer_decay(ours_network, 0.7)
    groups = param_groups(ours_network, lr=1.0, weight_decay=0.05, factors=factors)
    ours = rates(groups, ours_network, scale="lr")
    torch.testing.assert_close(torch.tensor(sorted(ours)), torch.tensor(sorted(theirs)))


def rates(groups, network, *, scale: str) -> list[tuple[float, ...]]:
    """(shape, rate, decay) of every parameter, the shape as numbers."""
    found = {id(p): (g[scale], g["weight_decay"]) for g in groups for p in g["params"]}
    return [(*[*p.shape, 0, 0, 0, 0][:4], *found[id(p)]) for p in network.parameters()]


@pytest.mark.parametrize(
    "make", [lambda b: pretrained_factor(b, 0.1), by_depth, geometric, layer_decay, lambda b: None]
)
def test_every_trainable_parameter_is_there_once(backbone, make):
    freeze(backbone, up_to="stage1")
    groups = param_groups(backbone, lr=0.5, weight_decay=0.1, factors=make(backbone))
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in backbone.parameters() if p.requires_grad)
    assert count_trainable(backbone) == describe_groups(groups)["parameters"].sum()
    no_decay = [p for g in groups if g["weight_decay"] == 0 for p in g["params"]]
    decaying = [p for g in groups if g["weight_decay"] == 0.1 for p in g["params"]]
    assert all(p.ndim == 1 for p in no_decay)
    assert all(p.ndim > 1 for p in decaying)


def test_factors_by_depth(backbone):
    assert pretrained_factor(backbone, 0.1)["stage4"] == 0.1
    assert by_depth(backbone) == pytest.approx(
        {"stem": 0.1, "stage1": 0.1, "stage2": 1 / 3, "stage3": 1 / 3, "stage4": 1, "head": 1}
    )
    expected = [2.6**-k for k in (5, 4, 3, 2, 1, 0)]
    assert list(geometric(backbone).values()) == pytest.approx(expected)
    blocks = layer_decay(backbone)  # stem, eight residual blocks, head
    assert [blocks[b] for b in ("head", "stage4.1", "stage4.0", "stem")] == pytest.approx(
        [1, 0.75, 0.75**2, 0.75**9]
    )
    halves = by_depth(backbone, (0.5, 2.0))
    assert (halves["stage2"], halves["stage3"], halves["head"]) == (0.5, 2.0, 1.0)


def test_groups_are_described_and_have_their_rates(backbone):
    freeze(backbone, except_=["stage4", "head"])
    groups = param_groups(backbone, lr=0.5, weight_decay=0.1, factors={"stage4": 0.2, "head": 1.0})
    table = describe_groups(torch.optim.SGD(groups))
    assert list(table.index) == ["stage4", "stage4, no decay", "head", "head, no decay"]
    assert table["tensors"].tolist() == [5, 10, 1, 1]
    assert table["parameters"].tolist()[2:] == [1536, 3]
    assert table["lr"].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert table["weight_decay"].tolist() == [0.1, 0.0, 0.1, 0.0]
    assert describe_groups([{"params": [], "lr": 1.0, "weight_decay": 0.0}]).index[0] == "group 0"
    assert param_groups(backbone, lr=0.5, weight_decay=0.0)[0]["lr"] == 0.5  # without factors: lr


def test_torchs_schedulers_keep_the_ratios(backbone):
    """timm's ``lr_scale`` is ignored by them, so that every rate would be equal."""
    factors = geometric(backbone)
    groups = param_groups(backbone, lr=1.0, weight_decay=0.1, factors=factors)
    optimizer = torch.optim.SGD(groups)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    ratios = {g["name"].split(",")[0]: g["lr"] for g in optimizer.param_groups}
    assert {k: v / ratios["head"] for k, v in ratios.items()} == pytest.approx(factors)


def test_class_tokens_and_positions_do_not_decay():
    backbone = load_backbone("vit_b_16", pretrained=False, num_classes=3)
    groups = param_groups(backbone, lr=1.0, weight_decay=0.1)
    without = {id(p) for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    assert id(backbone.stem.class_token) in without
    assert id(backbone.stem.pos_embedding) in without
    assert id(backbone.stem.conv_proj.weight) not in without


def test_what_two_stages_share_learns_once_at_their_one_rate():
    first = nn.Linear(3, 3)
    tied = nn.Sequential(OrderedDict(stem=first, tail=nn.Linear(3, 3), head=nn.Linear(3, 2)))
    tied.tail.weight = first.weight
    groups = param_groups(tied, lr=0.1, weight_decay=0.2)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in tied.parameters())
    groups = param_groups(
        tied, lr=0.1, weight_decay=0, factors={"stem": 0.1, "tail": 0.1, "head": 1}
    )
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(first.weight)] == pytest.approx(0.01)
    with pytest.raises(ValueError, match=r"tail.weight belongs to stem and to tail.*0.1 and 0.5"):
        param_groups(tied, lr=0.1, weight_decay=0, factors={"stem": 0.1, "tail": 0.5, "head": 1})


def test_groups_of_any_model_by_its_submodules():
    model = torchvision.models.VisionTransformer(32, 16, 2, 2, 12, 24, num_classes=3)
    groups = describe_groups(param_groups(torch.compile(model), lr=1.0, weight_decay=0.1))
    assert groups.loc["class_token, no decay", "parameters"] == 12
    assert groups["parameters"].sum() == count_trainable(model)
    factors = {"encoder.layers": 0.5, "heads.head": 1.0}
    freeze(model, only=["class_token", "conv_proj", "encoder.pos_embedding", "encoder.ln"])
    groups = param_groups(model, lr=1.0, weight_decay=0.1, factors=factors)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    attention = model.encoder.layers[1].self_attention
    assert rates[id(attention.in_proj_weight)] == (0.5, 0.1)
    assert rates[id(attention.in_proj_bias)] == (0.5, 0.0)
    assert rates[id(model.heads.head.weight)] == (1.0, 0.1)


def test_matrices_decay_whatever_made_them_is_added_to_their_name():
    model = nn.ModuleDict(
        {"rows": nn.LSTM(3, 3), "pruned": nn.Linear(3, 3), "normed": nn.Linear(3, 3)}
    )
    prune.identity(model["pruned"], "weight")
    spectral_norm(model["normed"])
    groups = param_groups(model, lr=1.0, weight_decay=0.1)
    decaying = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in decaying}
    assert names == {
        "rows.weight_ih_l0",
        "rows.weight_hh_l0",
        "pruned.weight_orig",
        "normed.parametrizations.weight.original",
    }


def test_lazy_layers_are_asked_for_their_shape_first():
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ValueError, match="0.weight has no shape yet"):
        param_groups(model, lr=0.1, weight_decay=0.1)
    model(torch.zeros(1, 4))
    assert [g["weight_decay"] for g in param_groups(model, lr=0.1, weight_decay=0.1)] == [0.1, 0]


def test_the_usual_decay_by_layer_is_three_quarters():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    assert layer_decay(backbone)["stage3.1"] == pytest.approx(0.75**2)


def test_mistakes_are_named(backbone):
    def groups(**factors: float) -> object:
        return param_groups(backbone, lr=0.1, weight_decay=0.0, factors=factors)

    with pytest.raises(ValueError, match="no block 'stage9'"):
        groups(stage9=1.0)
    with pytest.raises(ValueError, match="neck has no trainable parameter, so it has no rate"):
        groups(**{**geometric(backbone), "neck": 1.0})
    with pytest.raises(
        ValueError, match="^stage2.0.conv1.weight and 14 more parameters .* no factor; did you"
    ):
        groups(**{k: v for k, v in geometric(backbone).items() if k != "stage2"})
    with pytest.raises(ValueError, match="stage1.0 is part of stage1"):
        groups(**geometric(backbone), **{"stage1.0": 1.0})
    with pytest.raises(ValueError, match="must be positive: .* frozen"):
        groups(**{**geometric(backbone), "stem": 0.0})
    freeze(backbone, up_to="stage2")
    with pytest.raises(ValueError, match="stage2 has no trainable parameter, so it has no rate"):
        groups(**{**geometric(backbone), "stage2": 0.1})
    with pytest.raises(ValueError, match="weight_decay -0.1 not negative"):
        param_groups(backbone, lr=0.1, weight_decay=-0.1)
    with pytest.raises(ValueError, match="lr 0.0 must be positive"):
        param_groups(backbone, lr=0.0, weight_decay=0.0)
    backbone.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter is trainable"):
        param_groups(backbone, lr=0.1, weight_decay=0.0)
