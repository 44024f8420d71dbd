"""A cell of ``few_images``: a probe on frozen features, and what is added to its few labels."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

from tlcourse.advice.tasks import OBJECT_SHARE, make_task
from tlcourse.datasets import load_dataset, make_scenes
from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.pooled import pooled_stages
from tlcourse.runtime import one_blas_thread
from tlcourse.shapes import Images
from tlcourse.studies.frozen_split import first
from tlcourse.studies.outcomes import packed
from tlcourse.suggestions import did_you_mean
from tlcourse.tuning.probing import Arrays, Probe, fit_probe

MADE = ("rendered_too", "matched_too", "matched")
ARMS = ("labels", "unequal", "self_training", "spreading", *MADE, "scenes")
STAGES = ("stage3", "neck")  # of which validation chooses one
SURE = 0.9  # self-training believes an answer from this probability on
NEIGHBOURS = 7  # that an image passes its label on to
COMMON = 0.9  # the share of the commoner class where they are unequal
INK = 128  # of 255: brighter pixels of a white digit are its strokes
SIDE = 8  # of a handwritten digit, in pixels of its own


class FewKey(NamedTuple):
    """What the vectors of a cell depend on, see ``classify_few``."""

    dataset: str
    split: int
    image_size: int
    backbone: str
    pool: int


class Parts(NamedTuple):
    """Vectors by stage and labels of each part, (N, d) and (N,), and what each test image shows."""

    vectors: dict[str, dict[str, np.ndarray]]
    labels: dict[str, np.ndarray]
    groups: np.ndarray


def classify_few(
    *,
    dataset: str,
    per_class: int,
    objects: int,
    classes: int,
    split: int,
    arm: str,
    image_size: int,
    backbone: str,
    pool: int,
) -> dict[str, Any]:
    """Train one arm on few labelled images and what it adds to them, and test it once.

    Parameters
    ----------
    dataset : str
        What ``make_task`` takes.
    per_class : int
        Labelled training images of each class.
    objects : int
        ``scenes`` only: so many different animals of each class are in all of its scenes.
    classes : int
        Classes of the task, drawn by the split; 0: all.
    split : int
        Deals the images, and draws those with labels: a larger draw contains the smaller.
    arm : str
        One of ``ARMS``: ``labels`` alone; as many in ``unequal`` classes; with the pool's other
        images unlabelled, ``self_training`` or label ``spreading``; besides, digits of fonts
        (``rendered_too``), or these as coarse and as large as handwritten ones
        (``matched_too``; ``matched`` is without any labels); ``scenes`` of so many objects.
    image_size : int
        Side in pixels.
    backbone : str
        With stages stage3 and neck.
    pool : int
        Images of each class that are drawn from.

    Returns
    -------
    dict
        ``plain``, the balanced accuracy, and its ``outcomes``; ``validation``; the ``stage``
        chosen; for ``labels`` of so many classes ``shortfall``: how much more of the way from
        chance to 1 the whole pool goes. ``added`` images are those without a true label.

    Raises
    ------
    StudyError
        For an unknown arm.

    Examples
    --------
    >>> cell = {"dataset": "digits", "per_class": 2, "objects": 0, "classes": 2, "split": 0}
    >>> cell |= {"image_size": 32, "backbone": "efficientnet_lite0", "pool": 4}
    >>> classify_few(**cell, arm="labels")["plain"] > 0.5
    True
    """
    if arm not in ARMS:
        raise StudyError(f"no arm {arm!r}; arms are {', '.join(ARMS)}{did_you_mean(arm, ARMS)}")
    key = FewKey(dataset, split, image_size, backbone, pool)
    parts = _of_classes(_parts(key), classes, split)
    labelled = _labelled(parts.labels["train"], per_class, arm)
    train = _train(parts, labelled, arm, key, per_class, objects)
    probes = {stage: fit_probe(train[stage], _part(parts, "validation", stage)) for stage in STAGES}
    stage = max(STAGES, key=lambda name: probes[name].validation.rank)
    classifier, added = probes[stage].classifier, 0
    if arm in ("self_training", "spreading"):
        classifier = _semi_supervised(parts, labelled, stage, arm, probes[stage])
        added = len(parts.labels["train"]) - len(labelled)
    vectors, truth = _part(parts, "test", stage)
    answers = classifier.predict(vectors)
    plain = float(balanced_accuracy_score(truth, answers))
    result = {
        "plain": plain,
        "outcomes": {"plain": packed(answers == truth, parts.groups)},
        "validation": float(classifier.score(*_part(parts, "validation", stage))),
        "stage": stage,
        "added": added,
        "commit": environment()["commit"],
    }
    if arm == "labels" and classes:
        everything = fit_probe(_part(parts, "train", stage), _part(parts, "validation", stage))
        best = float(balanced_accuracy_score(truth, everything.classifier.predict(vectors)))
        result["shortfall"] = (best - plain) / (1 - 1 / len(np.unique(truth)))
    return result


def _labelled(labels: np.ndarray, per_class: int, arm: str) -> np.ndarray:
    """Rows of the images whose labels are known."""
    if arm != "unequal":
        return first(labels, per_class)
    common, *others = np.unique(labels)
    rare = round(per_class * len(np.unique(labels)) * (1 - COMMON))
    most = per_class * len(np.unique(labels)) - rare * len(others)
    counts = {common: most, **dict.fromkeys(others, rare)}
    return np.concatenate([np.flatnonzero(labels == c)[:count] for c, count in counts.items()])


def _train(
    parts: Parts, labelled: np.ndarray, arm: str, key: FewKey, per_class: int, objects: int
) -> dict[str, Arrays]:
    """Vectors and labels to train on, by stage."""
    own = {stage: (parts.vectors["train"][stage][labelled],) for stage in STAGES}
    labels = parts.labels["train"][labelled]
    if arm == "scenes":
        vectors, known = _scenes(key, objects)
        rows = first(known, per_class)
        return {stage: (vectors[stage][rows], known[rows]) for stage in STAGES}
    if arm in MADE:
        made, known = _fonts(key, matched=arm != "rendered_too")
        if arm == "matched":
            return {stage: (made[stage], known) for stage in STAGES}
        together = np.concatenate([labels, known])
        return {stage: (np.concatenate([*own[stage], made[stage]]), together) for stage in STAGES}
    return {stage: (*own[stage], labels) for stage in STAGES}


def _semi_supervised(
    parts: Parts, labelled: np.ndarray, stage: str, arm: str, probe: Probe
) -> Pipeline:
    """The pool's other images join without their labels; -1 is scikit-learn's "unknown"."""
    vectors, labels = _part(parts, "train", stage)
    known = np.full_like(labels, -1)
    known[labelled] = labels[labelled]
    if arm == "self_training":
        learner = SelfTrainingClassifier(
            LogisticRegression(C=probe.c, max_iter=1000), threshold=SURE
        )
        with one_blas_thread():
            return make_pipeline(StandardScaler(), learner).fit(vectors, known)
    spreading = LabelSpreading(kernel="knn", n_neighbors=NEIGHBOURS, max_iter=200)
    with np.errstate(invalid="ignore"):
        classifier = make_pipeline(StandardScaler(), spreading).fit(vectors, known)
    # Images that no chain of neighbours joins to a label have 0/0; they shall say nothing.
    spreading.label_distributions_ = np.nan_to_num(spreading.label_distributions_)
    return classifier


def _part(parts: Parts, name: str, stage: str) -> Arrays:
    return parts.vectors[name][stage], parts.labels[name]


def _of_classes(parts: Parts, classes: int, split: int) -> Parts:
    """Only images of so many classes, which the split draws and numbers; 0: all, as they are."""
    if not classes:
        return parts
    count = len(np.unique(parts.labels["train"]))
    chosen = np.random.default_rng(split).permutation(count)[:classes].tolist()
    rows = {name: np.flatnonzero(np.isin(labels, chosen)) for name, labels in parts.labels.items()}
    number = {label: k for k, label in enumerate(chosen)}
    return Parts(
        {name: {s: parts.vectors[name][s][rows[name]] for s in STAGES} for name in rows},
        {name: np.array([number[y] for y in parts.labels[name][rows[name]]]) for name in rows},
        parts.groups[rows["test"]],
    )


@lru_cache(maxsize=1)  # a split's cells follow one another
def _parts(key: FewKey) -> Parts:
    task = make_task(key.dataset, per_class=key.pool, image_size=key.image_size, seed=key.split)
    order = np.random.default_rng(key.split).permutation(len(task.train[1]))
    data = {
        "train": (task.train[0][order], task.train[1][order]),
        "validation": task.validation,
        "test": task.test["plain"],
    }
    vectors = {name: _describe(key, images) for name, (images, _) in data.items()}
    return Parts(vectors, {name: y.numpy() for name, (_, y) in data.items()}, task.test_groups)


@lru_cache(maxsize=2)
def _fonts(key: FewKey, *, matched: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Vectors and labels of digits that are drawn from fonts."""
    fonts = key._replace(dataset="rendered_digits")
    images, labels = make_task(
        fonts.dataset, per_class=key.pool, image_size=key.image_size, seed=key.split
    ).train
    return _describe(key, as_handwritten(images) if matched else images), labels.numpy()


