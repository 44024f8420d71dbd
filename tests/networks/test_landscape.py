"""The landscape's figures are the libraries', and its choices keep their limits."""

import pandas as pd
import pytest

from tlcourse.networks.landscape import ORIGINS, choose, landscape, undominated


@pytest.fixture
def table():
    rows = {
        "small": (1e6, 90.0, 60.0, "MIT"),
        "middle": (5e6, 50.0, 70.0, "MIT"),
        "slow": (6e6, 10.0, 65.0, "MIT"),
        "large": (9e7, 5.0, 80.0, "BSD"),
    }
    columns = ["parameters", "images_per_second", "top1", "licence"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def test_published_accuracies_are_torchvisions():
    table = landscape(["alexnet", "mobilenet_v2"], image_size=64, batch_size=1)
    assert table.loc["alexnet", "top1"] == 56.522
    assert table.loc["mobilenet_v2", ["top1", "top1_newest"]].tolist() == [71.878, 72.154]
    assert (table["images_per_second"] > 0).all() and len(ORIGINS) >= 12


def test_the_best_that_keeps_the_limits(table):
    assert choose(table) == "large"
    assert choose(table, max_parameters=7e6) == "middle"
    assert choose(table, min_images_per_second=60) == "small"
    assert choose(table, licence="MIT") == "middle"
    with pytest.raises(ValueError, match=r"the smallest is small .* fastest small \(90 images/s\)"):
        choose(table, max_parameters=10)


def test_what_no_other_beats(table):
    assert undominated(table, "parameters") == ["small", "middle", "large"]
    assert undominated(table, "images_per_second") == ["small", "middle", "large"]
