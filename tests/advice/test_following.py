"""A strategy is followed as the record was made: its rate is chosen, then it is trained."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tlcourse.advice import following
from tlcourse.advice.following import follow
from tlcourse.advice.rates import train_at_best
from tlcourse.advice.strategies import EPOCHS, STRATEGIES
from tlcourse.advice.strategy_training import Trained
from tlcourse.networks import Preprocessing
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.features import extract_features
from tlcourse.networks.own_module import as_backbone
from tlcourse.tuning import training
from tlcourse.tuning.probing import fit_probe
from tlcourse.tuning.training import evaluate, predict

Split = tuple[Tensor, Tensor]


def bright(images: int, classes: int, seed: int) -> Split:
    """Noise that is brighter by class: soon learnt."""
    labels = torch.arange(images) % classes
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 120, (images, 3, 32, 32), generator=generator)
    return (noise + 40 * labels[:, None, None, None]).to(torch.uint8), labels


@pytest.fixture
def backbone() -> Backbone:
    return load_backbone("tlcourse/resnet20", pretrained=False, num_classes=5, seed=7)


def without_a_bias() -> Backbone:
    """A network of one's own whose head has none."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    preprocessing = Preprocessing(32, 32, "bilinear", mean=(0.5,) * 3, std=(0.25,) * 3)
    return as_backbone(nn.Sequential(*layers, nn.Linear(8, 5, bias=False)), preprocessing)


@pytest.mark.parametrize("bias", [True, False])
def test_a_probe_is_a_logistic_regression_on_the_last_features_and_leaves_the_stages(
    bias, backbone
):
    backbone = backbone if bias else without_a_bias()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    train_data, validation, test = (bright(n, 3, seed) for seed, n in enumerate((18, 12, 9)))
    found = follow(
        backbone, STRATEGIES["probe"], train_data, validation, num_classes=3, steps=10, seed=0
    )
    parts = [
        (extract_features(backbone, images, cache=None).numpy(), labels.numpy())
        for images, labels in (train_data, validation, test)
    ]
    expected = fit_probe(*parts[:2], intercept=bias)
    answers = predict(found.network, test[0]).softmax(1).numpy()
    np.testing.assert_allclose(
        answers, expected.classifier.predict_proba(parts[2][0]), rtol=1e-3, atol=1e-5
    )
    assert (found.network.head.bias is not None) == bias
    for name, tensor in before.items():
        assert torch.equal(backbone.state_dict()[name], tensor), name
        if not name.startswith("head."):
            assert torch.equal(found.network.state_dict()[name], tensor), name
    (row,) = found.history.to_dict("records")
    assert row["best"] and row["validation_accuracy"] == expected.validation.accuracy
    assert row["validation_loss"] == pytest.approx(expected.validation.loss, rel=1e-3)
    assert row["train_accuracy"] == evaluate(found.network, train_data).accuracy


@pytest.mark.parametrize(
    ("accuracies", "losses", "diverges", "trained"),
    [
        ((0.5, 0.9, 0.7), (1.0, 1.0, 0.1), (), (0.2,)),
        ((0.9, 0.9, 0.7), (1.0, 0.5, 0.1), (), (0.2,)),  # of equal accuracy the lower loss
        ((0.5, 0.6, 0.7), (1.0, 1.0, 1.0), (0.3,), (0.3, 0.2)),
        ((0.5, 0.6, 0.7), (1.0, 1.0, 1.0), (0.1, 0.2, 0.3), (0.3, 0.2, 0.1)),  # no other is left
    ],
)
def test_the_rate_that_is_best_on_validation_is_trained_in_full_or_the_next_that_learns(
    accuracies, losses, diverges, trained, monkeypatch
):
    strategy = replace(STRATEGIES["one_rate"], lrs=(0.1, 0.2, 0.3))
    data, held_out = bright(4, 2, 0), bright(6, 2, 1)
    calls: list[tuple[float, float, bool]] = []

    def note(backbone, followed, given, validation, *, lr, steps, **options):
        assert followed is strategy and given is data
        assert validation is None or validation is held_out
        calls.append((lr, steps, validation is not None))
        network = nn.Linear(1, 1)
        network.lr = lr
        loss = math.log(2) if lr in diverges else 0.1
        return Trained(network, pd.DataFrame({"train_loss": [loss]}))

    scores = {
        lr: training.Evaluation(loss=loss, accuracy=accuracy)
        for lr, loss, accuracy in zip(strategy.lrs, losses, accuracies, strict=True)
    }
    monkeypatch.setattr(following, "train", note)
    monkeypatch.setattr("tlcourse.advice.rates.evaluate", lambda network, _: scores[network.lr])
    monkeypatch.setattr(following, "TUNING_STEPS", 7)
    backbone = load_backbone("tlcourse/resnet20", pretrained=False)
    found = follow(backbone, strategy, data, held_out, num_classes=2, steps=40, seed=0)
    short = [(lr, 7, False) for lr in strategy.lrs]
    assert calls == [*short, *((lr, 40, True) for lr in trained)]
    assert found.network.lr == trained[-1]


def test_an_interrupted_call_goes_on_to_the_same_weights(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "TUNING_STEPS", EPOCHS)
    strategy = replace(STRATEGIES["head_first"], lrs=(1e-3, 3e-3))
    data, held_out = bright(8, 2, 0), bright(6, 2, 1)
    trained, told = [], []
    train_epoch = training._train_epoch
    monkeypatch.setattr(
        training, "_train_epoch", lambda *rest: trained.append(1) or train_epoch(*rest)
    )

    def run(checkpoint=None, until=EPOCHS):
        def tell(history: pd.DataFrame) -> None:
            told.append(len(history))
            if len(history) > until:
                raise KeyboardInterrupt

        given = {"num_classes": 2, "steps": EPOCHS, "seed": 0, "on_epoch": tell}
        return follow(backbone, strategy, data, held_out, checkpoint=checkpoint, **given)

    quiet = run()
    # Two short trainings, of which nothing is told, and the full one: each rate learns.
    assert len(trained) == 3 * EPOCHS and told == [*range(1, EPOCHS + 1)]
    trained.clear(), told.clear()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, until=4)
    again = run(tmp_path)
    assert len(trained) == 3 * EPOCHS and told == [*range(1, EPOCHS + 1)]  # nothing twice
    for name, tensor in quiet.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name
    pd.testing.assert_frame_equal(
        quiet.history.drop(columns="seconds"), again.history.drop(columns="seconds")
    )


def test_a_loss_that_is_not_finite_is_another_way_to_diverge(monkeypatch):
    """At 0.3 short trainings already end so, at 0.2 the full one."""

    def train(lr, steps, validate, *, survives=0.1):
        if lr > survives + (0.1 if steps < 40 else 0.0):
            raise FloatingPointError("the training loss is nan")
        network = nn.Linear(1, 1)
        network.lr = lr
        return Trained(network, pd.DataFrame({"train_loss": [0.1]}))

    monkeypatch.setattr(
        "tlcourse.advice.rates.evaluate",
        lambda network, _: training.Evaluation(loss=1.0, accuracy=network.lr),
    )
    options = {"steps": 40, "tuning_steps": 7, "num_classes": 2}
    found = train_at_best(train, bright(6, 2, 1), (0.1, 0.2, 0.3), **options)
    assert (found.lr, found.diverged, found.trained.network.lr) == (0.1, 1, 0.1)
    assert [score.accuracy for score in found.scores] == [0.1, 0.2, 0.0]
    with pytest.raises(FloatingPointError):
        train_at_best(partial(train, survives=0.0), bright(6, 2, 1), (0.1, 0.2), **options)
