"""Mixed batches, smoothed labels and averaged weights in ``fit``, against torch by hand."""

import pytest
import torch
from test_training import assert_same_weights, interrupt_in, make_data, make_model, run
from torch import nn
from torchvision.transforms import v2

from tlcourse.runtime import seed_everything
from tlcourse.tuning.training import fit


class Pixels(nn.Sequential):
    """Logits of uint8 images, for steps that can be followed by hand."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(48, 3))

    def forward(self, x):
        return super().forward(x / 255)


def make_images():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8, generator=generator)
    return images, torch.arange(12) % 3


def test_a_step_with_label_smoothing_is_torchs_own():
    inputs, labels = make_data()
    model, twin = nn.Linear(8, 3), nn.Linear(8, 3)
    twin.load_state_dict(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, (inputs, labels), None, optimizer, epochs=1, seed=0, batch_size=60,
        label_smoothing=0.2)  # fmt: skip
    nn.CrossEntropyLoss(label_smoothing=0.2)(twin(inputs), labels).backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    torch.testing.assert_close(model.weight, twin.weight)


@pytest.mark.parametrize("kind", [v2.MixUp, v2.CutMix])
def test_a_step_on_mixed_images_is_torchvisions_own(kind):
    images, labels = make_images()
    model, twin = Pixels(), Pixels()
    twin.load_state_dict(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, (images, labels), None, optimizer, epochs=1, seed=0, batch_size=12,
        mix=kind(num_classes=3))  # fmt: skip
    seed_everything(0)
    order = torch.randperm(12)
    x, shares = kind(num_classes=3)(images[order].float(), labels[order])
    assert ((shares > 0).sum(dim=1) == 2).any()  # something was mixed
    nn.functional.cross_entropy(twin(x.round()), shares).backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    torch.testing.assert_close(model[1].weight, twin[1].weight)


def test_the_average_is_kept_with_its_statistics():
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    after = []
    optimizer.register_step_post_hook(
        lambda *_: after.append({k: v.clone() for k, v in model.state_dict().items()})
    )
    fit(model, make_data(), None, optimizer, epochs=3, seed=0, batch_size=30, ema_decay=0.8)
    assert len(after) == 6
    for name in ("0.weight", "1.running_mean", "1.running_var", "4.bias"):
        expected = after[0][name]
        for step in after[1:]:
            expected = 0.8 * expected + 0.2 * step[name]
        torch.testing.assert_close(model.state_dict()[name], expected)
        assert not torch.allclose(expected, after[-1][name])


def test_what_is_validated_is_the_average():
    """A decay near 1 keeps what the first step made, so validation hardly changes."""
    _, history = run(ema_decay=0.9999)
    assert history["validation_loss"].std() < 1e-3
    assert run()[1]["validation_loss"].std() > 1e-2


def test_regularised_runs_resume_to_the_same_weights(tmp_path, monkeypatch):
    options = {"ema_decay": 0.9, "label_smoothing": 0.1}
    path = tmp_path / "run.pt"
    expected, _ = run(**options)
    monkeypatch.setattr("tlcourse.tuning.training.evaluate", interrupt_in(4))
    with pytest.raises(KeyboardInterrupt):
        run(path, **options)
    monkeypatch.undo()
    assert_same_weights(run(path, **options)[0], expected)
    for other in ({"ema_decay": 0.5}, {"label_smoothing": 0.0}):
        with pytest.raises(ValueError, match=f"of another run: {next(iter(other))} differ"):
            run(path, **options | other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5; expected a share"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; expected 0 or more and less than 1"),
        ({"mix": v2.MixUp(num_classes=4)}, "num_classes=4, but the model has 3 classes"),
    ],
)
def test_wrong_options_are_named_before_training(options, message):
    model = Pixels()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=message):
        fit(model, make_images(), None, optimizer, epochs=1, seed=0, **options)


def test_features_cannot_be_mixed():
    with pytest.raises(ValueError, match="leave out augment and mix"):
        run(mix=v2.MixUp(num_classes=3))
