"""A cell of ``augmented_features``: a probe on features of several views, tested in four ways."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import five_crop

from tlcourse.advice.strategy_training import VIEWS, views
from tlcourse.advice.tasks import Drawn, Task, make_task
from tlcourse.environment import environment
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.features import extract_features
from tlcourse.runtime import seed_everything
from tlcourse.shapes import Data, Images
from tlcourse.studies.arms import WITHOUT_A_MIRROR
from tlcourse.studies.frozen_split import first
from tlcourse.studies.measuring import scored
from tlcourse.tuning.augmentation import augmentation as policy
from tlcourse.tuning.probing import Arrays, fit_probe

CROP = 7 / 8  # a test crop's side, as 224 of 256 px in Krizhevsky et al. 2012
LARGER = 5 / 4  # the enlarged test's side


class Key(NamedTuple):
    """What features depend on, beside how the images are varied."""

    dataset: str
    pool: int
    split: int
    backbone: str
    image_size: int


def classify_augmented(
    *,
    dataset: str,
    per_class: int,
    most: int,
    pool: int,
    split: int,
    augmentation: str,
    backbone: str,
    image_size: int,
) -> dict[str, Any]:
    """Fit logistic regression on features of varied training images; test it plain and by views.

    Parameters
    ----------
    dataset, split, image_size
        The task, see ``make_task``; ``split`` is its seed, and that of the variations.
    per_class, most, pool : int
        Training images of each class; how many are varied, for all sizes of the policy at once; and
        from how many all are drawn. Of one split the fewer are among the more.
    augmentation : str
        Of ``POLICIES``: ``none`` shows each image once, ``mirrored`` as it is and mirrored, any
        other policy in eight variations. The penalty is chosen on validation, which is not varied.
    backbone : str

    Returns
    -------
    dict
        Accuracies ``plain``; ``two_ways`` and ``five_crops``, by the mean probability over the
        image and its mirror image, and over four corners and the centre; ``enlarged`` by a
        quarter; ``outcomes`` of each, see ``packed``. Accuracy in ``train`` and ``validation``,
        and ``c``.

    Raises
    ------
    ValueError
        For an unknown augmentation.

    Examples
    --------
    >>> task = {"dataset": "digits", "per_class": 5, "most": 5, "pool": 5, "split": 0}
    >>> how = {"augmentation": "none", "backbone": "efficientnet_lite0", "image_size": 64}
    >>> cell = classify_augmented(**task, **how)
    >>> 0.1 < cell["plain"] < 1  # a guess has one in ten
    True
    """
    key = Key(dataset, pool, split, backbone, image_size)
    shown, labels = _shown(key, augmentation, most)
    rows = first(labels, per_class)
    train = shown[:, rows].reshape(-1, shown.shape[-1]), np.tile(labels[rows], len(shown))
    validation, test, seen = _tests(key)
    probe = fit_probe(train, validation)
    answers = {
        name: np.mean([probe.classifier.predict_proba(view) for view in several], axis=0).argmax(1)
        for name, several in seen.items()
    }
    return {
        **scored(answers, dict.fromkeys(seen, test)),
        "train": float(probe.classifier.score(*train)),
        "validation": probe.validation.accuracy,
        "c": probe.c,
        "commit": environment()["commit"],
    }


def ways_to_test(images: Images) -> dict[str, list[Tensor]]:
    """Each way of testing, and the views that it takes of all images (N, 3, S, S).

    Examples
    --------
    >>> ways = ways_to_test(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    >>> {name: (len(several), several[0].shape[-1]) for name, several in ways.items()}
    {'plain': (1, 64), 'two_ways': (2, 64), 'five_crops': (5, 56), 'enlarged': (1, 80)}
    """
    side = images.shape[-1]
    crop, larger = round(CROP * side), round(LARGER * side)
    enlarged = interpolate(images.float(), (larger, larger), mode="bilinear", align_corners=False)
    return {
        "plain": [images],
        "two_ways": [images, images.flip(-1)],
        "five_crops": list(five_crop(images, [crop, crop])),
        "enlarged": [enlarged.round().to(torch.uint8)],
    }


def varied(data: Data, name: str, *, dataset: str, seed: int) -> tuple[Tensor, int]:
    """Training images under a policy, variation by variation, and how many variations."""
    images, _ = data
    if name == "mirrored":
        return torch.cat([images, images.flip(-1)]), 2
    augment = policy(name, images.shape[-1], mirror=dataset not in WITHOUT_A_MIRROR)
    if augment is None:
        return images, 1
    seed_everything(seed)
    return views(data, augment)[0], VIEWS


@lru_cache(maxsize=1)  # the sizes of one policy follow one another
def _shown(key: Key, name: str, most: int) -> Arrays:
    """Features (V, N, D) of V variations of N training images, and labels (N,)."""
    images, labels = _task(key).train
    order = np.random.default_rng(key.split).permutation(len(labels))
    rows = order[first(labels.numpy()[order], most)]
    drawn = images[rows], labels[rows]
    shown, count = varied(drawn, name, dataset=key.dataset, seed=key.split)
    features = _features(_network(key.backbone), shown)
    return features.reshape(count, len(rows), -1), drawn[1].numpy()


@lru_cache(maxsize=1)  # the policies of one split follow one another
def _tests(key: Key) -> tuple[Arrays, Drawn, dict[str, list[np.ndarray]]]:
    """Validation, the test, and the features of its views."""
    task, network = _task(key), _network(key.backbone)
    images, labels = task.test["plain"]
    seen = {
        name: [_features(network, view) for view in several]
        for name, several in ways_to_test(images).items()
    }
    validation = _features(network, task.validation[0]), task.validation[1].numpy()
    return validation, Drawn(images, labels, task.test_groups), seen


def _task(key: Key) -> Task:
    return make_task(key.dataset, per_class=key.pool, image_size=key.image_size, seed=key.split)


@lru_cache(maxsize=1)
def _network(name: str) -> Backbone:
    return load_backbone(name)


def _features(network: Backbone, images: Images) -> np.ndarray:
    return extract_features(network, images, cache=None).numpy()
