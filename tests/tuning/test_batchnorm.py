"""BatchNorm policies, by steps on shifted data; statistics against torch's own estimates."""

import copy
import os

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn

from tlcourse.modes import follow_mode, stay_in_eval
from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.batchnorm import (
    has_batchnorm,
    input_statistics,
    policies,
    re_estimate,
    set_policy,
    statistics_distance,
)
from tlcourse.tuning.freezing import freeze, unfreeze

LAYERS = {
    "1d": lambda: (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)), (4,)),
    "2d": lambda: (nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), *head()), (4, 5, 5)),
    "3d": lambda: (nn.Sequential(nn.Conv3d(4, 6, 3), nn.BatchNorm3d(6), *head()), (4, 5, 5, 5)),
    "sync": lambda: (nn.Sequential(nn.Conv2d(4, 6, 3), nn.SyncBatchNorm(6), *head()), (4, 5, 5)),
}
MOVES = {  # policy: do γ and β move, do the statistics
    "train": (True, True),
    "affine_frozen": (False, True),
    "statistics_only": (True, False),
    "frozen": (False, False),
}


def head() -> list[nn.Module]:
    return [nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3)]


def moved(model: nn.Module, bn: nn.Module, shape: tuple[int, ...], steps: int) -> tuple[bool, bool]:
    """Whether γ, β and the statistics of ``bn`` change in steps on data far from the statistics."""
    before = {k: v.clone() for k, v in bn.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(steps):
        model.train()  # as every training loop does, at every epoch
        x, y = 3 + 5 * torch.randn(8, *shape), torch.randint(0, 3, (8,))
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    changed = {k for k, v in bn.state_dict().items() if not torch.equal(v, before[k])}
    return bool(changed & {"weight", "bias"}), bool(changed - {"weight", "bias"})


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("policy", MOVES)
def test_after_50_steps_on_shifted_data_exactly_what_may_move_has_moved(layer, policy):
    model, shape = LAYERS[layer]()
    set_policy(model, policy)
    assert moved(model, model[1], shape, 50) == MOVES[policy]
    assert policies(model) == {"1": policy}


def test_policies_survive_deepcopy_and_state_dict():
    model, shape = LAYERS["2d"]()
    set_policy(model, "frozen")
    twin = copy.deepcopy(model)
    assert twin.state_dict().keys() == model.state_dict().keys()
    twin.load_state_dict(LAYERS["2d"]()[0].state_dict())
    assert moved(twin, twin[1], shape, 3) == (False, False)
    set_policy(twin, "train")
    assert moved(twin, twin[1], shape, 3) == (True, True)
    assert policies(model) == {"1": "frozen"}, "the copy's policy is its own"


def test_policies_survive_torch_compile():
    model, shape = LAYERS["2d"]()
    set_policy(model, "frozen")
    compiled = torch.compile(model, backend="eager")
    assert moved(compiled, model[1], shape, 3) == (False, False)


def test_policies_survive_ddp(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        model, shape = LAYERS["2d"]()
        set_policy(model, "affine_frozen")
        parallel = nn.parallel.DistributedDataParallel(model)
        assert moved(parallel, model[1], shape, 3) == (False, True)
        model, shape = LAYERS["2d"]()
        set_policy(model, "frozen")
        parallel = nn.parallel.DistributedDataParallel(model)
        assert moved(parallel, model[1], shape, 3) == (False, False)
    finally:
        torch.distributed.destroy_process_group()


def test_policy_by_depth_and_after_freezing():
    backbone = load_backbone("resnet18", pretrained=False, num_classes=3)
    set_policy(backbone, "frozen", up_to="stage2")
    set_policy(backbone, "affine_frozen", only=["stage3", "stage4"])
    found = policies(backbone)
    assert {k.split(".")[0]: v for k, v in found.items()} == {
        **dict.fromkeys(("stem", "stage1", "stage2"), "frozen"),
        **dict.fromkeys(("stage3", "stage4"), "affine_frozen"),
    }
    freeze(backbone)
    assert set(policies(backbone).values()) == {"frozen"}
    set_policy(backbone, "affine_frozen", only="stage4")  # the last word counts
    assert policies(backbone)["stage4.0.bn1"] == "affine_frozen"
    unfreeze(backbone)
    assert set(policies(backbone).values()) == {"train"}


@pytest.fixture
def network() -> nn.Module:
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    backbone.train()
    for _ in range(3):  # statistics that are not those of a new network
        backbone(torch.rand(8, 3, 32, 32))
    return backbone.eval()


def test_re_estimation_is_torchs_update_bn(network):
    images = torch.rand(24, 3, 32, 32) * 0.3
    reference = copy.deepcopy(network).train()
    update_bn(images.split(8), reference)
    set_policy(network, "frozen")
    weights = {n: p.clone() for n, p in network.named_parameters()}
    re_estimate(network, images, batch_size=8)
    expected, found = dict(reference.named_buffers()), dict(network.named_buffers())
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)
    assert all(torch.equal(p, weights[n]) for n, p in network.named_parameters())
    assert set(policies(network).values()) == {"frozen"}
    assert not any(m.training for m in network.modules())


def test_torchs_update_bn_moves_only_what_is_not_frozen(network):
    freeze(network, up_to="stage2")
    images = torch.rand(24, 3, 32, 32) * 0.3
    before = {n: b.clone() for n, b in network.named_buffers()}
    update_bn(images.split(8), network)
    changed = {n.split(".")[0] for n, b in network.named_buffers() if not torch.equal(b, before[n])}
    assert changed == {"stage3"}
    unfreeze(network)
    update_bn(images.split(8), network)
    assert network.stem[1].num_batches_tracked == 3


def test_a_users_own_train_goes_on_after_freezing():
    class Own(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[1].eval()  # whatever the mode
            return self

    model, asked = Own(nn.Dropout(), nn.Dropout()), []
    stay_in_eval(model)
    assert model.train() is model and not model.training
    assert model[0].training and not model[1].training
    follow_mode(model, True)
    model.train = own = asked.append  # of this object
    stay_in_eval(model)
    model.train(True)
    follow_mode(model, True)
    assert asked == [True] and vars(model)["train"] == own


def test_input_statistics_and_their_distance_in_closed_form(network):
    images = torch.rand(10, 3, 32, 32)
    mean, variance = input_statistics(network, images, batch_size=4)["stem.norm"]
    with torch.no_grad():
        inputs = network.stem[0](images)
    torch.testing.assert_close(mean, inputs.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance, inputs.var(dim=(0, 2, 3), correction=0))
    layer = network.stem[1]
    stored = Normal(layer.running_mean, (layer.running_var + layer.eps).sqrt())
    found = Normal(mean, (variance + layer.eps).sqrt())
    row = statistics_distance(network, images, batch_size=4).loc["stem.norm"]
    assert row["kl"] == pytest.approx(kl_divergence(found, stored).mean().item(), rel=1e-3)
    shift = (mean - stored.mean).abs() / stored.stddev
    assert row["mean_shift"] == pytest.approx(shift.mean().item(), rel=1e-3)
    ratio = (found.stddev / stored.stddev).log().mean().exp()
    assert row["std_ratio"] == pytest.approx(ratio.item(), rel=1e-3)


def test_whether_there_is_any():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    assert not has_batchnorm(model)
    assert has_batchnorm(nn.Sequential(model, nn.BatchNorm2d(4)))


def test_what_never_varied_is_measured_with_the_layers_eps():
    model = nn.Sequential(nn.BatchNorm1d(2, eps=1e-2))
    model[0].running_var.zero_()
    row = statistics_distance(model, torch.ones(5, 2)).loc["0"]
    assert row.to_dict() == pytest.approx({"mean_shift": 10, "std_ratio": 1, "kl": 50})


def test_without_shift_the_distance_is_nothing():
    model, shape = LAYERS["2d"]()
    images = torch.randn(32, *shape)
    re_estimate(model, images)
    row = statistics_distance(model, images).loc["1"]
    assert row["mean_shift"] < 1e-5
    assert row["std_ratio"] == pytest.approx(1, abs=1e-2)  # n − 1 in torch's running variance


@pytest.mark.parametrize("policy", MOVES)
def test_a_policy_of_layers_without_gamma_is_read_as_it_was_set(policy):
    model = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))
    assert policies(model) == {"0": "train"}
    set_policy(model, policy)
    assert policies(model) == policies(copy.deepcopy(model)) == {"0": policy}
    assert moved(model, model[0], (4,), 3) == (False, MOVES[policy][1])
    follow_mode(model[0], True)  # by other hands
    assert policies(model)["0"] == (policy if MOVES[policy][1] else "train")


