"""Orders of thawing: who learns when, at which rate."""

import torch
from torch.optim import AdamW

from tlcourse.networks.backbones import load_backbone
from tlcourse.studies.thawing import FirstFirst
from tlcourse.tuning.batchnorm import policies, set_policy
from tlcourse.tuning.param_groups import param_groups
from tlcourse.tuning.training import fit


def test_from_the_input_on_one_stage_joins_an_epoch_and_batchnorm_stays_as_it_was():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=2, seed=0)
    set_policy(backbone, "statistics_only")
    thawing = FirstFirst(backbone, lr=0.001)
    optimizer = AdamW(param_groups(backbone, lr=0.01, weight_decay=0.0))
    learning = []

    def note(history):
        learns = {n.split(".")[0] for n, p in backbone.named_parameters() if p.requires_grad}
        learning.append(learns)

    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    data = images, torch.arange(4) % 2
    fit(backbone, data, None, optimizer, epochs=3, seed=0, unfreezing=thawing, on_epoch=note)
    assert learning == [{"head"}, {"head", "stem"}, {"head", "stem", "stage1"}]
    rates = {group["name"]: group["initial_lr"] for group in optimizer.param_groups}
    assert rates["head"] == 0.01 and rates["stage1"] == 0.001
    assert set(policies(backbone).values()) <= {"statistics_only", "frozen"}
