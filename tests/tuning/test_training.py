"""The training loop against plain torch, interruptions and wrong input."""

import signal
import time

import pandas as pd
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from tlcourse.networks.backbones import load_backbone
from tlcourse.tuning.checkpoints import _is_better
from tlcourse.tuning.optim import cosine
from tlcourse.tuning.training import evaluate, fit, predict


def make_data(n=60, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, 8, generator=generator)
    return centres[labels] + torch.randn(n, 8, generator=generator), labels


def make_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)
    )


def run(checkpoint=None, epochs=6, **options):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    history = fit(
        model, make_data(), make_data(seed=1), optimizer,
        epochs=epochs, seed=3, batch_size=16, checkpoint=checkpoint, **options,
    )  # fmt: skip
    return model, history


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_one_full_batch_step_is_torchs_own():
    inputs, labels = make_data()
    model = nn.Linear(8, 3)
    twin = nn.Linear(8, 3)
    twin.load_state_dict(model.state_dict())
    fit(
        model, (inputs, labels), (inputs, labels), torch.optim.SGD(model.parameters(), lr=0.1),
        epochs=1, seed=0, batch_size=len(inputs),
    )  # fmt: skip
    nn.functional.cross_entropy(twin(inputs), labels).backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    torch.testing.assert_close(model.weight, twin.weight)


def test_history_and_kept_weights_agree():
    model, history = run()
    best = history[history["best"]]
    assert list(history["epoch"]) == list(range(6))
    assert len(best) == 1
    assert best["validation_accuracy"].item() == history["validation_accuracy"].max()
    loss, accuracy = evaluate(model, make_data(seed=1))
    assert loss == pytest.approx(best["validation_loss"].item())
    assert accuracy == best["validation_accuracy"].item()
    assert not model.training
    assert history["lr"].is_monotonic_decreasing  # cosine


def test_without_validation_the_last_weights_stay():
    """Three full-batch steps under the cosine, beside torch's own."""
    inputs, labels = make_data()
    model, twin = nn.Linear(8, 3), nn.Linear(8, 3)
    twin.load_state_dict(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, (inputs, labels), None, optimizer, epochs=3, seed=0, batch_size=60)
    assert list(history["best"]) == [False, False, True]
    assert "validation_loss" not in history

    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(inputs), labels).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(model.weight, twin.weight)
    with pytest.raises(ValueError, match="patience needs validation data"):
        fit(model, (inputs, labels), None, optimizer, epochs=3, seed=3, patience=1)


def test_the_same_seed_gives_the_same_numbers():
    (a, first), (b, second) = run(), run()
    assert_same_weights(a, b)
    columns = first.columns.drop("seconds")
    pd.testing.assert_frame_equal(first[columns], second[columns])


def test_the_seconds_of_epochs_are_parts_of_the_whole():
    started = time.perf_counter()
    _, history = run()
    seconds = pd.DataFrame(history)["seconds"]
    assert seconds.min() > 0 and seconds.sum() < time.perf_counter() - started


@pytest.mark.parametrize("stop_after", [1, 4])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(stop_after, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    expected, _ = run()
    monkeypatch.setattr("tlcourse.tuning.training.evaluate", interrupt_in(stop_after + 1))
    with pytest.raises(KeyboardInterrupt):
        run(path)
    monkeypatch.undo()
    resumed, history = run(path)
    assert_same_weights(resumed, expected)
    assert len(history) == 6
    finished, _ = run(path)  # a finished run is not trained again
    assert_same_weights(finished, expected)


def interrupt_in(calls):
    count = iter(range(1, calls + 1))

    def evaluate_until(model, data):
        if next(count) == calls:
            raise KeyboardInterrupt
        return evaluate(model, data)

    return evaluate_until


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_process_resumes_to_the_same_weights(tmp_path, start):
    """SIGKILL twice while epochs run and checkpoints are written, then the rest."""
    path = tmp_path / "run.pt"
    for wait in (0.25, 0.4):  # seconds after the first epoch of this try
        before = stamp(path)
        process = start(run_until_the_signal, path)
        while process.is_alive() and stamp(path) == before:
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    resumed, history = run(path, epochs=400)
    assert len(history) == 400
    assert_same_weights(resumed, run(epochs=400)[0])


def run_until_the_signal(path):
    def wait(history):
        if len(history) >= 390:
            time.sleep(600)

    run(path, epochs=400, on_epoch=wait)


def stamp(path):
    return path.stat().st_mtime_ns if path.exists() else None


def test_a_checkpoint_of_another_run_or_a_broken_one_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    run(path, epochs=2)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="of another run: epochs differ"):
        run(path, epochs=3)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be read.*delete it to start anew"):
        run(path, epochs=2)
    assert path.read_bytes() == content[: len(content) // 2]  # nothing of the user's is lost


def test_early_stopping_keeps_the_best_weights():
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)  # learns nothing
    history = fit(
        model, make_data(), make_data(seed=1), optimizer,
        epochs=50, seed=0, patience=3,
    )  # fmt: skip
    assert len(history) < 50
    assert len(history) - 1 - history["best"].idxmax() == 3


def test_batches_are_near_equal_so_that_batchnorm_never_sees_one_image(monkeypatch):
    model = make_model()
    sizes = []
    model.register_forward_hook(lambda m, x, y: sizes.append(len(x[0])) if m.training else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, make_data(n=33), make_data(), optimizer, epochs=1, seed=0, batch_size=16)
    assert sizes == [11, 11, 11]


