"""What a frozen prefix costs: a training step, side by side with the parts it is made of.

Three ratios for each stage k, medians over rounds that alternate between the parts: frozen to k
against what is left to train plus one forward pass of the prefix; the same with the prefix's output
kept, against the remaining stages alone; and against the full step. Then what watching costs.
"""

import copy
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlcourse.diagnosis.monitor import Monitor
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.runtime import device, seconds_of
from tlcourse.tuning.freezing import freeze

ROUNDS = 5
BATCH_SIZE = 16
IMAGE_SIZE = 128


def main() -> None:
    for name in ("efficientnet_lite0", "resnet18"):
        network = load_backbone(name, pretrained=False, num_classes=7).to(device()).train()
        images = torch.randint(0, 256, (BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
        compare_prefixes(name, network, images.to(device()))
        compare_monitor(name, network, images.to(device()))


def compare_prefixes(name: str, whole: Backbone, images: Tensor) -> None:
    for stage in ("stem", "stage2", "stage4", "neck"):
        frozen = copy.deepcopy(whole)
        freeze(frozen, up_to=stage)
        behind = frozen.after(stage)
        alone = copy.deepcopy(whole).after(stage)  # the rest, that never had a prefix
        with torch.no_grad():
            cached = frozen.features(images, up_to=stage)
        parts: dict[str, Callable[[], None]] = {
            "full": lambda: step(whole, images),
            "frozen": lambda frozen=frozen: step(frozen, images),
            "cached": lambda behind=behind, cached=cached: step(behind, cached),
            "rest": lambda alone=alone, cached=cached: step(alone, cached),
            "prefix": lambda frozen=frozen, k=stage: forward(frozen, images, k),
        }
        t = medians(parts)
        print(
            f"{name:<20}frozen to {stage:<8}"
            f"{t['frozen'] / (t['rest'] + t['prefix']):.2f} × rest and prefix   "
            f"cached {t['cached'] / t['rest']:.2f} × rest   {t['frozen'] / t['full']:.2f} × full"
        )


def compare_monitor(name: str, network: Backbone, images: Tensor) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def watched(every: int) -> Callable[[], None]:
        def run() -> None:
            with Monitor(network, optimizer, every=every):
                for _ in range(10):
                    step(network, images, optimizer)

        return run

    def plain() -> None:
        for _ in range(10):
            step(network, images, optimizer)

    t = medians({"plain": plain, "every 10": watched(10), "every 1": watched(1)}, rounds=4)
    print(
        f"{name:<20}Monitor: every tenth step {t['every 10'] / t['plain']:.3f} ×, "
        f"every step {t['every 1'] / t['plain']:.3f} × a step without"
    )


def step(model: nn.Module, inputs: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
    model.zero_grad()
    labels = torch.arange(BATCH_SIZE, device=device()) % 7
    cross_entropy(model(inputs), labels).backward()
    if optimizer is not None:
        optimizer.step()


def forward(backbone: Backbone, images: Tensor, stage: str) -> None:
    with torch.no_grad():
        backbone.features(images, up_to=stage)


def medians(parts: dict[str, Callable[[], None]], rounds: int = ROUNDS) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            part()  # so that none finds the caches full of another's weights
            times[name].append(seconds_of(part))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