def as_handwritten(digits: Images) -> Images:
    """White digits cut to their strokes, reduced to 8 px and enlarged again to their old size.

    Examples
    --------
    >>> digit = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    >>> digit[..., 12:20, 15:17] = 255
    >>> as_handwritten(digit)[0, 0, :, 16].min().item()  # its stroke fills the height
    255
    """
    small = []
    for digit in digits:
        rows, columns = torch.where(digit[0] >= INK)
        ink = digit[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].float()
        missing = max(ink.shape[1:]) - torch.tensor(ink.shape[1:])
        top, left = (missing // 2).tolist()
        bottom, right = (missing - missing // 2).tolist()
        small.append(adaptive_avg_pool2d(pad(ink, (left, right, top, bottom)), SIDE))
    large = interpolate(torch.stack(small), digits.shape[-2:], mode="bicubic")
    return large.clamp(0, 255).round().to(torch.uint8)


@lru_cache(maxsize=2)
def _scenes(key: FewKey, objects: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Vectors and labels of scenes in which ``objects`` animals of each class take turns."""
    cutouts = load_dataset("cutouts", split_seed=key.split)
    assert cutouts.groups is not None
    rows = np.random.default_rng(key.split).permutation(cutouts.indices("train"))
    rows = rows[np.unique(cutouts.groups[rows], return_index=True)[1]]  # one picture of an animal
    rows = np.random.default_rng(key.split).permutation(rows)
    scenes = make_scenes(
        "train",
        2 * key.pool * cutouts.num_classes,
        image_size=key.image_size,
        object_size=round(OBJECT_SHARE * key.image_size),
        seed=key.split,
        split_seed=key.split,
        objects=rows[first(cutouts.labels[rows], objects)].tolist(),
    )
    shown = first(scenes.labels.numpy(), key.pool)
    return _describe(key, scenes.images[shown]), scenes.labels[shown].numpy()


def _describe(key: FewKey, images: Images) -> dict[str, np.ndarray]:
    found = pooled_stages(load_backbone(key.backbone), images)
    return {stage: found[stage] for stage in STAGES}
