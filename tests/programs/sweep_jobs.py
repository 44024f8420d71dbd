"""A small real job for the sweep's tests: ``python sweep_jobs.py FILE [dask ADDRESS]``.

Its last cells wait for the file that WAIT_FOR names: what is to be killed on its way must not be
done before the signal comes, however slow the machine.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from tlcourse.advice.sweeps import sweep

CELLS = [
    {"images": images, "lr": lr, "seed": seed}
    for images in (50, 200, 800)
    for lr in (0.1, 1.0)
    for seed in range(11)
]
LAST = CELLS[-4:]


def job(*, images: int, lr: float, seed: int) -> dict[str, float]:
    """Softmax regression on points around ten centres, by full gradient descent."""
    if "WAIT_FOR" in os.environ and {"images": images, "lr": lr, "seed": seed} in LAST:
        while not Path(os.environ["WAIT_FOR"]).exists():
            time.sleep(0.01)
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(10, (1700,), generator=generator)
    centres = torch.randn(10, 64, generator=generator)
    x = 0.2 * centres[y] + torch.randn(1700, 64, generator=generator)
    weights = torch.zeros(64, 10, requires_grad=True)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(x[:images] @ weights, y[:images])
        (gradient,) = torch.autograd.grad(loss, weights)
        weights.data -= lr * gradient
    accuracy = ((x[-900:] @ weights).argmax(1) == y[-900:]).double().mean().item()
    return {"accuracy": accuracy, "loss": loss.item()}


def fragile(*, number: int, folder: str) -> dict[str, int]:
    """Cell 3 raises, cell 5 kills its worker: the first time they are called."""
    marker = Path(folder) / str(number)
    if not marker.exists() and number in (3, 5):
        marker.touch()
        if number == 3:
            raise OSError("no space left on this worker")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return {"square": number**2}


_kept: list[np.ndarray] = []


def caching(*, number: int) -> dict[str, int]:
    """Each cell leaves 200 MB in its worker, whose name it gives."""
    _kept.append(np.ones(25_000_000))
    time.sleep(1.1)  # loky looks at most once a second
    return {"worker": os.getpid()}


def deadly(*, number: int) -> dict[str, int]:
    """Cell 2 kills every worker that tries it."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"square": number**2}


if __name__ == "__main__":
    from sweep_jobs import job  # by its own name, not as __main__.job

    backend, address = [*sys.argv[2:], "processes", None][:2]
    print(sweep(job, CELLS, Path(sys.argv[1]), backend=backend, address=address))
