"""A cell of ``frozen_features``: a classifier on vectors that nothing trained."""

import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.studies.frozen_split import SplitKey, described, first
from tlcourse.studies.outcomes import packed
from tlcourse.suggestions import did_you_mean
from tlcourse.tuning.probing import Arrays, fit_probe
from tlcourse.tuning.training import Evaluation

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4", "neck")
LOGISTIC = (*STAGES, "late", "pixels", "hog")  # an arm for each of these vectors
CHOSEN = "chosen"  # the stage whose probe is best on validation
ARMS = (*LOGISTIC, CHOSEN, "knn", "prototypes")
NEIGHBOURS = (1, 3, 5, 10, 20)


class Fitted(NamedTuple):
    """A classifier, the vectors that it takes, what was chosen for it, and how validation went."""

    classifier: Pipeline
    kind: str
    choice: float | str
    validation: Evaluation


def classify_frozen(
    *,
    dataset: str,
    per_class: int,
    split: int,
    image_size: int,
    arm: str,
    backbone: str,
    pool: int,
    most: int,
    shifted: int,
) -> dict[str, Any]:
    """Fit one arm on training images, choose what it leaves open on validation, and test it once.

    Parameters
    ----------
    dataset : str
        ``cutouts``, whose test is all its test images, or what ``make_task`` takes.
    per_class : int
        Training images of each class, or all that it has where these are fewer; 0: all of them.
    split : int
        Deals the images, and draws those to train on: a larger draw contains the smaller.
    image_size : int
        Side in pixels.
    arm : str
        One of ``ARMS``. Logistic regression on a stage, on ``late`` stages together, on ``pixels``
        or ``hog``; on the ``chosen`` stage; ``knn`` and ``prototypes`` on the neck.
    backbone : str
        With stages as EfficientNet-Lite0's.
    pool : int
        Images of each class that are drawn from, as ``make_task`` deals them; 0 for cutouts.
    most : int
        Images of each class that are described, in the order in which they are drawn; 0: all.
    shifted : int
        Test images under each shift, about; 0: no shifts.

    Returns
    -------
    dict
        Balanced accuracies: ``plain`` and, of ``shifted`` images, ``plain_same``, ``blur``,
        ``tint``, ``noise`` and, for scenes, ``background`` (the same objects on others);
        ``outcomes`` but for cutouts: which images were right, see ``packed``. The accuracy in
        ``validation``, and the ``choice`` of C, k, scaling or stage.

    Raises
    ------
    StudyError
        For an unknown arm.

    Examples
    --------
    >>> task = {"dataset": "cutouts", "per_class": 5, "split": 0, "image_size": 64, "pool": 0}
    >>> cell = {**task, "most": 5, "shifted": 0, "backbone": "efficientnet_lite0"}
    >>> result = classify_frozen(**cell, arm="hog")
    >>> 1 / 7 < result["plain"] < 1  # a guess has one in seven
    True
    """
    if arm not in ARMS:
        raise StudyError(f"no arm {arm!r}; arms are {', '.join(ARMS)}{did_you_mean(arm, ARMS)}")
    key = SplitKey(dataset, split, image_size, backbone, pool, most, shifted)
    if arm in LOGISTIC:
        fitted = _probe(key, per_class, arm)
    elif arm == CHOSEN:
        probes = [_probe(key, per_class, stage) for stage in STAGES]
        best = max(probes, key=lambda probe: probe.validation.rank)
        fitted = best._replace(choice=best.kind)
    else:
        fitted = _without_training(key, per_class, arm)
    parts = described(key)
    answers = {
        test: fitted.classifier.predict(parts.vectors[test][fitted.kind]) for test in parts.tests
    }
    return {
        **{
            test: float(balanced_accuracy_score(parts.labels[test], answer))
            for test, answer in answers.items()
        },
        "outcomes": {
            test: packed(answers[test] == parts.labels[test], groups)
            for test, groups in parts.groups.items()
        },
        "validation": fitted.validation.accuracy,
        "choice": fitted.choice,
        "commit": environment()["commit"],
    }


@lru_cache(maxsize=len(LOGISTIC))  # the chosen stage comes after those that it is chosen from
def _probe(key: SplitKey, per_class: int, kind: str) -> Fitted:
    probe = fit_probe(*_data(key, per_class, kind))
    return Fitted(probe.classifier, kind, probe.c, probe.validation)


def _without_training(key: SplitKey, per_class: int, arm: str) -> Fitted:
    train, validation = _data(key, per_class, "neck")
    with warnings.catch_warnings():
        # Of channels that a class never varies in; class means do not divide by them.
        warnings.filterwarnings("ignore", message="self.within_class_std_dev_")
        fitted = [
            Fitted(classifier.fit(*train), "neck", choice, _score(classifier, validation))
            for choice, classifier in _candidates(arm, len(train[1]))
        ]
    return max(fitted, key=lambda candidate: candidate.validation.accuracy)  # the first of equals


def _score(classifier: Pipeline, validation: Arrays) -> Evaluation:
    """Accuracy alone: what has no probabilities has no loss."""
    return Evaluation(math.nan, float(classifier.score(*validation)))


def _candidates(arm: str, count: int) -> Iterator[tuple[float | str, Pipeline]]:
    if arm == "prototypes":
        for scaler in (Normalizer(), StandardScaler()):
            yield type(scaler).__name__, make_pipeline(scaler, NearestCentroid())
    else:
        for k in NEIGHBOURS:
            if k <= count:
                neighbours = KNeighborsClassifier(k, weights="distance", metric="cosine")
                yield k, make_pipeline(StandardScaler(), neighbours)


def _data(key: SplitKey, per_class: int, kind: str) -> Any:
    """Training and validation vectors with their labels."""
    parts = described(key)
    rows = first(parts.labels["train"], per_class)
    vectors, labels = parts.vectors, parts.labels
    train = (vectors["train"][kind][rows], labels["train"][rows])
    return train, (vectors["validation"][kind], labels["validation"])
