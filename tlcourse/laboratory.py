"""One cell of the matrix: a strategy on a data set of a size, trained and tested."""

import time
from itertools import product

from tlcourse.strategies import STRATEGIES, strategy_named, train
from tlcourse.sweeps import Settings
from tlcourse.tasks import make_task
from tlcourse.training import evaluate

BACKBONE = "efficientnet_lite0"


def matrix(
    sizes: dict[str, list[int]], *, seeds: int, image_size: int, steps: int
) -> list[Settings]:
    """Settings of ``run_cell`` for every strategy and seed; ``sizes`` lists images per class."""
    return [
        {
            "dataset": dataset,
            "per_class": per_class,
            "seed": seed,
            "strategy": strategy,
            "backbone": BACKBONE,
            "image_size": image_size,
            "steps": steps,
        }
        for dataset, counts in sizes.items()
        for per_class, seed, strategy in product(counts, range(seeds), STRATEGIES)
    ]


def run_cell(
    *,
    dataset: str,
    per_class: int,
    seed: int,
    strategy: str,
    backbone: str,
    image_size: int,
    steps: int,
) -> dict[str, object]:
    """Train one network and test it: accuracies in [0, 1], the validation curve, and seconds.

    ``plain`` is the accuracy on test images as they are, the other names are shifts.
    """
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=seed)
    started = time.perf_counter()
    trained = train(
        strategy_named(strategy),
        backbone,
        task.train,
        task.validation,
        num_classes=task.num_classes,
        steps=steps,
        seed=seed,
    )
    seconds = time.perf_counter() - started
    return {
        **{name: evaluate(trained.network, *data)[1] for name, data in task.test.items()},
        "curve": trained.history["validation_accuracy"].round(4).tolist(),
        "curve_steps": trained.history["steps"].tolist(),
        "seconds": seconds,
    }
