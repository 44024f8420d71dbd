"""The audit: each fault is built, found, and named together with its cure."""

import copy
from dataclasses import replace

import pandas as pd
import pytest
import timm
import torch
import torchvision
from torch import nn

from tlcourse.datasets import load_dataset
from tlcourse.diagnosis.audit import audit
from tlcourse.diagnosis.faults import Fault, FaultKind, group_faults, input_faults
from tlcourse.diagnosis.layer_faults import layer_faults
from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.batchnorm import set_policy
from tlcourse.tuning.data_parallel import synchronise
from tlcourse.tuning.freezing import freeze, unfreeze
from tlcourse.tuning.optim import LARS
from tlcourse.tuning.param_groups import by_depth, param_groups
from tlcourse.tuning.unfreezing import extend

BATCH = (torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8), torch.arange(6) % 3)


@pytest.fixture
def backbone():
    return load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)


def sgd(groups, **options):
    return torch.optim.SGD(groups, **{"lr": 0.1, "momentum": 0.9, **options})


def right(backbone):
    return sgd(param_groups(backbone, lr=0.1, weight_decay=0.01, factors=by_depth(backbone)))


def test_a_right_set_up_has_no_fault_and_the_table_says_what_moves(backbone):
    freeze(backbone, up_to="stage2")
    report = audit(backbone, right(backbone), BATCH, learns=["stage3", "head"])
    assert report.faults == []
    report.check()
    table = report.stages
    assert list(table.index) == list(backbone.stage_names)
    assert (table.loc[["stem", "stage1", "stage2", "neck"], "moved"] == 0).all()
    assert (table.loc[["stem", "stage1", "stage2"], "buffers_moved"] == 0).all()
    for stage in ("stage3", "head"):
        row = table.loc[stage]
        assert row["moved"] == row["tensors"] == row["trainable"] == row["momentum_moved"]
    assert table.loc["stage3", "buffers_moved"] == table.loc["stage3", "buffers"] > 0
    assert "no fault" in str(report)


def test_model_optimiser_modes_and_generators_stay_as_they_were(backbone):
    optimizer = right(backbone)
    freeze(backbone, up_to="stage1")
    unfreeze(backbone)
    before = copy.deepcopy((backbone.state_dict(), optimizer.state_dict()))
    generator = torch.get_rng_state()
    backbone.train().stage2.eval()
    audit(backbone, optimizer, BATCH)
    assert torch.equal(generator, torch.get_rng_state())
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[0][name])
    assert optimizer.state_dict() == before[1]
    assert all(p.grad is None for p in backbone.parameters())
    assert backbone.training
    assert not backbone.stage2.training


def test_optimiser_made_before_thawing(backbone):
    freeze(backbone)
    optimizer = right(backbone)
    unfreeze(backbone, only="stage3")
    report = audit(backbone, optimizer, BATCH, learns=["stage3", "head"])
    assert report.kinds() == {"trainable, but in no group", "should learn, but does not"}
    with pytest.raises(AssertionError, match=r"unfreezing.extend\(optimizer, groups\)"):
        report.check()
    factors = {"stage3": 0.1, "head": 1.0}
    groups = param_groups(backbone, lr=0.1, weight_decay=0, factors=factors)
    extend(optimizer, [g for g in groups if "stage3" in g["name"]])
    assert audit(backbone, optimizer, BATCH).faults == []


def test_parameters_twice_in_a_group(backbone):
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = sgd([*backbone.parameters(), backbone.head.weight])
    fault, *_ = audit(backbone, optimizer, BATCH).faults
    assert (fault.kind, fault.names) == ("twice in the groups", ["head.weight"])


def test_head_replaced_after_the_optimiser_was_made(backbone):
    optimizer = sgd(backbone.parameters())
    backbone.head = nn.Linear(backbone.feature_size, 3)
    kinds = audit(backbone, optimizer, BATCH).kinds()
    assert kinds == {"trainable, but in no group", "in a group, but not in the model"}


