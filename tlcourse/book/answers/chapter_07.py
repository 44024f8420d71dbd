"""The exercises of chapter 07, quadrants: which strategy wins where."""

import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from tlcourse.book.answers.exercise import Exercise, letters, number
from tlcourse.evidence import detectable_effect


def _is_gain(gain: Callable[[pd.DataFrame, tuple[str, int], str, str], float]) -> bool:
    """Points, and of the better less the worse."""
    places = pd.MultiIndex.from_tuples([("digits", 20), ("elpv", 5)])
    table = pd.DataFrame({"one_rate": [0.9, 0.5], "probe": [0.7, 0.6]}, index=places)
    return all(
        math.isclose(gain(table, place, "one_rate", "probe"), points)
        for place, points in ((("digits", 20), 20.0), (("elpv", 5), -10.0))
    )


def _is_mmd(mmd2: Callable[[Tensor, Tensor, float], Tensor]) -> bool:
    """As by hand for four numbers, and about 0 for two halves of one sample."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0]])

    def k(distance: float, bandwidth: float) -> float:
        return math.exp(-(distance**2) / (2 * bandwidth**2))

    for bandwidth in (1.0, 3.0):
        across = sum(k(d, bandwidth) for d in (2, 4, 1, 3)) / 4
        expected = k(1, bandwidth) + k(2, bandwidth) - 2 * across
        if abs(float(mmd2(x, y, bandwidth)) - expected) > 1e-5:
            return False
    sample = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    return abs(float(mmd2(sample[:200], sample[200:], 2.0))) < 0.02


def _is_leep(leep: Callable[[Tensor, Tensor], float]) -> bool:
    """Source classes that tell the new ones give 0, one source class the labels' entropy."""
    labels = torch.tensor([0, 0, 0, 1])
    p = torch.softmax(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    joint = torch.stack([p[labels == c].sum(0) for c in (0, 1)]) / 4
    likelihood = (p @ (joint / joint.sum(0)).T)[range(4), labels]
    cases = [
        (torch.eye(4), labels, 0.0),
        (torch.ones(4, 1), labels, 0.75 * math.log(0.75) + 0.25 * math.log(0.25)),
        (p, labels, likelihood.log().mean().item()),
    ]
    return all(abs(float(leep(p, y)) - expected) < 1e-4 for p, y, expected in cases)


def _is_choice(choose: Callable[[dict[str, float], dict[str, float]], float]) -> bool:
    """The test accuracy of what validation likes best, not the best test accuracy."""
    validation = {"stage3": 0.71, "neck": 0.74, "hog": 0.60}
    test = {"stage3": 0.80, "neck": 0.69, "hog": 0.90}
    return math.isclose(choose(validation, test), 0.69) and math.isclose(
        choose({"a": 0.2, "b": 0.1}, {"a": 0.3, "b": 0.9}), 0.3
    )


EXERCISES: dict[str, Exercise] = {
    "07-1": Exercise(
        number(4 * 4 * 5 * 5 - 137, rel=0),
        "What was out when it was killed never came back.",
        "Everything that is not done, the two that were out among them.",
    ),
    "07-2": Exercise(
        _is_gain,
        "One row of the table by its place, two of its entries, times 100.",
        "Read it beside its interval: few splits gave that mean.",
    ),
    "07-3": Exercise(
        number(0.78),
        "Which mean: over the runs, or over the sources? What holds of runs that share images says "
        "nothing of a new data set.",
        "Each source weighs the same: (12 + 4 + 9 + 7) / 4 = 8 points, whatever their runs.",
    ),
    "07-4": Exercise(
        _is_mmd,
        "Leave the diagonal out within a sample: an image is never compared with itself. Then add "
        "the two means within, and subtract twice the mean across.",
        "Without the diagonal, two halves of one sample have a distance of about 0.",
    ),
    "07-5": Exercise(
        letters("b"),
        "Which of the four differs between the two data sets of the comparison?",
        "Too few images make Fréchet's distance too large: give all the same number.",
    ),
    "07-6": Exercise(
        letters("bce"),
        "Ask of each: if it differed between the arms, could it alone explain the difference?",
        "Only what is asked about may differ: the number of objects in as many scenes.",
    ),
    "07-7": Exercise(
        number(100 * detectable_effect(0.048, 10, overlap=1 / 3), rel=0.02),
        "detectable_effect(sd, runs, overlap=…) takes the sd in the unit of the effect.",
        "Three points would matter and ten can be seen: by splits alone, this is no verdict.",
    ),
    "07-8": Exercise(
        letters("ad"),
        "Look at each panel by itself: where is the highest point, where the dashed line?",
        "Which features serve depends on the domain, and hand-made ones are no worse by birth.",
    ),
    "07-9": Exercise(
        _is_leep,
        "P(y, z) is the mean over the images of class y of p(z | x), times their share; divide by "
        "P(z), then weigh by p(z | x) and take the mean log at each image's own label.",
        "One pass of the network and a table: no classifier is trained.",
    ),
    "07-10": Exercise(
        _is_choice,
        "Two steps: which name has the largest validation value; what is its test value?",
        "The best test accuracy would flatter: it was picked by the test.",
    ),
}
