"""The landscape's figures are the libraries', and its choices keep their limits."""

import sys

import pandas as pd
import pytest

from tlcourse.architectures import create
from tlcourse.networks.complexity import complexity
from tlcourse.networks.landscape import (
    ORIGINS,
    choose,
    images_per_second,
    landscape,
    multiply_adds,
    undominated,
)


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


def test_work_and_speed_by_hand(monkeypatch):
    work = complexity(create("resnet20"), image_size=32)["multiply_adds"].sum()
    assert multiply_adds("resnet20", 32) == work
    seconds = iter([9.0, 2.0, 0.5, 1.0])  # the first one warms up
    module = sys.modules["tlcourse.networks.landscape"]  # the face's name is the function's
    monkeypatch.setattr(module, "seconds_of", lambda *_: next(seconds))
    assert images_per_second(create("resnet20"), 32, batch_size=4) == 4.0


def test_limits_include_the_network_on_them(table):
    assert choose(table, max_parameters=5e6) == "middle"
    assert choose(table, min_images_per_second=90) == "small"


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
