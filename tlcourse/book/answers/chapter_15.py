"""The exercises of chapter 15, your own images."""

from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest

from tlcourse.book.answers.exercise import Exercise, letters, number


def _splits(test_of: Callable[[np.ndarray, int], np.ndarray]) -> bool:
    """No group is torn, about a quarter of them is tested on, and another seed draws others."""
    groups = np.repeat(np.arange(40), np.arange(40) % 5 + 1)
    drawn = [np.asarray(test_of(groups, seed), dtype=bool) for seed in (0, 0, 1)]
    for test in drawn:
        tested, left = set(groups[test]), set(groups[~test])
        if tested & left or not 8 <= len(tested) <= 12:
            return False
    same, other = (bool((drawn[0] == drawn[k]).all()) for k in (1, 2))
    return same and not other


def _measures(error_of: Callable[[np.ndarray, np.ndarray], float]) -> bool:
    """In one bin, in two of which one is too sure and one not sure enough, and on their edge."""
    cases = (
        ([0.75, 0.75], [True, False], 0.25),
        ([0.65, 0.65, 0.95, 0.95], [True, True, True, False], (0.35 + 0.45) / 2),
        ([0.8, 0.75, 0.85], [True, False, False], (2 * 0.275 + 0.85) / 3),
    )
    return all(
        abs(float(error_of(np.array(confidence), np.array(right))) - expected) < 1e-6
        for confidence, right, expected in cases
    )


EXERCISES: dict[str, Exercise] = {
    "15-1": Exercise(
        number(round(100 * binomtest(62, 63).proportion_ci(method="wilson").low), rel=0),
        "The method gives a low and a high end, as shares. Which one is asked for, and in what?",
        "One mistake in 63 leaves room for eight points.",
    ),
    "15-2": Exercise(
        number(abs(0.7 - 0.9)),
        "All ten lie in one bin. How far is its accuracy from its confidence?",
        "One bin, and nothing to average.",
    ),
    "15-3": Exercise(
        number(round(100 * 400 / (400 + 50)), rel=0),
        "In which images is it right, and of how many?",
        "It knows nothing, and the accuracy looks fine: so the report gives each class's recall.",
    ),
    "15-4": Exercise(
        _splits,
        "Draw a quarter of the *groups* (np.unique), then mark the images that belong to them.",
        "scikit-learn's GroupShuffleSplit does the same.",
    ),
    "15-5": Exercise(
        _measures,
        "For each bin: its share of the images, times |mean of right − mean of confidence|. A "
        "confidence on a bin's upper edge belongs to that bin.",
        "That is all that an expected calibration error is; note how much hangs on the bins.",
    ),
    "15-6": Exercise(
        letters("b"),
        "Which of the four makes validation and test good *together*, and the use bad?",
        "Ten pictures of a part are nearly one picture. Split by part, and both fall to the truth.",
    ),
    "15-7": Exercise(
        letters("abce"),
        "What is chosen by looking at the test is no longer tested. Which of these is no choice?",
        "Whatever is chosen is chosen on validation; the test is for the last number alone.",
    ),
}
