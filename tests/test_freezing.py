"""Freezing, checked by taking real steps: what is promised to stay must not change by one bit."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from tlcourse.backbones import load_backbone
from tlcourse.freezing import freeze, unfreeze
from tlcourse.param_groups import count_trainable, param_groups


def moved_stages(backbone, optimizer, steps=2) -> set[str]:
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone.train()
    for _ in range(steps):
        images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
        optimizer.zero_grad()
        cross_entropy(backbone(images), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    after = backbone.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "convnext_tiny"])
@pytest.mark.parametrize("up_to", ["stage2", "neck"])
def test_nothing_up_to_the_stage_moves_and_everything_behind_it_does(name, up_to):
    backbone = load_backbone(name, pretrained=False, num_classes=3)
    freeze(backbone, up_to=up_to)
    behind = set(backbone.stage_names[backbone.stage_index(up_to) + 1 :])
    behind = {s for s in behind if list(backbone.get_submodule(s).parameters())}
    optimizer = torch.optim.SGD(param_groups(backbone, lr=0.1), momentum=0.9, weight_decay=0.1)
    assert moved_stages(backbone, optimizer) == behind


def test_unfreezing_lets_everything_move_again():
    backbone = load_backbone("resnet18", pretrained=False, num_classes=3)
    freeze(backbone, up_to="neck")
    unfreeze(backbone)
    optimizer = torch.optim.SGD(param_groups(backbone, lr=0.1))
    assert moved_stages(backbone, optimizer) == set(backbone.stage_names) - {"neck"}


def test_param_groups_hold_each_trainable_parameter_once_at_its_rate():
    backbone = load_backbone("resnet18", pretrained=False, num_classes=3)
    freeze(backbone, up_to="stem")
    groups = param_groups(backbone, lr=0.5, pretrained_factor=0.1)
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in backbone.parameters() if p.requires_grad)
    assert {group["name"]: group["lr"] for group in groups} == {"pretrained": 0.05, "head": 0.5}
    assert count_trainable(backbone) == sum(p.numel() for g in groups for p in g["params"])


def test_mistakes_are_named():
    backbone = load_backbone("resnet18", pretrained=False, num_classes=3)
    with pytest.raises(ValueError, match="no stage 'layer2'; stages of resnet18 are stem"):
        freeze(backbone, up_to="layer2")
    with pytest.raises(ValueError, match="nothing to train"):
        freeze(backbone, up_to="head")
    with pytest.raises(ValueError, match="it has no rate"):
        param_groups(backbone, lr=0.1, pretrained_factor=0)
    backbone.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter is trainable"):
        param_groups(backbone, lr=0.1)
