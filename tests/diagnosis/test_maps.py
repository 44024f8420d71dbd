"""Maps on images: every value where its place looks."""

import pytest
import torch
from torch.nn.functional import interpolate

from tlcourse.diagnosis.cam import grad_cam
from tlcourse.diagnosis.maps import explain, on_image, overlay
from tlcourse.errors import BackboneError
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.receptive_field import WHOLE_IMAGE, Field, receptive_fields


def test_overlays_are_images_brightest_where_the_map_is_highest():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 3] = 7.0
    black = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    over = overlay(black, maps, Field(8, 8, 3.5), opacity=1.0)
    assert over.shape == black.shape and over.dtype == torch.uint8
    green = over[0, 1]  # high in yellow, low in dark violet
    assert green[0, 31] == green.max() > green[31, 0] == green.min()
    flat = overlay(black, torch.full((1, 4, 4), 2.0), Field(8, 8, 3.5))
    assert (flat == flat[:, :, :1, :1]).all()


def test_a_map_whose_places_look_at_the_middle_of_their_cells_is_only_stretched():
    maps = torch.rand(2, 4, 6)
    stretched = interpolate(maps[:, None], (32, 48), mode="bilinear")[:, 0]
    torch.testing.assert_close(on_image(maps, (32, 48), Field(99, 8, 3.5)), stretched)


def test_each_value_stands_where_its_place_looks():
    maps = torch.rand(1, 4, 4)
    enlarged = on_image(maps, (32, 32), Field(99, 8, 0))
    torch.testing.assert_close(enlarged[:, ::8, ::8], maps)
    with pytest.raises(ValueError, match="depends on the whole image"):
        on_image(maps, (32, 32), WHOLE_IMAGE)


@pytest.fixture
def photographs():
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


CLASSES = torch.tensor([0, 2])


def test_an_explanation_is_the_overlay_of_the_last_maps_grad_cam(photographs):
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    maps = grad_cam(backbone, photographs, CLASSES, stage="stage3")
    field = receptive_fields(backbone, image_size=32)["stage3"]
    expected = overlay(photographs, maps, field)
    assert torch.equal(explain(backbone, photographs, CLASSES), expected)


def test_an_explanation_by_attention_is_stretched_over_the_image(photographs):
    backbone = load_backbone("tlcourse/vit_tiny_patch4_32", pretrained=False, num_classes=3)
    maps = grad_cam(backbone, photographs, CLASSES, stage="stage4")
    expected = overlay(photographs, maps, Field(32, 4, 1.5))  # eight cells of four pixels
    assert torch.equal(explain(backbone, photographs, CLASSES), expected)


def test_a_backbone_without_stages_cannot_be_explained(photographs):
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    backbone.stage_names = ("body", "head")
    with pytest.raises(BackboneError, match="has only body, head, so there is no last map"):
        explain(backbone, photographs, CLASSES)


def test_opacity_mixes_image_and_colour():
    grey = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    maps, field = torch.rand(1, 2, 2), Field(9, 4, 1.5)
    colours = overlay(grey, maps, field, opacity=1.0).double()
    assert torch.equal(overlay(grey, maps, field, opacity=0.0), grey)
    mixed = overlay(grey, maps, field, opacity=0.25).double()
    assert (mixed - (0.75 * 100 + 0.25 * colours)).abs().max() <= 1
