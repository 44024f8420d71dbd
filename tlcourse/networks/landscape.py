"""Landmark networks side by side: size, work, published accuracy, and speed on this machine."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tlcourse.architectures import create
from tlcourse.modes import evaluating
from tlcourse.runtime import device, progress, seconds_of


@dataclass(frozen=True)
class Origin:
    """First publication of a network; top-1 on ImageNet in per cent where torchvision has none."""

    year: int
    top1: float | None = None
    weights: str = "torchvision"
    licence: str = "BSD-3-Clause"


ORIGINS = {
    "alexnet": Origin(2012),  # Krizhevsky et al.
    "vgg16": Origin(2014),  # Simonyan & Zisserman
    "resnet18": Origin(2015),  # He et al.
    "resnet50": Origin(2015),  # He et al.
    "densenet121": Origin(2016),  # Huang et al.
    # Table 2 of the paper; the weights in timm are others, trained later.
    "seresnet50": Origin(2017, 100 - 23.29, "timm", "Apache-2.0"),  # Hu et al.
    "mobilenet_v2": Origin(2018),  # Sandler et al.
    "mobilenet_v3_small": Origin(2019),  # Howard et al.
    "efficientnet_b0": Origin(2019),  # Tan & Le
    # The table that its authors published with the weights (TensorFlow TPU, EfficientNet-Lite).
    "efficientnet_lite0": Origin(2020, 75.1, "installed", "Apache-2.0"),  # Liu
    "vit_b_16": Origin(2020),  # Dosovitskiy et al.
    "convnext_tiny": Origin(2022),  # Liu et al.
}


def landscape(
    names: Sequence[str] = tuple(ORIGINS), *, image_size: int = 224, batch_size: int = 2
) -> pd.DataFrame:
    """One row a network, in the order of publication; raises KeyError for one not in ``ORIGINS``.

    parameters and multiply_adds are counted, images_per_second is measured here (eval mode, median
    of three batches), top1 is published: in per cent, with torchvision's first weights, and
    top1_newest with its newest, where there are others.

    Examples
    --------
    >>> landscape(["mobilenet_v3_small"], image_size=32, batch_size=1)["top1"].tolist()
    [67.668]
    """
    rows = {}
    for name in progress(names, desc="networks"):
        origin = ORIGINS[name]
        network = create(name)
        first, newest = (origin.top1, None) if origin.top1 else _torchvision_top1(name)
        rows[name] = {
            "year": origin.year,
            "parameters": sum(p.numel() for p in network.parameters()),
            "multiply_adds": multiply_adds(name, image_size),
            "images_per_second": images_per_second(network, image_size, batch_size),
            "top1": first,
            "top1_newest": newest,
            "weights": origin.weights,
            "licence": origin.licence,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def multiply_adds(name: str, image_size: int) -> int:
    """Those of one forward pass for one image, counted on shapes alone."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        create(name).eval()(torch.empty(1, 3, image_size, image_size))
    return counter.get_total_flops() // 2


def images_per_second(network: nn.Module, image_size: int, batch_size: int) -> float:
    """Forward passes in eval mode on this machine's device, channels last: median of three."""
    network.to(device()).to(memory_format=torch.channels_last)
    images = torch.rand(batch_size, 3, image_size, image_size, device=device())
    images = images.to(memory_format=torch.channels_last)
    with evaluating(network), torch.inference_mode():
        seconds = [seconds_of(network, images) for _ in range(4)]
    return batch_size / statistics.median(seconds[1:])  # the first one warms up


def choose(
    table: pd.DataFrame,
    *,
    max_parameters: float = float("inf"),
    min_images_per_second: float = 0.0,
    licence: str | None = None,
) -> str:
    """The network of highest published top-1 (first weights) that keeps the limits.

    Raises
    ------
    ValueError
        When none does; it says which comes nearest to each limit.

    Examples
    --------
    >>> columns = ["parameters", "images_per_second", "top1", "licence"]
    >>> rows = {"small": (1e6, 90.0, 60.0, "MIT"), "large": (9e7, 5.0, 80.0, "MIT")}
    >>> table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    >>> choose(table), choose(table, max_parameters=5e6)
    ('large', 'small')
    """
    fits = table[
        (table["parameters"] <= max_parameters)
        & (table["images_per_second"] >= min_images_per_second)
    ]
    if licence is not None:
        fits = fits[fits["licence"] == licence]
    if fits.empty:
        smallest, fastest = table["parameters"].idxmin(), table["images_per_second"].idxmax()
        raise ValueError(
            f"no network keeps these limits; the smallest is {smallest} "
            f"({table['parameters'].min():,} parameters), the fastest {fastest} "
            f"({table['images_per_second'].max():.0f} images/s); licences are "
            + ", ".join(sorted(table["licence"].unique()))
        )
    return str(fits["top1"].idxmax())


def undominated(table: pd.DataFrame, cost: str) -> list[str]:
    """Networks than which no other is both cheaper (or faster) and more accurate, cheapest first.

    ``cost`` is a column: parameters, multiply_adds or images_per_second.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"parameters": [1, 2, 3], "top1": [60, 55, 70]}, index=["small", "poor", "large"]
    ... )
    >>> undominated(table, "parameters")
    ['small', 'large']
    """
    cheapest_first = table.sort_values(cost, ascending=cost != "images_per_second")
    best, names = 0.0, []
    for name, top1 in cheapest_first["top1"].items():
        if top1 > best:
            best = top1
            names.append(str(name))
    return names


def _torchvision_top1(name: str) -> tuple[float, float | None]:
    """Accuracy of torchvision's first and newest weights, from their metadata."""
    weights = torchvision.models.get_model_weights(name)
    first, newest = (
        w.meta["_metrics"]["ImageNet-1K"]["acc@1"] for w in (weights.IMAGENET1K_V1, weights.DEFAULT)
    )
    return first, (newest if weights.DEFAULT is not weights.IMAGENET1K_V1 else None)
