"""What a head costs when the frozen backbone runs once: ELPV at 128 px, 20 epochs.

Three ways to the same head, side by side, medians over three rounds:
one pass of the backbone alone, the pass and 20 epochs on its features, 20 epochs behind it.
"""

import statistics

import torch
from torch import nn

from tlcourse.datasets import load_dataset
from tlcourse.networks.backbones import load_backbone
from tlcourse.networks.features import extract_features
from tlcourse.runtime import seconds_of
from tlcourse.tuning.freezing import freeze
from tlcourse.tuning.training import fit

EPOCHS = 20
ROUNDS = 3


def main() -> None:
    images, labels = load_dataset("elpv").tensors("all", 128)
    backbone = load_backbone("efficientnet_lite0", num_classes=2)
    freeze(backbone, up_to="neck")

    def one_pass() -> None:
        extract_features(backbone, images, cache=None)

    def on_features() -> None:
        train(backbone.head, extract_features(backbone, images, cache=None))

    def behind_the_backbone() -> None:
        train(backbone, images)

    def train(model: nn.Module, inputs: torch.Tensor) -> None:
        optimizer = torch.optim.AdamW(backbone.head.parameters(), lr=3e-3)
        fit(model, (inputs, labels), None, optimizer, epochs=EPOCHS, seed=0)

    rounds = [(seconds_of(one_pass), seconds_of(on_features)) for _ in range(ROUNDS)]
    passes, cached = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"one pass over {len(images):,} images: {passes:.1f} s")
    print(f"pass and {EPOCHS} epochs on its features: {cached / passes:.2f} × one pass")
    every = seconds_of(behind_the_backbone)  # minutes: once is enough to see the ratio
    print(f"{EPOCHS} epochs behind the running backbone: {every / cached:.1f} × that time")


if __name__ == "__main__":
    main()
