"""Model folders that are truncated, changed or hostile: the same answers, or a refusal."""

import hashlib
import json
import shutil

import pytest
import torch
from fuzzing import fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tlcourse.errors import ModelFolderError
from tlcourse.networks.backbones import load_backbone
from tlcourse.own_images.export import save_model
from tlcourse.own_images.model_folder import predict_files

SETTINGS = {
    "classes": ["ants", "bees"],
    "image_size": 32,
    "resize_size": 36,
    "interpolation": "bilinear",
    "bits": None,
    "temperature": 1.5,
}
KEYS = [
    *SETTINGS, "sha256", "library", "architecture", "backbone", "mean", "std", "provenance", "x",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["timm", "tlcourse", "resnet20", "resnet32", "hf-hub:a/b", "../resnet20"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model's folder, beside an image."""
    root = tmp_path_factory.mktemp("model")
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=2)
    (root / "model").mkdir()
    save_model(backbone, root / "model", SETTINGS)
    pixels = torch.randint(0, 256, (40, 50, 3), generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.to(torch.uint8).numpy()).save(root / "image.png")
    return root


@pytest.fixture(scope="module")
def answer(whole):
    return predict_files(whole / "model", whole / "image.png").table


def changed(whole, tmp_path_factory):
    return shutil.copytree(whole / "model", tmp_path_factory.mktemp("f") / "model")


def tried(folder, whole):
    """The answer, or None where the folder is refused."""
    try:
        return predict_files(folder, whole / "image.png").table
    except ModelFolderError as error:
        assert str(folder) in str(error)
        return None


@fuzz
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1))
@example({"architecture": "hf-hub:a/b", "library": "timm"})
@example({"image_size": 10**9})
@example({"std": [0.0, 1.0, 1.0]})
@example({"classes": ["ants", "ants"]})
@example({"interpolation": []})
def test_settings_are_as_they_must_be_or_refused(tmp_path_factory, whole, answer, changes):
    folder = changed(whole, tmp_path_factory)
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(settings | changes), encoding="utf-8")
    found = tried(folder, whole)
    if found is not None:
        assert 0 <= found["confidence"].item() <= 1
        if changes.keys() <= {"x", "provenance", "bits"}:
            assert found.equals(answer)


@fuzz
@given(
    st.sampled_from(["model.json", "model.safetensors"]),
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 255)), max_size=3),
    st.integers(0, 10**7) | st.none(),
)
def test_bytes_are_as_they_were_written_or_refused(
    tmp_path_factory, whole, answer, name, changes, end
):
    folder = changed(whole, tmp_path_factory)
    written = (folder / name).read_bytes()
    content = bytearray(written)
    for place, byte in changes:
        content[place % len(content)] = byte
    content = content[: end and end % len(content)]
    (folder / name).write_bytes(content)
    found = tried(folder, whole)
    if content == written:
        assert found is not None and found.equals(answer)
    elif name == "model.safetensors":
        assert found is None


@fuzz
@given(st.binary(max_size=300) | st.just(b"{" * 9), st.booleans())
def test_weights_that_are_none_are_refused_whatever_their_digest(
    tmp_path_factory, whole, content, with_length
):
    folder = changed(whole, tmp_path_factory)
    content = len(content).to_bytes(8, "little") + content if with_length else content
    (folder / "model.safetensors").write_bytes(content)
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    settings["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "model.json").write_text(json.dumps(settings), encoding="utf-8")
    assert tried(folder, whole) is None
