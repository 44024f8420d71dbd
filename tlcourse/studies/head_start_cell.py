"""A cell of ``scaled_init``: how far a few steps move features, by how large the head starts."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer

from tlcourse.advice.tasks import Drawn, Task, make_task
from tlcourse.datasets import few
from tlcourse.diagnosis.cka import linear_cka
from tlcourse.environment import environment
from tlcourse.errors import StudyError
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.features import extract_features
from tlcourse.networks.initialisation import scaled_
from tlcourse.shapes import Features
from tlcourse.studies.measuring import scored
from tlcourse.suggestions import look_up
from tlcourse.tuning.batchnorm import set_policy
from tlcourse.tuning.optim import constant
from tlcourse.tuning.training import fit, predict

OPTIMIZERS: Mapping[str, Callable[[Iterable[Tensor], float], Optimizer]] = {
    "SGD": lambda parameters, lr: SGD(parameters, lr=lr, momentum=0.9),
    "AdamW": lambda parameters, lr: AdamW(parameters, lr=lr),
}


def head_start_cell(
    *,
    dataset: str,
    per_class: int,
    held_out: int,
    split: int,
    scale: str,
    optimizer: str,
    lr: float,
    backbone: str,
    image_size: int,
    batch_size: int,
    steps: int,
) -> dict[str, Any]:
    """Take a few steps of fine-tuning with BatchNorm's statistics frozen; see what they moved.

    Parameters
    ----------
    dataset, per_class, split, image_size
        The task, see ``make_task``; ``split`` is its seed, and that of head and training.
    held_out : int
        Test images of each class whose features are compared.
    scale : str
        What torch's start of the head is multiplied by.
    optimizer : str
        ``SGD`` (momentum 0.9) or ``AdamW``, at the constant rate ``lr`` for all weights.
    backbone : str
    batch_size, steps : int
        There are more training images than ``batch_size`` × ``steps``: none is seen twice.

    Returns
    -------
    dict
        ``moved``: ‖after − before‖ / ‖before‖ of the test images' features; their linear ``cka``;
        ``plain``: test accuracy, and ``outcomes`` of it, see ``packed``; ``loss``: of the test
        images in nats.

    Raises
    ------
    StudyError
        For an unknown optimiser.
    """
    make_optimizer = look_up(optimizer, OPTIMIZERS, "optimiser", StudyError)
    task, seen, before = _before(dataset, per_class, image_size, split, held_out, backbone)
    network = load_backbone(backbone, num_classes=task.num_classes, seed=split)
    scaled_(network.head, float(scale))
    set_policy(network, "statistics_only")
    fit(
        network,
        task.train,
        None,
        make_optimizer(network.parameters(), lr),
        epochs=1,
        steps_per_epoch=steps,
        batch_size=batch_size,
        schedule=constant,
        seed=split,
    )
    after = extract_features(network, seen.images, cache=None)
    logits = predict(network.head, after)
    return {
        "moved": round(((after - before).norm() / before.norm()).item(), 6),
        "cka": round(linear_cka(before, after), 6),
        **scored({"plain": logits.argmax(dim=1).numpy()}, {"plain": seen}),
        "loss": round(cross_entropy(logits, seen.labels).item(), 6),
        "commit": environment()["commit"],
    }


@lru_cache(maxsize=2)
def _before(
    dataset: str, per_class: int, image_size: int, split: int, held_out: int, backbone: str
) -> tuple[Task, Drawn, Features]:
    """The task, some of its test images, and what the pretrained backbone makes of them."""
    task = make_task(dataset, per_class=per_class, image_size=image_size, seed=split)
    images, labels = task.test["plain"]
    rows = torch.from_numpy(few(labels.numpy(), held_out, seed=split))
    features = extract_features(load_backbone(backbone), images[rows], cache=None)
    return task, Drawn(images[rows], labels[rows], task.test_groups[rows.numpy()]), features