@pytest.mark.parametrize(
    ("steps", "batch_size", "passes"), [(12.0, 16, 5), (12.5, 16, 5), (10.0, 100, 10), (5.0, 8, 1)]
)
def test_steps_per_epoch_trains_as_repeated_data_do(steps, batch_size, passes):
    """Every recorded training was made by repeating its data; 40 inputs, by hand 12 · 16 / 40."""
    inputs, labels = make_data(n=40)
    results = []
    for data, options in (
        ((inputs, labels), {"steps_per_epoch": steps, "batch_size": batch_size}),
        ((inputs.repeat(passes, 1), labels.repeat(passes)), {"batch_size": min(batch_size, 40)}),
    ):
        model = make_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        history = fit(model, data, make_data(seed=1), optimizer, epochs=3, seed=5, **options)
        results.append((model, history.drop(columns="seconds")))
    (short, first), (long, second) = results
    assert_same_weights(short, long)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_an_epoch_of_fewer_steps_than_a_pass_takes_a_part_drawn_anew():
    model, seen = make_model(), []
    model.register_forward_hook(lambda m, x, y: seen.append(x[0]) if m.training else None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    inputs, labels = make_data(n=40)
    options = {"steps_per_epoch": 3.0, "batch_size": 4, "epochs": 2, "seed": 0}
    fit(model, (inputs, labels), make_data(seed=1), optimizer, **options)
    assert [len(x) for x in seen] == [4] * 6
    rows = [
        [(inputs == x).all(dim=1).nonzero().item() for x in torch.cat(e)]
        for e in (seen[:3], seen[3:])
    ]
    assert [len(set(epoch)) for epoch in rows] == [12, 12]  # none twice in an epoch
    assert set(rows[0]) != set(rows[1])


def test_augmentation_changes_every_image_on_its_own():
    backbone = load_backbone("resnet18", pretrained=False, num_classes=2)
    seen = []
    backbone.register_forward_pre_hook(
        lambda m, args: seen.append(args[0].clone()) if m.training else None
    )
    ramp = torch.arange(32, dtype=torch.uint8).expand(16, 3, 32, 32)
    data = ramp, torch.arange(16) % 2
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.01)
    fit(backbone, data, data, optimizer, epochs=1, seed=0, augment=v2.RandomHorizontalFlip())
    flipped = (seen[0][:, 0, 0, 0] == 31).sum()
    assert 0 < flipped < 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.full((60,), 3)}, "run from 3 to 3, but the model has 3 classes"),
        ({"labels": torch.zeros(59, dtype=torch.int64)}, "60 inputs and 59 labels"),
        ({"inputs": torch.zeros(60, 9)}, r"cannot take inputs of shape \(60, 9\)"),
        ({"augment": v2.RandomHorizontalFlip()}, "features that were computed once"),
    ],
)
@pytest.mark.unchecked
def test_wrong_input_is_named_before_training(change, message):
    inputs, labels = make_data()
    model = make_model()
    with pytest.raises(ValueError, match=message):
        fit(
            model, (change.get("inputs", inputs), change.get("labels", labels)), make_data(),
            torch.optim.SGD(model.parameters(), lr=0.1),
            epochs=1, seed=0, augment=change.get("augment"),
        )  # fmt: skip


def test_accuracy_over_a_training_epoch_and_its_loss_are_means_over_images():
    """With a rate of zero every batch sees the same weights: what ``evaluate`` finds."""
    model, data = nn.Linear(8, 3), make_data(n=50)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    row = fit(model, data, None, optimizer, epochs=1, seed=0, batch_size=16).iloc[0]
    loss, accuracy = evaluate(model, data)
    assert row["train_loss"] == pytest.approx(loss)
    assert row["train_accuracy"] == pytest.approx(accuracy)
    assert row["epoch"] == 0 and row["lr"] == 0.0 and row["seconds"] > 0


def test_equal_accuracy_with_a_lower_loss_is_better():
    best = {"validation_accuracy": 0.5, "validation_loss": 1.0}
    assert _is_better({"validation_accuracy": 0.5, "validation_loss": 0.9}, best)
    assert not _is_better({"validation_accuracy": 0.5, "validation_loss": 1.0}, best)
    assert not _is_better({"validation_accuracy": 0.4, "validation_loss": 0.1}, best)
    assert _is_better({"validation_accuracy": 0.6, "validation_loss": 9.0}, best)


def test_a_diverging_loss_stops_the_run():
    model = nn.Linear(8, 3)
    with pytest.raises(FloatingPointError, match="lower rate"):
        fit(
            model, (make_data()[0] * 1e38, make_data()[1]), make_data(),
            torch.optim.SGD(model.parameters(), lr=1e30), epochs=3, seed=0,
        )  # fmt: skip


def test_predict_puts_the_mode_back_and_does_not_move_statistics():
    model = make_model().train()
    before = model[1].running_mean.clone()
    logits = predict(model, make_data()[0], batch_size=7)
    assert logits.shape == (60, 3)
    assert model.training
    assert torch.equal(model[1].running_mean, before)


def test_cosine_ends_at_zero():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = cosine(optimizer, 10)
    for _ in range(10):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_lbfgs_is_refused():
    model = make_model()
    with pytest.raises(ValueError, match=r"LBFGS needs the same loss .* linear_probe"):
        fit(model, make_data(), None, torch.optim.LBFGS(model.parameters()), epochs=1, seed=0)