def test_se_layers_picked_by_a_part_of_their_name():
    network = load_backbone("timm/seresnet18", pretrained=False, num_classes=3)
    named = [(n.replace("head", "fc"), p) for n, p in network.named_parameters()]
    body = [p for n, p in named if "fc" not in n]
    head = [p for n, p in named if "fc" in n]
    report = audit(network, sgd([{"params": body, "lr": 0.01}, {"params": head}]), BATCH)
    (fault,) = [fault for fault in report.faults if fault.kind == "two rates in one block"]
    assert fault.names[0] == "stage1.0"
    last_only = [p for n, p in named if n.startswith("fc")]
    report = audit(network, sgd([{"params": body, "lr": 0.01}, {"params": last_only}]), BATCH)
    assert "trainable, but in no group" in report.kinds()


@pytest.mark.parametrize(("decay", "momentum"), [(0.1, 0.0), (0.0, 0.9)])
def test_frozen_weights_that_move(backbone, decay, momentum):
    optimizer = sgd(backbone.parameters(), weight_decay=decay, momentum=momentum)
    nn.functional.cross_entropy(backbone.train()(BATCH[0]), BATCH[1]).backward()
    optimizer.step()
    backbone.stem.requires_grad_(False)  # without freeze()
    optimizer.zero_grad(set_to_none=False)
    kinds = audit(backbone, optimizer, BATCH).kinds()
    assert {"frozen, but moving", "frozen, but in a group"} <= kinds
    freeze(backbone, only="stem")
    assert "frozen, but moving" not in audit(backbone, optimizer, BATCH).kinds()


def test_statistics_that_drift(backbone):
    backbone.requires_grad_(False).head.requires_grad_(True)
    backbone.eval()  # which the training loop's train() undoes
    optimizer = sgd(backbone.head.parameters())
    (fault,) = audit(backbone, optimizer, BATCH).faults
    assert fault.kind == "BatchNorm statistics drift"
    assert 'set_policy(model, "frozen")' in fault.cure
    set_policy(backbone, "affine_frozen")  # meant
    assert audit(backbone, optimizer, BATCH).faults == []
    freeze(backbone)
    assert audit(backbone, optimizer, BATCH).faults == []


def test_zero_gradients_and_rates(backbone):
    nn.init.zeros_(backbone.head.weight)
    kinds = audit(backbone, right(backbone), BATCH).kinds()
    assert kinds == {"zero gradient"}, "a zero head lets nothing through in the first step"
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    optimizer = sgd([{"params": backbone.head.parameters(), "lr": 0.0}])
    freeze(backbone)
    assert audit(backbone, optimizer, BATCH).kinds() == {"trainable, but not moving"}


