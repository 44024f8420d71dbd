"""Our ResNet-50, SE-ResNet-50 and ViT-B/16 beside torchvision's and timm's: ratio of running times.

Side by side in one process, medians over rounds that alternate between the two.
"""

import statistics

import timm
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from tlcourse.architectures import create
from tlcourse.runtime import device, seconds_of

LIBRARIES = {
    "resnet50": torchvision.models.get_model,
    "seresnet50": timm.create_model,
    "vit_b_16": torchvision.models.get_model,
}
ROUNDS = 7
BATCH_SIZE = 8


def main() -> None:
    images = torch.randn(BATCH_SIZE, 3, 224, 224, device=device())
    labels = torch.arange(BATCH_SIZE, device=device())
    for name, library in LIBRARIES.items():
        networks = [create(name).to(device()), library(name).to(device())]
        for what, action in (("forward", forward), ("training step", training_step)):
            times = [
                [seconds_of(action, n, images, labels) for n in networks] for _ in range(ROUNDS)
            ]
            ours, theirs = (statistics.median(t) for t in zip(*times[1:], strict=True))
            print(f"{name:<12}{what:<14}{ours / theirs:.3f} × the library's {theirs:.2f} s")


def forward(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    network.eval()
    with torch.inference_mode():
        network(images)


def training_step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    network.train().zero_grad()
    cross_entropy(network(images), labels).backward()


if __name__ == "__main__":
    main()
