"""The study ``biased_scenes``: does transfer help where backgrounds give the class away?"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.advice.strategies import STRATEGIES, Phase, Strategy
from tlcourse.advice.strategy_training import train
from tlcourse.advice.sweeps import Settings
from tlcourse.advice.tasks import OBJECT_SHARE, Drawn
from tlcourse.datasets import few, load_dataset, make_scenes
from tlcourse.datasets.scenes import Scenes
from tlcourse.environment import environment
from tlcourse.networks.backbones import BACKBONE, load_backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.shapes import Data
from tlcourse.studies.measuring import scored
from tlcourse.studies.study import Comparison, Study
from tlcourse.tuning.probing import fit_probe
from tlcourse.tuning.training import predict

PROBE = "extraction"
# Each recipe at one rate, which was not tuned for these images.
STEPS, BATCH_SIZE = 120, 16
RECIPES = {
    "scratch": replace(STRATEGIES["scratch"], lrs=(2e-3,)),
    "two_phase": Strategy(
        "two_phase",
        "the head first, on frozen features; then everything, pretrained stages ten times slower",
        "Kumar et al. 2022 (LP-FT); Chollet 2020 (Keras guide)",
        lambda lr: (Phase(4, lr, frozen=1.0), Phase(6, lr / 3, factor=0.1)),
        (3e-3,),
    ),
}
ARMS = (*RECIPES, PROBE)
TIED = 0.9  # the share of images whose background has the colour of their class
SPLITS = range(10)


class Shown(NamedTuple):
    """Scenes as data, and which animal is on each."""

    data: Data
    animals: np.ndarray


def colours(classes: int) -> Float[Tensor, "c 3"]:
    """As many colours, evenly around the circle of hues: factors on red, green and blue.

    Examples
    --------
    >>> colours(3)  # the first is red
    tensor([[1.3000, 0.7000, 0.7000],
            [0.7000, 1.3000, 0.7000],
            [0.7000, 0.7000, 1.3000]])
    """
    hues = 2 * torch.pi * torch.arange(classes) / classes
    return 0.9 + 0.4 * torch.cos(hues[:, None] - 2 * torch.pi * torch.arange(3) / 3)


def coloured(scenes: Scenes, colour: Tensor) -> Tensor:
    """The scenes with the background of each in one of ``colours``, int64 (N,); objects stay."""
    factors = colours(len(scenes.class_names))[colour][:, :, None, None]
    there = scenes.masks[:, None]
    images = torch.where(there, scenes.images, scenes.images * factors)
    return images.round().clamp(0, 255).to(torch.uint8)


def tied_colours(labels: Tensor, share: float, classes: int, *, seed: int) -> Tensor:
    """The class's own colour in a share of the images, in the others any; int64 (N,)."""
    generator = torch.Generator().manual_seed(seed)
    any_colour = torch.randint(classes, labels.shape, generator=generator)
    own = torch.rand(len(labels), generator=generator) < share
    return torch.where(own, labels, any_colour)


def learn_biased(
    *, per_class: int, split: int, arm: str, tied: float, image_size: int, backbone: str
) -> dict[str, Any]:
    """Train on scenes whose background gives the class away; test where it does not.

    Parameters
    ----------
    per_class : int
        Training scenes of each class.
    split : int
        Deals the animals; seed of all else.
    arm : str
        ``scratch`` or ``two_phase``, see ``RECIPES``, or ``extraction``: logistic regression on the
        last features.
    tied : float
        The share of training and validation scenes in the colour of their class; the others have
        any colour.
    image_size, backbone
        Side in pixels and name of the network.

    Returns
    -------
    dict
        Accuracies on scenes of other animals, the same objects on the same backgrounds: ``plain``,
        in any colour, and ``swapped``, in the colour of the class across the circle of hues; and
        their ``outcomes``.
    """
    parts = {
        part: _scenes(part, count, image_size, split)
        for part, count in (("train", per_class), ("validation", 13), ("test", 50))
    }
    tests = {"plain": 0.0, "swapped": 1.0}
    data = {
        part: _data(scenes, tied, split).data for part, scenes in parts.items() if part != "test"
    }
    tested = {name: _data(parts["test"], share, split, name) for name, share in tests.items()}
    network = load_backbone(backbone)
    if arm == PROBE:
        vectors = {part: (_neck(network, x), y.numpy()) for part, (x, y) in data.items()}
        classifier = fit_probe(vectors["train"], vectors["validation"]).classifier
        answers = {
            name: classifier.predict(_neck(network, shown.data[0]))
            for name, shown in tested.items()
        }
    else:
        trained = train(
            network,
            RECIPES[arm],
            data["train"],
            data["validation"],
            lr=RECIPES[arm].lrs[0],
            num_classes=len(parts["train"].class_names),
            steps=STEPS,
            seed=split,
            batch_size=BATCH_SIZE,
            cache=None,
        ).network
        answers = {
            name: predict(trained, shown.data[0]).argmax(1).numpy()
            for name, shown in tested.items()
        }
    drawn = {name: Drawn(*shown.data, shown.animals) for name, shown in tested.items()}
    return {**scored(answers, drawn), "commit": environment()["commit"]}


