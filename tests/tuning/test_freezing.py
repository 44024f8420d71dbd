"""Freezing, checked by taking real steps: what is promised to stay must not change by one bit."""

import copy

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from tlcourse.diagnosis.faults import rate_faults
from tlcourse.errors import BackboneError
from tlcourse.modes import stays_in_eval
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.selection import block_names, select
from tlcourse.tuning.freezing import freeze, freeze_elements, unfreeze
from tlcourse.tuning.importance import magnitude, most_important
from tlcourse.tuning.optim import LARS
from tlcourse.tuning.param_groups import layer_decay, param_groups

# One network for each kind of block and norm, small enough for dozens of examples.
NETWORKS = {
    name: load_backbone(f"tlcourse/{name}", pretrained=False, num_classes=3)
    for name in ("resnet20", "seresnet20", "vit_tiny_patch4_32", "efficientnet_lite0")
}
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "LARS": lambda p: LARS(p, lr=10.0, weight_decay=0.1),
}


def step(backbone: Backbone, optimizer: torch.optim.Optimizer) -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    optimizer.zero_grad()
    cross_entropy(backbone(images), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()


def moved(before: dict[str, torch.Tensor], backbone: Backbone) -> set[str]:
    after = backbone.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def snapshot(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.state_dict().items()}


@st.composite
def frozen_parts(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A network and arguments of ``freeze`` that leave the head."""
    name = draw(st.sampled_from(sorted(NETWORKS)))
    blocks = block_names(NETWORKS[name])[:-1]
    stages = [s for s in NETWORKS[name].stage_names[:-1] if s != "neck"]
    some = st.lists(st.sampled_from([*blocks, *stages]), min_size=1, max_size=3)
    choice = draw(
        st.one_of(
            st.just({}),
            st.fixed_dictionaries({"up_to": st.sampled_from([*blocks, *stages])}),
            st.fixed_dictionaries({"only": some}),
            st.fixed_dictionaries({"except_": some.map(lambda names: [*names, "head"])}),
        )
    )
    narrow = {"layers": (nn.Conv2d, nn.LayerNorm)}, {"parameters": "*.bias"}, {}
    narrowed = {**choice, **draw(st.sampled_from(narrow))}
    return name, narrowed


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(frozen_parts(), st.sampled_from(sorted(OPTIMIZERS)), st.booleans())
def test_exactly_the_promised_tensors_move(part, optimizer_name, used_before):
    name, choice = part
    backbone = copy.deepcopy(NETWORKS[name])
    torch.manual_seed(0)
    optimizer = OPTIMIZERS[optimizer_name](backbone.parameters())  # it holds the frozen ones too
    if used_before:  # then there is momentum, and gradients are left over
        backbone.train()
        step(backbone, optimizer)
    try:
        freeze(backbone, **choice)
    except ValueError as error:  # a block without such a layer or parameter
        assert str(error).startswith(("no parameter matches", "no Conv2d or LayerNorm in"))
        return
    promised = expected_frozen(backbone, choice)
    before = snapshot(backbone)
    backbone.train()
    for _ in range(2):
        step(backbone, optimizer)
    assert moved(before, backbone) == before.keys() - promised


def expected_frozen(backbone: Backbone, choice: dict[str, object]) -> set[str]:
    """The promise, spelled out again from names and types alone."""
    blocks = block_names(backbone)

    def inside(names: object) -> set[str]:
        names = [names] if isinstance(names, str) else names
        return {b for b in blocks for n in names if b == n or b.startswith(f"{n}.")}

    if "up_to" in choice:
        chosen = set(blocks[: max(blocks.index(b) for b in inside(choice["up_to"])) + 1])
    elif "only" in choice:
        chosen = inside(choice["only"])
    elif "except_" in choice:
        chosen = set(blocks) - inside(choice["except_"])
    elif len(choice) == 0:
        chosen = set(blocks) - {"head"}
    else:
        chosen = set(blocks)
    names = {n for n in backbone.state_dict() if any(n.startswith(f"{b}.") for b in chosen)}
    if "parameters" in choice:
        return {n for n in names if n.endswith(".bias") and n in dict(backbone.named_parameters())}
    if "layers" in choice:
        modules = dict(backbone.named_modules())
        return {n for n in names if isinstance(modules[n.rpartition(".")[0]], choice["layers"])}
    return names


def test_unfreezing_leaves_what_a_user_put_there():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    nn.utils.parametrizations.weight_norm(backbone.head)
    nn.utils.parametrizations.spectral_norm(backbone.stage1[0].conv1)
    names = {name for name, _ in backbone.named_parameters()}
    weight = backbone.head.weight.clone()
    freeze(backbone)
    freeze_elements(backbone, {"head.bias": torch.tensor([True, False, False])})
    unfreeze(backbone)
    assert {name for name, _ in backbone.named_parameters()} == names
    assert torch.equal(backbone.head.weight, weight)
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_held_elements_do_not_move_and_all_others_do(optimizer_name):
    backbone = copy.deepcopy(NETWORKS["resnet20"])
    weights = {n: p for n, p in magnitude(backbone).items() if p.ndim == 4}
    masks = most_important(weights, share=0.5)
    freeze_elements(backbone, masks)
    optimizer = OPTIMIZERS[optimizer_name](backbone.parameters())
    before = {n: backbone.get_submodule(n[:-7]).weight.detach().clone() for n in masks}
    backbone.train()
    for _ in range(3):
        step(backbone, optimizer)
    unfreeze(backbone)
    after = dict(backbone.named_parameters())
    for name, mask in masks.items():
        same = before[name] == after[name]
        assert same[mask].all(), name
        assert (~same[~mask]).float().mean() > 0.99, name
    assert after.keys() == dict(NETWORKS["resnet20"].named_parameters()).keys()


def test_elements_are_held_by_both_of_two_masks():
    model = nn.Sequential(nn.Linear(2, 3))
    first, second = torch.tensor([True, False, False]), torch.tensor([False, False, True])
    freeze_elements(model, {"0.bias": first})
    freeze_elements(model, {"0.bias": second})
    (name,) = [n for n in magnitude(model) if "bias" in n]
    freeze_elements(model, {name: first})  # by the name that it goes on under
    before = model[0].bias.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(4, 2)).square().sum().backward()
        optimizer.step()
    assert (model[0].bias == before).tolist() == [True, False, True]
    unfreeze(model)
    assert type(model[0]) is nn.Linear and (model[0].bias == before).tolist() == [True, False, True]


def test_any_model_is_frozen_by_the_names_of_its_submodules():
    """torchvision's ViT has parameters at two levels that belong to no layer."""
    model = torchvision.models.VisionTransformer(32, 16, 3, 2, 12, 24, num_classes=3)
    layers = "encoder.layers.encoder_layer_"
    assert select(model, up_to=f"{layers}0") == [
        "class_token", "conv_proj", "encoder.pos_embedding", "encoder.dropout", f"{layers}0",
    ]  # fmt: skip
    freeze(torch.compile(model), up_to=f"{layers}0")
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    rest = (f"{layers}1", f"{layers}2", "encoder.ln", "heads")
    assert learning == {n for n, _ in model.named_parameters() if n.startswith(rest)}
    assert not model.train().encoder.layers[0].mlp[2].training and model.encoder.layers[1].training
    unfreeze(nn.DataParallel(model), only="class_token")
    assert learning ^ {n for n, p in model.named_parameters() if p.requires_grad} == {"class_token"}
    freeze(model, only="encoder.layers", parameters="*.self_attention.*")
    unfreeze(model)
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="has no head to leave out; .* except_='heads'"):
        freeze(model)
    with pytest.raises(ValueError, match=r"no submodule 'encoder.layer'.*did you mean encoder"):
        freeze(model, only="encoder.layer")


def test_frozen_modules_stay_in_eval_mode_in_every_way_of_setting_the_mode():
    backbone = copy.deepcopy(NETWORKS["resnet20"])
    freeze(backbone, only=["stage2", "stage3.0"])
    for train in (backbone.train, backbone.after("stem").train, backbone.stage2.train):
        train()
        assert not any(m.training for m in backbone.stage2.modules())
        assert not any(m.training for m in backbone.get_submodule("stage3.0").modules())
    assert backbone.stage1.training
    assert backbone.get_submodule("stage3.1").training
    twin = copy.deepcopy(backbone).train()
    assert not twin.stage2.training
    unfreeze(twin, only="stage2")
    assert twin.stage2.training
    assert not backbone.stage2.training, "the copy's mode is its own"
    assert stays_in_eval(backbone.stage2)


def test_unfreezing_a_block_of_a_frozen_stage():
    backbone = copy.deepcopy(NETWORKS["resnet20"])
    freeze(backbone)
    unfreeze(backbone, only="stage3.2")
    before = snapshot(backbone)
    backbone.train()
    step(backbone, torch.optim.SGD(backbone.parameters(), lr=0.1))
    assert {n.split(".")[0] for n in moved(before, backbone)} == {"stage3", "head"}
    assert all(n.startswith(("stage3.2.", "head.")) for n in moved(before, backbone))


def test_select_names_whole_stages_as_one():
    backbone = NETWORKS["resnet20"]
    assert select(backbone, up_to="stage2.0") == ["stem", "stage1", "stage2.0"]
    assert select(backbone, except_=["stage2", "head"]) == ["stem", "stage1", "stage3", "neck"]
    assert select(backbone, only=["stage1.0", "stage1.1", "stage1.2"]) == ["stage1"]


def test_mistakes_are_named():
    backbone = copy.deepcopy(NETWORKS["resnet20"])
    with pytest.raises(ValueError, match=r"no block 'stage9'; stages of .* are stem, stage1"):
        freeze(backbone, up_to="stage9")
    with pytest.raises(ValueError, match="did you mean stage1.2 or stage1.1 or stage1.0"):
        freeze(backbone, only="stage1.o")
    with pytest.raises(ValueError, match="leave nothing to train"):
        freeze(backbone, up_to="head")
    with pytest.raises(ValueError, match="leave nothing to train"):
        freeze(backbone, parameters="*")
    with pytest.raises(ValueError, match="no parameter matches 'stage1.conv'"):
        freeze(backbone, parameters="stage1.conv")
    with pytest.raises(ValueError, match="no LayerNorm in stem, .*; its layers are .*BatchNorm2d"):
        freeze(backbone, layers=nn.LayerNorm)
    with pytest.raises(ValueError, match="one of up_to, only and except_"):
        freeze(backbone, up_to="stage1", only="stage2")
    with pytest.raises(TypeError, match="no keyword 'upto'; .* up_to, only, .*did you mean up_to"):
        freeze(backbone, upto="stage1")
    with pytest.raises(TypeError, match="no keyword 'layer'; .*did you mean layers"):
        unfreeze(backbone, layer=nn.Conv2d)
    with pytest.raises(TypeError, match="no keyword 'layers'; .* by up_to, only, except_$"):
        select(backbone, layers=nn.Conv2d)
    with pytest.raises(ValueError, match="by layers or by parameters, not by both"):
        freeze(backbone, layers=nn.Conv2d, parameters="*.bias")
    assert all(p.requires_grad for p in backbone.parameters()), "an error changes nothing"
    with pytest.raises(ValueError, match="expected torch.bool of shape"):
        freeze_elements(backbone, {"head.bias": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(ValueError, match="did you mean head.bias"):
        freeze_elements(backbone, {"head.bais": torch.ones(3, dtype=torch.bool)})


def test_thawed_parameters_are_the_same_objects_so_an_optimiser_still_has_them():
    backbone = copy.deepcopy(NETWORKS["vit_tiny_patch4_32"])
    before = [id(parameter) for parameter in backbone.parameters()]
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    freeze(backbone)
    assert not backbone.stem.position.requires_grad
    unfreeze(backbone)
    assert before == [id(parameter) for parameter in backbone.parameters()]
    start = snapshot(backbone)
    step(backbone.train(), optimizer)
    assert moved(start, backbone) == start.keys()


def test_a_body_has_depth_too():
    """A network without stages has the blocks of its children, and parameters of its own."""
    backbone = load_backbone("timm/vit_small_patch16_rope_mixed_224", pretrained=False)
    blocks = block_names(backbone)
    assert blocks[:3] == ["body.cls_token", "body.patch_embed", "body.rope"]
    assert blocks[3:] == [*(f"body.blocks.{k}" for k in range(12)), "body.norm", "head"]
    freeze(backbone, up_to="body.blocks.8")
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert {name.split(".")[2] for name in trained if "blocks" in name} == {"9", "10", "11"}
    factors = layer_decay(backbone, decay=0.5)
    assert factors == {f"body.blocks.{k}": 0.5 ** (13 - k) for k in (9, 10, 11)} | {
        "body.norm": 0.5,
        "head": 1.0,
    }
    optimizer = torch.optim.SGD(param_groups(backbone, lr=1.0, weight_decay=0.0, factors=factors))
    assert not list(rate_faults(backbone, optimizer))


def test_a_list_of_parameters_is_frozen_one_by_one():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = nn.ParameterList([nn.Parameter(torch.ones(2)) for _ in range(2)])
            self.head = nn.Linear(2, 2)

    model = Scaled()
    freeze(model, up_to="scales.0")
    assert [p.requires_grad for p in model.scales] == [False, True]
    freeze(model, only="scales")
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    with pytest.raises(BackboneError, match="did you mean scales.0 or scales.1 or scales"):
        freeze(model, only="scale.0")