class NaiveLARS(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            p -= self.param_groups[0]["lr"] * p.norm() / p.grad.norm() * p.grad


def test_lars_without_a_guard_never_leaves_zero(backbone):
    freeze(backbone)
    nn.init.zeros_(backbone.head.weight)
    report = audit(backbone, NaiveLARS(backbone.head.parameters(), lr=0.1), BATCH)
    (fault,) = report.faults
    assert (fault.kind, fault.names) == ("trainable, but not moving", ["head.weight"])
    assert audit(backbone, LARS(backbone.head.parameters(), lr=0.1), BATCH).faults == []


def test_thawing_from_the_wrong_end(backbone):
    freeze(backbone, only=["stage1", "stage2", "stage3"])
    fault, *_ = audit(backbone, right(backbone), BATCH, learns=["head"]).faults
    assert (fault.kind, fault.names) == ("learns, but should not", ["stem"])
    with pytest.raises(ValueError, match="no stage 'had'; stages are stem, .*head"):
        audit(backbone, right(backbone), BATCH, learns=["had"])


@pytest.mark.parametrize("task", ["cutouts", "elpv"])
def test_inputs_the_weights_do_not_expect(task):
    lite0 = load_backbone("efficientnet_lite0", num_classes=7)
    freeze(lite0)
    dataset = load_dataset(task)
    first = {**dataset.splits, "validation": dataset.splits["validation"][:32]}
    images, labels = replace(dataset, splits=first).tensors("validation", 96)

    def kinds(inputs, network=lite0):
        return audit(network, sgd(network.head.parameters()), (inputs, labels)).kinds()

    assert kinds(images) == set()
    expected = {"inputs the weights do not expect"}
    assert kinds(images.float()) == expected, "not normalised"
    of_mean = copy.deepcopy(lite0)
    weight = of_mean.stem[0][0].weight
    with torch.no_grad():  # three grey channels through the mean of the filters: a third
        weight.copy_(weight.mean(1, keepdim=True).expand(-1, 3, -1, -1) / 3)
    assert kinds(images, of_mean) == expected
    with torch.no_grad():
        weight[:, 1:] = 0
    assert "input channels that are never read" in kinds(images, of_mean)


def test_normalisation_of_another_network():
    lite0 = load_backbone("efficientnet_lite0", num_classes=7)
    images, labels = load_dataset("cutouts").tensors("validation", 96)
    usual = load_backbone("resnet18", pretrained=False).preprocessing.normalize(images)
    report = audit(lite0, sgd(lite0.parameters()), (usual, labels))
    assert report.kinds() == {"inputs the weights do not expect"}


def test_networks_that_lost_their_flatten():
    resnet = torchvision.models.resnet18()
    cut = nn.Sequential(*list(resnet.children())[:-1])
    images, labels = torch.rand(3, 3, 64, 64), torch.tensor([0, 1, 2])
    optimizer = sgd(cut.parameters())
    with pytest.raises(ValueError, match=r"\(3, 512, 1, 1\) for 3 labels; .* put nn.Flatten"):
        audit(cut, optimizer, (images, labels))
    with pytest.raises(ValueError, match=r"nn.Flatten is missing between") as caught:
        audit(nn.Sequential(cut, nn.Linear(512, 3)), optimizer, (images, labels))
    cause = caught.value.__cause__
    assert isinstance(cause, RuntimeError) and str(cause) not in str(caught.value)


def test_any_module_can_be_audited():
    network = timm.create_model("resnet18", num_classes=3, zero_init_last=False)
    report = audit(network, sgd(network.parameters()), (torch.rand(4, 3, 32, 32), BATCH[1][:4]))
    assert report.faults == []
    assert report.stages.loc["layer1", "moved"] == 12


def test_a_fault_names_how_many_more_it_concerns():
    fault = Fault(FaultKind.TWICE, ["a", "b", "c"], "cure")
    assert str(fault) == "✘ twice in the groups: a and 2 more\n  cure"
    assert str(Fault(FaultKind.TWICE, ["a"], "cure")) == "✘ twice in the groups: a\n  cure"


def test_what_is_said_of_groups_counts_every_tensor_once(backbone):
    stranger = nn.Parameter(torch.zeros(2))
    backbone.head.bias.requires_grad_(False)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = sgd([*[backbone.head.bias, stranger] * 2, *backbone.stage1.parameters()])
    names = {fault.kind: fault.names for fault in group_faults(backbone, optimizer)}
    assert names[FaultKind.TWICE] == names[FaultKind.FROZEN_IN_GROUP] == ["head.bias"]
    assert names[FaultKind.NOT_IN_MODEL] == ["(2,)"]
    missing = {n for n, p in backbone.named_parameters() if p.requires_grad and "stage1" not in n}
    assert set(names[FaultKind.IN_NO_GROUP]) == missing


def test_a_detached_stage_and_a_step_to_infinity():
    class Detached(nn.Sequential):
        def forward(self, x):
            return self[1](self[0](x).detach())

    model = Detached(nn.Flatten(), nn.Linear(12, 3))
    model.add_module("unused", nn.Linear(2, 2))
    inputs, labels = torch.rand(3, 3, 2, 2), torch.arange(3)
    report = audit(model, sgd(model.parameters(), lr=float("inf")), (inputs, labels))
    names = {fault.kind: fault.names for fault in report.faults}
    assert names[FaultKind.NO_GRADIENT] == ["unused.weight", "unused.bias"]
    assert names[FaultKind.NOT_FINITE] == ["1.weight", "1.bias"]


@pytest.mark.parametrize(
    ("spread", "fine"), [(0.39, False), (0.41, True), (1.99, True), (2.01, False)]
)
def test_borders_of_what_the_weights_expect(spread, fine):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2))
    inputs = torch.rand(64, 3, 4, 4)
    model[0].running_mean += 1
    model[0].running_var.copy_(inputs.var(dim=(0, 2, 3), correction=0) / spread**2)
    assert (list(input_faults(model, inputs)) == []) is fine


