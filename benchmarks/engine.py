"""Frozen features by extract_features beside PyTorch eager, channels last: ELPV at 224 px.

Side by side in one process, in rounds that alternate; each pass of the first exports its graph
anew. Medians of the time and of the processor's time. Arguments: images (default all), rounds.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.datasets import load_dataset
from tlcourse.modes import evaluating
from tlcourse.networks import engine
from tlcourse.networks.backbones import Backbone, load_backbone
from tlcourse.networks.features import run_prefix


def main(n: int = 10_000, rounds: int = 3) -> None:
    images = load_dataset("elpv").tensors("all", 224)[0][:n]
    backbone = load_backbone("efficientnet_lite0").to(memory_format=torch.channels_last)
    times = []
    for _ in range(rounds):
        engine.kept.clear()
        found, *ours = timed(run_prefix, backbone, images)
        expected, *theirs = timed(eager, backbone, images)
        times.append((*ours, *theirs))
    assert found.engine == "onnxruntime", found
    difference = (found.features - expected).abs().max() / expected.abs().max()
    wall, cpu, eager_wall, eager_cpu = map(statistics.median, zip(*times, strict=True))
    print(f"{len(images):,} images, {torch.get_num_threads()} threads, medians of {rounds} rounds")
    print(f"PyTorch eager, channels last: {eager_wall:.1f} s, {eager_cpu:.1f} s of processor")
    print(f"ONNX Runtime with its export: {wall:.1f} s, {cpu:.1f} s of processor")
    print(f"{eager_wall / wall:.2f} × as fast ({eager_cpu / cpu:.2f} × less processor)")
    print(f"largest difference {difference:.1e} of the largest feature")


def eager(backbone: Backbone, images: Tensor) -> Tensor:
    with evaluating(backbone), torch.inference_mode():
        return torch.cat([backbone.features(some, up_to="neck") for some in images.split(32)])


def timed(
    action: Callable[..., Any], backbone: Backbone, images: Tensor
) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = action(backbone, images)
    return result, time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