def test_submodules_of_any_model_get_policies_and_shared_layers_are_found_in_both():
    model = nn.Sequential(nn.Sequential(nn.BatchNorm1d(3)), nn.Linear(3, 3))
    model.append(nn.Sequential(model[0][0], nn.BatchNorm1d(3)))
    set_policy(torch.compile(model), "frozen", only="2.0")
    assert policies(model) == {"0.0": "frozen", "2.1": "train"}
    set_policy(nn.DataParallel(model), "affine_frozen", except_="0")
    assert policies(model) == {"0.0": "affine_frozen", "2.1": "affine_frozen"}


@pytest.mark.unchecked
def test_mistakes_are_named():
    model, _ = LAYERS["2d"]()
    with pytest.raises(ValueError, match="no policy 'froze'; policies are train, affine_frozen"):
        set_policy(model, "froze")
    with pytest.raises(ValueError, match="no submodule 'stage1'; Sequential has 0, 1, 2"):
        set_policy(model, "frozen", up_to="stage1")
    with pytest.raises(ValueError, match="no BatchNorm, only LayerNorm: .* keep no statistics"):
        set_policy(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), "frozen")
    with pytest.raises(ValueError, match="no BatchNorm, only GroupNorm"):
        set_policy(nn.Sequential(nn.GroupNorm(2, 4)), "frozen")
    with pytest.raises(ValueError, match="track_running_stats=False"):
        set_policy(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), "frozen")
    with pytest.raises(ValueError, match="2 or more"):
        re_estimate(model, torch.rand(1, 4, 5, 5))
    backbone = load_backbone("resnet18", pretrained=False, num_classes=3)
    with pytest.raises(ValueError, match="no BatchNorm in neck"):
        set_policy(backbone, "frozen", only="neck")