def _scenes(part: str, per_class: int, image_size: int, split: int) -> Scenes:
    """As many scenes of each class; every class is drawn as often, whatever its cutouts' number."""
    cutouts = load_dataset("cutouts", split_seed=split)
    rows = cutouts.indices(part)
    rarest = np.bincount(cutouts.labels[rows]).min() / len(rows)
    scenes = make_scenes(
        part,
        round((1.5 * per_class + 10) / rarest),
        image_size=image_size,
        object_size=round(OBJECT_SHARE * image_size),
        seed=split,
        split_seed=split,
    )
    kept = few(scenes.labels.numpy(), per_class, seed=split)
    return Scenes(
        scenes.images[kept],
        scenes.masks[kept],
        scenes.boxes[kept],
        scenes.labels[kept],
        scenes.class_names,
        scenes.cutouts[kept],
    )


def _data(scenes: Scenes, share: float, split: int, test: str = "") -> Shown:
    classes = len(scenes.class_names)
    colour = tied_colours(scenes.labels, share, classes, seed=split)
    if test == "swapped":
        # A first run took the next class's colour. It looks like the own one: hues are neighbours.
        colour = (scenes.labels + classes // 2) % classes
    animals = load_dataset("cutouts", split_seed=split).groups
    assert animals is not None
    return Shown((coloured(scenes, colour), scenes.labels), animals[scenes.cutouts])


def _neck(network: Any, images: Tensor) -> np.ndarray:
    return pooled_stages(network, images)["neck"]


def cell(arm: str, split: int) -> Settings:
    """The settings of a cell."""
    return {
        "per_class": 20,
        "split": split,
        "arm": arm,
        "tied": TIED,
        "image_size": 64,
        "backbone": BACKBONE,
    }


SCRATCH = {"arm": "scratch"}

BIASED_SCENES = Study(
    name="biased_scenes",
    question="Does transfer help when the training data are biased?",
    run=learn_biased,
    cells=tuple(cell(arm, split) for split in SPLITS for arm in ARMS),
    setting=("tied",),
    matters=0.03,  # three points of accuracy
    overlap=1 / 3,  # a quarter of the animals is tested on, the rest is drawn from
    comparisons=(
        *(
            Comparison(
                f"biased-{arm.replace('_', '-')}",
                "biased data",
                f"after training on tied colours, {text} beats scratch where they are swapped",
                "widespread: transfer generalises better, most so from biased data",
                {"arm": arm},
                SCRATCH,
                measure="swapped",
            )
            for arm, text in ((PROBE, "extraction"), ("two_phase", "two-phase fine-tuning"))
        ),
        *(
            Comparison(
                f"bias-costs-{arm.replace('_', '-')}",
                "what a bias costs",
                f"{arm}: swapped colours cost accuracy after training on tied ones",
                "this course",
                {"arm": arm},
                {"arm": arm},
                measure="plain",
                measure_b="swapped",
            )
            for arm in ARMS
        ),
    ),
    left_out=(
        "Other shares than nine in ten, other sizes than 20 scenes a class of 64 px, other biases "
        "than a background's colour, tuned rates, augmentation of colours."
    ),
)
