"""A folder of images in; an advised, trained, tested, explained and exported model out."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from tlcourse.advice.advisor import Advice, advise, load_records
from tlcourse.advice.measurements import measure
from tlcourse.advice.strategies import STEPS, Trained, strategy_named, train
from tlcourse.datasets import ImageDataset, load_folder
from tlcourse.datasets.folder_checks import check_images
from tlcourse.diagnosis.calibration import fit_temperature
from tlcourse.errors import DatasetError
from tlcourse.networks.backbones import Backbone
from tlcourse.shapes import Data
from tlcourse.tuning.training import predict

MINUTES = 1.0
MAX_BYTES = 8 * 2**30  # of decoded images in memory


@dataclass(frozen=True)
class OwnImages:
    """A user's images, decoded once: their description, what was noticed, and the three parts."""

    dataset: ImageDataset
    findings: tuple[str, ...]
    parts: dict[str, Data]


@dataclass(frozen=True)
class Fitted:
    """A trained model with what was measured of it.

    ``tried`` has the validation accuracy of each strategy, ``strategy`` is the one that was kept.
    Logits (N, C) and labels (N,) are of the validation and of the test images; ``temperature`` was
    fitted on the former.
    """

    images: OwnImages
    advice: Advice
    tried: dict[str, float]
    strategy: str
    trained: Trained
    temperature: float
    validation: Data
    test: Data

    def accuracy(self, part: str) -> float:
        """Share of right answers on ``validation`` or ``test``."""
        logits, labels = self.validation if part == "validation" else self.test
        return (logits.argmax(dim=1) == labels).double().mean().item()


def read_images(
    source: Path, network: Backbone, *, seed: int, image_size: int | None = None
) -> OwnImages:
    """The images of a folder, checked and prepared as the network expects them.

    Raises DatasetError for a folder that cannot be used and for more images than fit in memory,
    BackboneError for a size that the network does not take.
    """
    size, resize = sizes(network, image_size)
    with torch.inference_mode():  # what does not fit is found here, not in the middle
        network.features(
            torch.zeros(1, 3, size, size, dtype=torch.uint8), up_to=network.stage_names[0]
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is left out is among the findings
        dataset = load_folder(source, split_seed=seed)
    if 3 * size**2 * len(dataset) > MAX_BYTES:
        raise DatasetError(
            f"{len(dataset)} images of {size} px need more than {MAX_BYTES // 2**30} GiB of memory;"
            " use a smaller image size, or fewer images"
        )
    options = {"resize_size": resize, "interpolation": network.preprocessing.interpolation}
    parts = {name: dataset.tensors(name, size, **options) for name in dataset.splits}
    return OwnImages(dataset, tuple(check_images(dataset, size)), parts)


def sizes(network: Backbone, image_size: int | None) -> tuple[int, int]:
    """Sides in pixels of the images that go in, and to which their shorter side is resized."""
    given = network.preprocessing
    size = image_size or given.image_size
    return size, round(size * given.resize_size / given.image_size)


def advise_on(
    images: OwnImages, network: Backbone, *, seed: int, minutes: float = MINUTES
) -> Advice:
    """Advice for a user's images, among the strategies that take no longer than ``minutes``."""
    return advise(
        measure(images.parts["train"], network, seed=seed), load_records(), minutes=minutes
    )


def fit_images(
    images: OwnImages,
    network: Backbone,
    *,
    seed: int,
    strategy: str | None = None,
    minutes: float = MINUTES,
    checkpoint: Path | None = None,
    on_advice: Callable[[Advice], None] | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
) -> Fitted:
    """Follow the strategy of that name or, without one, extraction and then the advised one.

    Extraction takes seconds, so it is always tried; the better on validation is kept, and the
    cheaper where they are equal. The test images are looked at when everything is chosen: strategy,
    weights and temperature come from validation.
    """
    advice = advise_on(images, network, seed=seed, minutes=minutes)
    if on_advice is not None:
        on_advice(advice)
    tried: dict[str, Trained] = {}
    for name in [strategy] if strategy else dict.fromkeys(("extraction", advice.strategy)):
        if any(_best(trained) == 1 for trained in tried.values()):
            break  # nothing is left to gain
        tried[name] = train(
            strategy_named(name),
            network.name,
            images.parts["train"],
            images.parts["validation"],
            num_classes=images.dataset.num_classes,
            steps=STEPS,
            seed=seed,
            checkpoint=checkpoint and checkpoint / name,
            on_epoch=on_epoch,
        )
    chosen = max(tried, key=lambda name: _best(tried[name]))  # of equals the first
    validation, test = (
        (predict(tried[chosen].network, images.parts[part][0]), images.parts[part][1])
        for part in ("validation", "test")
    )
    return Fitted(
        images=images,
        advice=advice,
        tried={name: _best(trained) for name, trained in tried.items()},
        strategy=chosen,
        trained=tried[chosen],
        temperature=fit_temperature(*validation),
        validation=validation,
        test=test,
    )


def _best(trained: Trained) -> float:
    """Validation accuracy of the weights that were kept."""
    return float(trained.history.query("best")["validation_accuracy"].iloc[-1])
