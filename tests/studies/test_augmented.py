"""Cells of augmented_features: what is shown, how it is tested, and that sizes are nested."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from tlcourse.advice.tasks import make_task
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.features import extract_features
from tlcourse.studies import STUDIES
from tlcourse.studies.augmented import Key, _shown, classify_augmented, varied, ways_to_test
from tlcourse.studies.outcomes import outcomes_of
from tlcourse.tuning.probing import fit_probe

LITE0 = "efficientnet_lite0"
KEY = Key("digits", 8, 0, LITE0, 64)
HALVES = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
HALVES[:, :, :, :8] = 200


def cell(**settings):
    return classify_augmented(**{**KEY._asdict(), "per_class": 4, "most": 8, **settings})


def test_the_smaller_draw_is_within_the_larger_whatever_is_varied():
    few, labels = _shown(KEY, "none", 4)
    more, _ = _shown(KEY, "none", 8)
    assert (np.bincount(labels) == 4).all()
    distances = np.linalg.norm(few[0][:, None] - more[0][None], axis=2)
    assert (distances.min(axis=1) < 1e-3).all()  # batches of other sizes differ in last digits


def test_mirrored_shows_each_image_both_ways():
    shown, count = varied(
        (HALVES, torch.zeros(2, dtype=torch.long)), "mirrored", dataset="", seed=0
    )
    assert count == 2 and torch.equal(shown[:2], HALVES) and torch.equal(shown[2:], HALVES.flip(-1))


@pytest.mark.parametrize(("dataset", "both_ways"), [("scenes", True), ("digits", False)])
def test_light_views_mirror_where_that_keeps_the_class(dataset, both_ways):
    shown, count = varied(
        (HALVES, torch.zeros(2, dtype=torch.long)), "light", dataset=dataset, seed=0
    )
    assert len(shown) == 2 * count == 16
    left, right = (x.float().mean(dim=(1, 2, 3)) for x in shown.split(8, dim=-1))
    assert bool((left < right).any()) == both_ways


def test_ways_to_test_show_the_same_images():
    ways = ways_to_test(torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16))
    assert ways["five_crops"][4].shape[-1] == 14 and ways["enlarged"][0].shape[-1] == 20
    assert torch.equal(ways["two_ways"][1].flip(-1), ways["plain"][0])


def test_a_plain_cell_is_a_probe_of_the_necks_features():
    """By scikit-learn and the task itself, without the study's own code but for the draw."""
    task = make_task("digits", per_class=8, image_size=64, seed=0)
    network = load_backbone(LITE0)
    train, validation, test = (
        (extract_features(network, x, cache=None).numpy(), y.numpy())
        for x, y in (task.train, task.validation, task.test["plain"])
    )
    expected = accuracy_score(test[1], fit_probe(train, validation).classifier.predict(test[0]))
    result = cell(per_class=8, augmentation="none")
    assert result["plain"] == pytest.approx(expected, abs=0.01)
    for way in ("plain", "two_ways", "five_crops", "enlarged"):
        kept = outcomes_of(result["outcomes"], way)
        assert kept.right.mean() == pytest.approx(result[way])
        assert len(kept.groups) == len(test[1])


def test_cells_are_balanced_however_far_the_study_got():
    cells = STUDIES["augmented_features"].cells
    by_split = [[c for c in cells if c["split"] == s] for s in range(10)]
    assert len({len(part) for part in by_split}) == 1
    assert [c["split"] for c in cells] == sorted(c["split"] for c in cells)
