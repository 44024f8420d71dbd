"""Depthwise gradients in parts: a training step on one thread, as torch's is, and as ours is.

Side by side in one process, medians over rounds that alternate between the two.
"""

import statistics
from contextlib import nullcontext

import torch
from torch.nn.functional import cross_entropy

from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.depthwise import depthwise_by_parts
from tlcourse.runtime import seconds_of

ROUNDS = 12
BATCH_SIZE = 8
IMAGE_SIZE = 128


def main() -> None:
    torch.set_num_threads(1)
    network = load_backbone("efficientnet_lite0", pretrained=False, num_classes=7).train()
    network.to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
    labels = torch.arange(BATCH_SIZE) % 7

    def step() -> None:
        network.zero_grad()
        cross_entropy(network(images), labels).backward()

    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        seconds = []
        for engine in (nullcontext(), depthwise_by_parts(network)):
            with engine:
                seconds.append(seconds_of(step))
        times.append((seconds[0], seconds[1]))
    plain, parts = (statistics.median(t) for t in zip(*times[2:], strict=True))
    print(f"efficientnet_lite0  5 × 5 in parts: {parts / plain:.2f} × the step of {plain:.2f} s")


if __name__ == "__main__":
    main()