def test_what_is_thawed_by_hand_stays_in_eval_mode_and_is_found(backbone):
    dropout = nn.Sequential(nn.Dropout(0.2), nn.Conv2d(64, 64, 1))
    backbone.stage3.append(dropout)
    freeze(backbone)
    backbone.stage3.requires_grad_(True)  # without unfreeze()
    (fault,) = audit(backbone, right(backbone), BATCH).faults
    assert fault.kind == "learns, but in eval mode"
    assert "stage3.3.0" in fault.names and "stage3.0.norm1" in fault.names
    assert all(name.startswith("stage3.") for name in fault.names)
    unfreeze(backbone, only="stage3")
    assert audit(backbone, right(backbone), BATCH).faults == []


def test_eval_modes_that_are_meant_are_no_fault(backbone):
    set_policy(backbone, "statistics_only")
    assert audit(backbone, right(backbone), BATCH).faults == []
    set_policy(backbone, "frozen")
    assert audit(backbone, right(backbone), BATCH).faults == []
    freeze(backbone)
    unfreeze(backbone, only="stage3.2")
    unfreeze(backbone, parameters="*.bias")
    assert audit(backbone, right(backbone), BATCH).faults == []


def test_the_activations_that_torchs_converter_drops_are_missed():
    model = timm.create_model("efficientnet_lite0", num_classes=3)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    names = {f.kind: f.names for f in layer_faults(model, set())}
    assert len(names[FaultKind.LOST_ACTIVATION]) == 33
    assert list(layer_faults(synchronise(timm.create_model("efficientnet_lite0")), set())) == []


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_the_first_steps_from_scratch_have_no_fault(backbone, steps):
    optimizer = right(backbone)
    for _ in range(steps):
        nn.functional.cross_entropy(backbone.train()(BATCH[0]), BATCH[1]).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert audit(backbone, optimizer, BATCH).faults == []


def test_a_last_gamma_of_zero_is_said_to_be_none():
    network = timm.create_model("resnet18", num_classes=3)  # as timm makes it
    batch = torch.rand(4, 3, 32, 32), BATCH[1][:4]
    report = audit(network, sgd(network.parameters()), batch)
    assert report.faults == []
    (note,) = report.notes
    assert "32 tensors" in note and "layer1.0.bn2.weight" in note and note in str(report)
    network.layer1[0].bn2.weight.requires_grad_(False)  # then it stays zero
    report = audit(network, sgd([p for p in network.parameters() if p.requires_grad]), batch)
    (fault,) = report.faults
    assert fault.kind == "zero gradient"
    assert all(name.startswith("layer1.0.") for name in fault.names)


def test_half_a_lora_that_starts_at_zero_is_none():
    class LoRA(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(12, 5).requires_grad_(False)
            self.a, self.b = nn.Linear(12, 2, bias=False), nn.Linear(2, 5, bias=False)
            nn.init.zeros_(self.b.weight)

        def forward(self, x):
            return self.base(x) + self.b(self.a(x))

    model = nn.Sequential(nn.Flatten(), LoRA(), nn.ReLU(), nn.Linear(5, 3))
    optimizer = sgd([p for p in model.parameters() if p.requires_grad])
    report = audit(model, optimizer, (torch.rand(3, 3, 2, 2), torch.arange(3)))
    assert report.faults == []
    assert "1 tensors are" in report.notes[0] and "1.b.weight" in report.notes[0]


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_a_wrapped_model_is_audited_as_what_is_inside(backbone, wrap):
    freeze(backbone)
    model, optimizer = wrap(backbone), right(backbone)
    report = audit(model, optimizer, BATCH, learns=["head"])
    assert report.faults == []
    pd.testing.assert_frame_equal(report.stages, audit(backbone, optimizer, BATCH).stages)


def test_an_optimiser_that_asks_for_the_loss_itself(backbone):
    freeze(backbone)
    report = audit(backbone, torch.optim.LBFGS(backbone.head.parameters()), BATCH, learns=["head"])
    assert report.faults == []
    assert report.stages.loc["head", "moved"] == 2


@pytest.mark.parametrize(("dtype", "lost"), [(torch.float64, False), (torch.bfloat16, True)])
def test_a_step_that_16_bits_round_away_is_found(dtype, lost):
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3).to(dtype)
    optimizer = torch.optim.SGD(param_groups(backbone, lr=0.01, weight_decay=0.0))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    faults = audit(backbone, optimizer, (images, torch.arange(4) % 3)).faults
    assert [fault.kind for fault in faults] == [FaultKind.NOT_MOVING] * lost
    assert all("a step below half a weight's last digit" in fault.cure for fault in faults)
