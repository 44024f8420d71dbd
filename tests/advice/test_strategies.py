"""Each recipe moves what it says and nothing else; torchvision and numpy check the tasks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tlcourse.advice import following, strategy_training
from tlcourse.advice.following import follow
from tlcourse.advice.measurements import measure
from tlcourse.advice.strategies import (
    EPOCHS,
    HEAD_LR,
    STRATEGIES,
    Phase,
    first_stages,
    key_of,
    strategy_named,
)
from tlcourse.advice.strategy_training import start, train
from tlcourse.advice.tasks import make_task
from tlcourse.datasets import blur, checks, few, make_scenes, tint
from tlcourse.errors import DatasetError
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.features import run_prefix

BACKBONE = "efficientnet_lite0"


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Stages in which a tensor changed; ``statistics`` if one of BatchNorm's did."""
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    stages = {name.split(".")[0] for name in changed}
    return stages | ({"statistics"} if any("running_" in name for name in changed) else set())


STAGES = ("stem", "stage1", "stage2", "stage3", "stage4", "neck", "head")
EVERYTHING = set(STAGES)
TRAINED = [name for name, strategy in STRATEGIES.items() if strategy.lrs]
MOVES = {
    "scratch": EVERYTHING | {"statistics"},
    "early_only": EVERYTHING | {"statistics"},
    "to_stage3": {"stage4", "neck", "head"},
    **dict.fromkeys(("one_rate", "one_tenth", "head_first", "gradual", "by_depth"), EVERYTHING),
}
TENTH = dict.fromkeys(STAGES[:-1], 0.1) | {"head": 1.0}
THIRDS = dict(zip(STAGES, (0.1, 0.1, 1 / 3, 1 / 3, 1, 1, 1), strict=True))
RATES = {  # of each stage that learns from a phase's first epoch on, in head rates; by phase
    **{name: [dict.fromkeys(STAGES, 1.0)] for name in ("scratch", "early_only", "one_rate")},
    "to_stage3": [{"stage4": 1.0, "neck": 1.0, "head": 1.0}],
    "one_tenth": [TENTH],
    "head_first": [{"head": HEAD_LR / 0.5}, dict.fromkeys(STAGES, 1.0)],
    "gradual": [{"head": 1.0}],
    "by_depth": [THIRDS],
}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(BACKBONE)


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(0, 256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return images.to(torch.uint8), torch.arange(6) % 2


@pytest.mark.parametrize("name", TRAINED)
def test_a_strategy_moves_what_it_says_and_nothing_else(name, backbone, data):
    strategy, fixed = STRATEGIES[name], {"num_classes": 2, "steps": EPOCHS, "seed": 3, "lr": 1e-3}
    before = start(backbone, strategy, num_classes=2, seed=3).state_dict()
    untouched = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    trained = train(backbone, strategy, data, data, **fixed)
    assert not moved(untouched, backbone.state_dict())
    assert moved(before, trained.network.state_dict()) - {"num_batches_tracked"} == MOVES[name]
    assert list(trained.history["epoch"]) == list(range(EPOCHS))
    assert list(trained.history["steps"]) == list(range(1, EPOCHS + 1))
    again = train(backbone, strategy, data, data, **fixed)
    assert not moved(again.network.state_dict(), trained.network.state_dict())


@pytest.mark.parametrize("name", TRAINED)
def test_each_stage_learns_at_its_part_of_the_rate(name, backbone, data, monkeypatch):
    phases = []

    def note(model, inputs, held_out, optimizer, *, epochs, unfreezing, **options):
        groups = optimizer.param_groups
        rates = {g["name"].removesuffix(", no decay"): g["lr"] / 0.5 for g in groups}
        phases.append((epochs, rates))
        assert (unfreezing is not None) == (name == "gradual")
        assert unfreezing is None or unfreezing.lr == pytest.approx(0.1 * 0.5)  # of what thaws
        return pd.DataFrame({"train_loss": [0.0] * epochs})

    monkeypatch.setattr(strategy_training, "fit", note)
    train(backbone, STRATEGIES[name], data, None, lr=0.5, num_classes=2, steps=10, seed=0)
    assert [rates for _, rates in phases] == [pytest.approx(rates) for rates in RATES[name]]
    assert sum(epochs for epochs, _ in phases) == EPOCHS


@pytest.mark.parametrize("name", ["scratch", "head_first", "gradual"])
def test_a_network_without_batchnorm_is_trained_too(name, data):
    network = load_backbone("tlcourse/vit_tiny_patch4_32", pretrained=False)
    before = start(network, STRATEGIES[name], num_classes=2, seed=3).state_dict()
    trained = train(
        network, STRATEGIES[name], data, data, lr=1e-3, num_classes=2, steps=EPOCHS, seed=3
    )
    assert moved(before, trained.network.state_dict()) == MOVES[name] - {"statistics"}


def test_a_strategy_keeps_the_pretrained_stages_that_it_names():
    changed = load_backbone(BACKBONE, num_classes=2)
    for tensor in changed.state_dict().values():
        tensor += 1  # it is these weights that are kept, not those that the name stands for
    kept = {
        name: EVERYTHING
        - moved(changed.state_dict(), start(changed, strategy, num_classes=2, seed=5).state_dict())
        for name, strategy in STRATEGIES.items()
    }
    before_head = EVERYTHING - {"head"}
    assert kept == {
        **dict.fromkeys(STRATEGIES, before_head),
        "scratch": set(),
        "early_only": {"stem", "stage1", "stage2"},
    }


def test_what_is_frozen_runs_once_for_a_probe_and_all_rates_of_the_head_first(monkeypatch):
    passes = []

    def counted(backbone, images, **options):
        passes.append(len(images))
        return run_prefix(backbone, images, **options)

    monkeypatch.setattr("tlcourse.networks.features.run_prefix", counted)
    monkeypatch.setattr(following, "TUNING_STEPS", 10)
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, seed=7)
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (23, 3, 32, 32), generator=generator).to(torch.uint8)
    labels = torch.arange(23) % 2
    data, held_out = (images, labels), (images[:9], labels[:9])
    for name in ("probe", "head_first"):
        follow(backbone, STRATEGIES[name], data, held_out, num_classes=2, steps=10, seed=0)
    assert passes == [23, 9]


