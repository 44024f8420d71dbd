"""ONNX Runtime in place of eager: the same features, and eager where it cannot."""

import pytest
import torch
from torch import nn

from tlcourse.modes import stay_in_eval
from tlcourse.networks import engine
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.features import run_prefix


@pytest.fixture(autouse=True)
def _small_sets_pay(monkeypatch):
    engine.kept.clear()
    monkeypatch.setattr(engine, "ENOUGH_PIXELS", 5 * 32 * 32)


@pytest.fixture
def images():
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)


@pytest.fixture
def backbone():
    return load_backbone("tlcourse/resnet20", pretrained=False)


def eager(backbone, images, up_to):
    with torch.inference_mode():
        return backbone.features(images, up_to=up_to)


@pytest.mark.parametrize(
    ("name", "up_to", "size"),
    [
        ("tlcourse/resnet20", "neck", 32),
        ("tlcourse/resnet20", "stage2", 32),
        ("efficientnet_lite0", "stage2", 64),
        ("timm/vit_tiny_patch16_224", "stem", 224),
    ],
)
def test_features_are_those_of_eager(name, up_to, size):
    backbone = load_backbone(name, pretrained=name == "efficientnet_lite0")
    images = torch.randint(0, 256, (5, 3, size, size), dtype=torch.uint8)
    found = run_prefix(backbone, images, up_to=up_to)
    assert found.engine == "onnxruntime"
    expected = eager(backbone, images, up_to)
    scale = expected.abs().max().item()
    torch.testing.assert_close(found.features, expected, rtol=0, atol=1e-4 * scale)
    by_twos = run_prefix(backbone, images, up_to=up_to, batch_size=2).features
    torch.testing.assert_close(found.features, by_twos, rtol=0, atol=1e-4 * scale)


def test_modes_and_statistics_stay_and_heads_can_train_on_the_features(backbone, images):
    backbone.train()
    norm = next(m for m in backbone.stem.modules() if isinstance(m, nn.BatchNorm2d))
    stay_in_eval(norm)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    found = run_prefix(backbone, images)
    assert found.engine == "onnxruntime"
    assert backbone.training and backbone.stage1.training and not norm.training
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    backbone.head(found.features).sum().backward()


def test_a_graph_is_made_once_and_anew_for_other_weights(backbone, images, monkeypatch):
    first = run_prefix(backbone, images).features
    session = engine._session
    monkeypatch.setattr(engine, "_session", None)  # a second export would fail, and be recorded
    assert torch.equal(run_prefix(backbone, images).features, first)
    with torch.no_grad():
        next(backbone.stage1.parameters()).mul_(2)
    assert run_prefix(backbone, images).engine == "torch"
    monkeypatch.setattr(engine, "_session", session)
    engine.kept.clear()
    assert not torch.allclose(run_prefix(backbone, images).features, first)
    for stage in ("stem", "stage1", "stage2"):
        run_prefix(backbone, images, up_to=stage)
    assert len(engine.kept) == engine.MAX_KEPT
    assert all(kept.name == "onnxruntime" for kept in engine.kept.values())


def test_few_images_stay_with_torch(backbone, images):
    found = run_prefix(backbone, images[:4])
    assert found.engine == "torch" and "4 images" in found.reason
    assert torch.equal(found.features, eager(backbone, images[:4], "neck"))


def test_a_failed_export_is_recorded_and_eager_runs(backbone, images, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with caplog.at_level("INFO", logger="tlcourse"):
        found = run_prefix(backbone, images)
    assert (found.engine, found.reason) == (
        "torch",
        "export failed: RuntimeError: no such operator",
    )
    assert torch.equal(found.features, eager(backbone, images, "neck"))
    assert found.reason in caplog.text
    assert torch.equal(run_prefix(backbone, images).features, found.features)  # kept, not tried


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_features_that_differ_are_not_used(backbone, images, monkeypatch, error):
    session = engine._session

    def wrong(*arguments):
        run = session(*arguments)
        return lambda batch: run(batch) * (1 + error)

    monkeypatch.setattr(engine, "_session", wrong)
    found = run_prefix(backbone, images)
    assert found.engine == "torch" and "differs from eager by" in found.reason
    assert torch.equal(found.features, eager(backbone, images, "neck"))


def test_a_difference_within_the_tolerance_is_recorded(backbone, images, monkeypatch):
    session = engine._session

    def nearly(*arguments):
        run = session(*arguments)
        return lambda batch: run(batch) * (1 + 5e-5)

    monkeypatch.setattr(engine, "_session", nearly)
    found = run_prefix(backbone, images, up_to="stem")
    assert found.engine == "onnxruntime" and found.reason.endswith("e-05")


def test_eighty_images_of_224_px_pay_and_not_on_a_gpu(monkeypatch):
    monkeypatch.undo()
    images = torch.empty(1, 3, 224, 224, dtype=torch.uint8).expand(80, -1, -1, -1)
    monkeypatch.setattr(engine, "device", lambda: torch.device("cpu"))
    assert engine.pays(images) and not engine.pays(images[:79])
    monkeypatch.setattr(engine, "device", lambda: torch.device("cuda"))
    assert not engine.pays(images)


def test_threads_are_torchs(backbone, images, monkeypatch):
    import onnxruntime

    options = []
    original = onnxruntime.InferenceSession

    def spy(graph, given, **rest):
        options.append(given.intra_op_num_threads)
        return original(graph, given, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    run_prefix(backbone, images, up_to="stem")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    run_prefix(backbone, images, up_to="stem")
    assert options == [3, 1]
