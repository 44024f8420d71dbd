"""A folder of images in; an advised, trained, tested, explained and exported model out."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tlcourse.advice.choosing import Advice, advise
from tlcourse.advice.following import follow
from tlcourse.advice.measurements import measure
from tlcourse.advice.records import load_records
from tlcourse.advice.strategies import STEPS, enough_steps, strategy_named
from tlcourse.advice.strategy_training import Trained
from tlcourse.datasets import ImageDataset, check_images, load_folder
from tlcourse.diagnosis.calibration import fit_temperature
from tlcourse.errors import BackboneError, DatasetError
from tlcourse.networks.backbones import Backbone
from tlcourse.shapes import Data
from tlcourse.suggestions import did_you_mean
from tlcourse.tuning.training import predict

MINUTES = 10.0
MAX_BYTES = 8 * 2**30  # of decoded images in memory


@dataclass(frozen=True)
class OwnImages:
    """A user's images, decoded once: their description, what was noticed, and the splits.

    ``image_size`` is the side in pixels of the images that go in, ``resize_size`` that to which
    their shorter side was resized before.
    """

    dataset: ImageDataset
    findings: tuple[str, ...]
    splits: dict[str, Data]
    image_size: int
    resize_size: int


@dataclass(frozen=True)
class Fitted:
    """A trained model with what was measured of it.

    ``tried`` has the validation accuracy of each strategy, ``strategy`` is the one that was kept.
    ``predictions`` has logits (N, C) and labels (N,) of each split; ``temperature`` was fitted on
    those of validation.
    """

    images: OwnImages
    advice: Advice
    tried: dict[str, float]
    strategy: str
    trained: Trained
    temperature: float
    predictions: dict[str, Data]

    def accuracy(self, split: str) -> float:
        """Share of right answers on ``train``, ``validation`` or ``test``, in [0, 1]."""
        if split not in self.predictions:
            near = did_you_mean(split, self.predictions)
            raise ValueError(f"no split {split!r}; there are {', '.join(self.predictions)}{near}")
        logits, labels = self.predictions[split]
        return (logits.argmax(dim=1) == labels).double().mean().item()


def read_images(
    backbone: Backbone, source: Path, *, seed: int, image_size: int | None = None
) -> OwnImages:
    """The images of a folder, checked and prepared as the network expects them.

    Parameters
    ----------
    backbone : Backbone
        Whose preprocessing is followed.
    source : Path
        A folder with one subfolder a class.
    seed : int
        Of the split.
    image_size : int, optional
        Side in pixels; by default the network's own.

    Returns
    -------
    OwnImages
        The images in memory, with what was noticed.

    Raises
    ------
    DatasetError
        For a folder that cannot be used and for more images than fit in memory.
    BackboneError
        For a size that the network does not take.
    """
    given = backbone.preprocessing
    size = given.image_size if image_size is None else image_size
    if size < 1:
        raise BackboneError(f"image_size is {size}; expected a side of 1 pixel or more")
    resize = round(size * given.resize_size / given.image_size)
    with torch.inference_mode():  # what does not fit is found here, not in the middle
        backbone.features(
            torch.zeros(1, 3, size, size, dtype=torch.uint8), up_to=backbone.stage_names[0]
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is left out is among the findings
        dataset = load_folder(source, split_seed=seed)
    if 3 * size**2 * len(dataset) > MAX_BYTES:
        raise DatasetError(
            f"{len(dataset)} images of {size} px need more than {MAX_BYTES // 2**30} GiB of memory;"
            " use a smaller image size, or fewer images"
        )
    splits = {
        name: dataset.tensors(name, size, resize_size=resize, interpolation=given.interpolation)
        for name in dataset.splits
    }
    return OwnImages(dataset, tuple(check_images(dataset, size)), splits, size, resize)


def advise_on(
    backbone: Backbone, images: OwnImages, *, seed: int, minutes: float = MINUTES
) -> Advice:
    """Advice for a user's images, among the strategies that take no longer than ``minutes``."""
    rows = images.dataset.indices("train")
    copies = np.arange(len(images.dataset))
    for alike in images.dataset.alike:
        copies[list(alike)] = alike[0]
    measured = measure(backbone, images.splits["train"], seed=seed, groups=copies[rows])
    # Copies are on one side of each fold; what else shows one thing, a folder does not say.
    return advise(replace(measured, grouped=False), load_records(), minutes=minutes)


def fit_images(
    backbone: Backbone,
    images: OwnImages,
    *,
    seed: int,
    strategy: str | None = None,
    minutes: float = MINUTES,
    checkpoint: Path | None = None,
    on_advice: Callable[[Advice], None] | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> Fitted:
    """Follow the strategy of that name or, without one, a probe and then the advised one.

    A probe takes seconds, so it is always tried; the better on validation is kept, and the
    cheaper where they are equal. The test images are looked at when everything is chosen: strategy,
    weights and temperature come from validation.

    Parameters
    ----------
    backbone : Backbone
        Its weights shape advice and training; it stays as it is.
    images : OwnImages
        From ``read_images``.
    seed : int
        Of measurements and training.
    strategy : str, optional
        A name from ``STRATEGIES``, instead of the advised one.
    minutes : float
        Strategies that would take longer are not advised.
    checkpoint : Path, optional
        A folder from which an interrupted call goes on.
    on_advice, on_epoch : callable, optional
        Get the advice, and the history after each epoch.

    Returns
    -------
    Fitted
        The trained network with what was measured of it.
    """
    advice = advise_on(backbone, images, seed=seed, minutes=minutes)
    if on_advice is not None:
        on_advice(advice)
    tried: dict[str, Trained] = {}
    for name in [strategy] if strategy else dict.fromkeys(("probe", advice.strategy)):
        if any(_best(trained) == 1 for trained in tried.values()):
            break  # nothing is left to gain
        tried[name] = follow(
            backbone,
            strategy_named(name),
            images.splits["train"],
            images.splits["validation"],
            num_classes=images.dataset.num_classes,
            steps=enough_steps(len(images.splits["train"][0]), STEPS),
            seed=seed,
            checkpoint=checkpoint and checkpoint / name,
            on_epoch=on_epoch,
        )
    chosen = max(tried, key=lambda name: _best(tried[name]))  # of equals the first
    predictions = {
        split: (predict(tried[chosen].network, inputs), labels)
        for split, (inputs, labels) in images.splits.items()
    }
    return Fitted(
        images=images,
        advice=advice,
        tried={name: _best(trained) for name, trained in tried.items()},
        strategy=chosen,
        trained=tried[chosen],
        temperature=fit_temperature(*predictions["validation"]),
        predictions=predictions,
    )


def _best(trained: Trained) -> float:
    """Validation accuracy of the weights that were kept."""
    return float(trained.history.query("best")["validation_accuracy"].iloc[-1])
