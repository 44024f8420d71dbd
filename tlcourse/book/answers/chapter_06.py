"""The exercises of chapter 06, feature extraction and fine-tuning."""

import math
from collections.abc import Callable

from tlcourse.book.answers.exercise import Exercise, letters, number


def _is_a_tenth_of_the_best(rates: Callable[[float, float], tuple[float, float]]) -> bool:
    """The head keeps the best rate; what was pretrained gets its part."""
    return all(
        math.isclose(pretrained, best * factor) and math.isclose(head, best)
        for best, factor in ((3e-4, 0.1), (1e-3, 0.2))
        for pretrained, head in [rates(best, factor)]
    )


EXERCISES: dict[str, Exercise] = {
    "06-1": Exercise(
        number(412_160 + 2_562, rel=0),
        'load_backbone("efficientnet_lite0", num_classes=2), freeze, count_trainable.',
        "The neck and the head are left.",
    ),
    "06-2": Exercise(
        number(20 * 60.1 / 62, rel=0.02),
        "20 passes and 20 epochs of the head, divided by one pass and 20 epochs of the head.",
        "The pass dominates: nearly as many times faster as there are epochs.",
    ),
    "06-3": Exercise(
        lambda answer: 5 <= float(answer) <= 40,
        'extract_features(network, images, up_to="stage3").mean(dim=(2, 3)), then probe_features.',
        "Near ImageNet the last feature is the better one.",
    ),
    "06-4": Exercise(
        _is_a_tenth_of_the_best,
        "Two things must not change at once: what does the head get, if only protection is tested?",
        "Raising the head's rate tenfold would leave the pretrained layers where they were.",
    ),
    "06-5": Exercise(
        letters("b"),
        "No step was taken, so what works through steps is out. What would a new head score?",
        "A rate or a decay needs a step, and a new head would fall to chance.",
    ),
    "06-6": Exercise(
        letters("bc"),
        "Splits share one pool of images. And what does an interval over splits hold fixed?",
        "The choice belongs to what is repeated, so it is made again in each split.",
    ),
    "06-7": Exercise(
        letters("bc"),
        "Would an expert who sees the mirrored image still give it the same name?",
        "From above, and in a cell, left and right mean nothing; in writing and on signs they do.",
    ),
}
