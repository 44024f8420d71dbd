"""Named augmentations against torchvision's own, and views of test images by hand."""

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from tlcourse.runtime import seed_everything
from tlcourse.studies.arms import augment
from tlcourse.tuning import POLICIES, augmentation, predict_views

IMAGE = torch.arange(3 * 24 * 24).remainder(251).to(torch.uint8).reshape(3, 24, 24)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "none"])
def test_policies_give_other_images_of_the_asked_size(name):
    policy = augmentation(name, 24)
    seed_everything(0)
    varied = torch.stack([policy(IMAGE) for _ in range(8)])
    assert varied.shape == (8, 3, 24, 24) and varied.dtype == torch.uint8
    assert len(varied.unique(dim=0)) > 1


def test_without_a_mirror_nothing_is_mirrored():
    left = torch.zeros(3, 24, 24, dtype=torch.uint8)
    left[:, :, :4] = 255

    def sides(mirror):
        policy = augmentation("light", 24, mirror=mirror)
        seed_everything(0)
        shown = torch.stack([policy(left) for _ in range(40)]).float()
        return shown[..., :12].mean(dim=(1, 2, 3)), shown[..., 12:].mean(dim=(1, 2, 3))

    here, there = sides(mirror=False)
    assert (here >= there).all()
    here, there = sides(mirror=True)
    assert (here < there).any()


def test_the_races_light_is_what_it_was():
    """The study transfer_race is recorded with these very modules and draws."""
    assert augment("none", "scenes", 24) is None
    crop = v2.RandomResizedCrop(24, scale=(0.6, 1.0), antialias=True)
    for dataset, old in (
        ("scenes", v2.Compose([crop, v2.RandomHorizontalFlip()])),
        ("digits", crop),
    ):
        now = augment("light", dataset, 24)
        assert repr(now) == repr(old)
        draws = []
        for module in (now, old):
            seed_everything(5)
            draws.append(torch.stack([module(IMAGE) for _ in range(6)]))
        assert torch.equal(*draws)


def test_an_unknown_policy_names_the_near_one():
    with pytest.raises(ValueError, match=r"there are none, .*did you mean heavy"):
        augmentation("heavi", 24)


def test_views_are_averaged_as_probabilities_not_as_logits():
    model = nn.Identity()
    one, other = torch.tensor([[4.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    expected = (one.softmax(1) + other.softmax(1)) / 2
    torch.testing.assert_close(predict_views(model, [one, other]), expected)
    assert not torch.allclose(expected, ((one + other) / 2).softmax(1))


@pytest.mark.parametrize("views", [[], [torch.zeros(2, 3), torch.zeros(1, 3)]])
def test_views_of_other_images_are_refused(views):
    with pytest.raises(ValueError, match="same images"):
        predict_views(nn.Identity(), views)