def test_a_strategy_without_phases_is_not_trained(backbone, data):
    with pytest.raises(ValueError, match="probe has no phases to train in; ``follow``"):
        train(backbone, STRATEGIES["probe"], data, data, lr=1.0, num_classes=2, steps=10, seed=0)


def test_another_recipe_policy_or_rate_is_another_key():
    one = STRATEGIES["one_rate"]
    changes = {
        "phases": lambda lr: (Phase(EPOCHS, lr, factor=0.5),),
        "kept": 0.5,
        "batchnorm": "train",
        "lrs": one.lrs[:-1],
    }
    keys = [key_of(replace(one, **{name: value})) for name, value in changes.items()]
    assert key_of(one) not in keys and len({tuple(key.values()) for key in keys}) == len(changes)
    assert key_of(one)["lrs"] == "3e-05 0.0001 0.0003 0.001"
    told = replace(one, summary="in other words", source="another's")
    assert key_of(told) == key_of(one)  # words change nothing that was trained


def test_an_unknown_strategy_is_answered_with_a_near_name():
    with pytest.raises(ValueError, match="did you mean gradual"):
        strategy_named("graduel")


def test_few_draws_equally_and_a_larger_draw_contains_the_smaller():
    labels = np.repeat([0, 1, 2], [30, 10, 20])
    small, large = few(labels, 4, seed=1), few(labels, 9, seed=1)
    assert np.bincount(labels[small]).tolist() == [4, 4, 4]
    assert set(small) < set(large)
    with pytest.raises(DatasetError, match="class 1 has 10"):
        few(labels, 11, seed=0)


def test_shifts_change_what_they_name():
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    tinted, blurred = tint(images).float(), blur(images).float()
    assert torch.allclose(tinted[:, 2], images[:, 2] * 0.7, atol=0.51)
    assert torch.equal(tint(images, (1.0, 1.0, 1.0)), images)
    assert blurred.std() < 0.5 * images.float().std()
    assert blurred.mean() == pytest.approx(images.float().mean(), abs=1)


def test_scenes_differ_only_behind_the_object_when_the_background_does():
    options = {"image_size": 64, "object_size": 40, "seed": 0}
    scene, other = (make_scenes("test", 5, **options, background=b) for b in (None, checks))
    assert set(scene.labels.tolist()) <= set(range(7))
    corner = other.images[0, :, :4, :4].flatten(1)
    assert (corner == corner[:, :1]).all()  # one square of the pattern has one colour


def test_a_draw_of_scenes_with_too_few_of_a_class_is_not_the_last():
    """Split 101 dealt 17 scenes of a class where 20 were asked for."""
    task = make_task("scenes", per_class=20, image_size=32, seed=101)
    assert torch.bincount(task.train[1]).tolist() == [20] * 7


@pytest.mark.parametrize("dataset", ["scenes", "elpv"])
def test_a_task_has_equal_classes_and_the_same_test_images_under_each_shift(dataset):
    task = make_task(dataset, per_class=5, image_size=32, seed=1)
    for _, labels in (task.train, task.validation, task.test["plain"]):
        assert len(set(labels.bincount().tolist())) == 1
    assert task.train[1].bincount().tolist() == [5] * task.num_classes
    assert len(task.validation[0]) <= 96 and len(task.test["plain"][0]) <= 400
    assert set(task.test) - {"background"} == {"plain", "blur", "tint"}
    assert torch.equal(task.test["tint"][0], tint(task.test["plain"][0]))
    shared = {image.numpy().tobytes() for image in task.train[0]} & {
        image.numpy().tobytes() for image in task.test["plain"][0]
    }
    assert not shared
    # Some twenty animals in 399 scenes, eleven modules in a test of ELPV.
    assert (
        len(task.test_groups) == len(task.test["plain"][1]) and 5 < len(set(task.test_groups)) < 50
    )


def test_a_strategy_starts_from_the_librarys_network_that_it_was_given():
    for name in ("timm/resnet18", "timm/efficientnet_lite0"):
        backbone = load_backbone(name, pretrained=False)
        begun = start(backbone, STRATEGIES["probe"], num_classes=2, seed=0)
        assert begun.name == name and repr(begun.stem) == repr(backbone.stem)
        assert begun.preprocessing == backbone.preprocessing


def test_a_network_without_a_neck_is_measured_and_trained_up_to_its_head():
    usual = load_backbone("tlcourse/resnet20", pretrained=False)
    *before, head = usual.children()
    stages = {"body": torch.nn.Sequential(*before), "head": head}
    whole = Backbone("x", stages, usual.preprocessing, licence="", provenance="")
    assert [first_stages(whole, share) for share in (0, 0.5, 1)] == [[], ["body"], ["body"]]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, 32, 32), generator=generator)
    data = images.to(torch.uint8), torch.arange(6) % 2
    expected = run_prefix(usual, data[0], up_to="neck").features
    assert torch.equal(run_prefix(whole, data[0]).features, expected)
    assert measure(whole, data, seed=0).costs is not None
