"""Do the rules of evidence keep what they promise? Chapters of null claims, and splits of one pool.

``python tests/programs/deciding.py`` writes deciding.json beside this file, in about half an hour.
"""

import gc
import json
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from tlcourse.evidence import decide, decide_together, holm, mean_interval, split_overlap

RECORD = Path(__file__).with_suffix(".json")
CLAIMS = 12  # of a chapter
FAMILIES = {"one family": [12], "two": [6, 6], "three": [4, 4, 4], "none": [1] * 12}
TESTED = 50  # images by which a run's accuracies are measured
CHAPTERS = 1000
# Images of the pool, and of each split: trained on, tested.
POOLS = {
    "all used": (200, 150, 50),
    "as the course deals": (200, 120, 50),
    "a few of a large pool": (800, 40, 200),
    "a few, small test": (800, 40, 50),
}
SPLITS = (5, 10, 15)
SETS = 2000
DIMENSIONS = 6
Rates = dict[str, float]


def null_chapters(count: int, sizes: list[int], rng: np.random.Generator) -> Rates:
    """How often chapters of null claims, in families of these sizes, state what is not so.

    A claim has 3 to 10 runs; a run is the difference of two arms of equal accuracy, each measured
    on 50 images. The arms of a family are compared with one and the same arm, as in a race.
    """
    confirmed = decided = family_confirmed = family_decided = whole = 0
    for _ in range(count):
        verdicts, p = [], []
        for size in sizes:
            runs, accuracy = int(rng.integers(3, 11)), rng.uniform(0.6, 0.95)
            arms = rng.binomial(TESTED, accuracy, (size + 1, runs)) / TESTED
            alone = [decide((arm - arms[0]).tolist(), matters=0.02) for arm in arms[1:]]
            p += [(effect.p, effect.mean > 0) for effect in alone]
            family = [effect.verdict for effect in decide_together(alone)]
            verdicts += family
            family_confirmed += "confirmed" in family
            family_decided += not {"confirmed", "refuted"}.isdisjoint(family)
        confirmed += "confirmed" in verdicts
        decided += not {"confirmed", "refuted"}.isdisjoint(verdicts)
        over_all = holm([value for value, _ in p])
        whole += any(q <= 0.05 and up for q, (_, up) in zip(over_all, p, strict=True))
    return {
        "chapters with a confirmed": confirmed / count,
        "chapters with a confirmed or refuted": decided / count,
        "families with a confirmed": family_confirmed / count / len(sizes),
        "families with a confirmed or refuted": family_decided / count / len(sizes),
        "chapters with a confirmed, Holm over the chapter": whole / count,
    }


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussian classes of one covariance, half of the images each."""
    labels = np.arange(count) % 2
    x = rng.normal(size=(count, DIMENSIONS))
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]  # correlated: what the centroids alone do not see
    x[:, 0] += 0.8 * labels
    x[:, 2] += 0.8 * labels
    return x, labels


def gain(x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> float:
    """Test accuracy of linear discriminants less that of the nearest centroid."""
    lda, nearest = (
        model.fit(x, y).score(test_x, test_y)
        for model in (LinearDiscriminantAnalysis(), NearestCentroid())
    )
    return float(lda - nearest)


def true_gain(train: int, rng: np.random.Generator, sets: int = 4000) -> float:
    """The expected gain of a training set of this size, over sets and images."""
    gains = [gain(*draw(rng, train), *draw(rng, 2000)) for _ in range(sets)]
    return float(np.mean(gains))


def coverage(pool: int, train: int, test: int, sets: int, rng: np.random.Generator) -> Rates:
    """How often the 95 % interval over random splits of one pool holds the true gain."""
    truth = true_gain(train, rng)
    overlaps = {
        "independent": 0.0,
        "test / train": test / train,
        "test / (pool − test)": split_overlap(test=test, pool=pool),
    }
    held = {(name, k): 0 for name in overlaps for k in SPLITS}
    for _ in range(sets):
        x, y = draw(rng, pool)
        gains = []
        for _ in range(max(SPLITS)):
            order = rng.permutation(pool)
            tested, trained = order[:test], order[test : test + train]
            gains.append(gain(x[trained], y[trained], x[tested], y[tested]))
        for name, k in held:
            of = mean_interval(gains[:k], overlap=overlaps[name])
            held[name, k] += of.low <= truth <= of.high
    return {f"{name}, {k} splits": count / sets for (name, k), count in held.items()}


def main() -> None:
    """All chapters and pools; one seed for each, so that any of them can be done again."""
    gc.freeze()  # statsmodels' multipletests collects garbage each time, all of torch's and ours
    record = {
        "null chapters": {
            name: null_chapters(CHAPTERS, sizes, np.random.default_rng(0))
            for name, sizes in FAMILIES.items()
        },
        "coverage": {
            name: coverage(*pool, SETS, np.random.default_rng(0)) for name, pool in POOLS.items()
        },
    }
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
