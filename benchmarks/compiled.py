"""Every network under torch.compile (inductor, channels last): same logits, ratio of running times.

Takes half a minute a network on two cores, and needs a C++ compiler.
"""

import statistics
import sys

import torch
from architectures import forward

from tlcourse.architectures import available, create
from tlcourse.runtime import device, seconds_of

ROUNDS = 5
BATCH_SIZE = 4


def main() -> None:
    """Names of networks as arguments; all without any."""
    for name in sys.argv[1:] or available():
        torch.compiler.reset()
        torch.manual_seed(0)
        network = create(name).to(device(), memory_format=torch.channels_last).eval()
        size = 32 if name.endswith(("20", "32", "44", "56")) else 224
        images = torch.rand(BATCH_SIZE, 3, size, size, device=device())
        images = images.to(memory_format=torch.channels_last)
        compiled = torch.compile(network, fullgraph=True)
        with torch.inference_mode():
            expected, logits = network(images), compiled(images)
        difference = ((logits - expected).abs().max() / expected.abs().max()).item()
        both = [
            [seconds_of(forward, n, images, None) for n in (compiled, network)]
            for _ in range(ROUNDS)
        ]
        fast, plain = (statistics.median(times) for times in zip(*both, strict=True))
        print(f"{name:<22}{fast / plain:.2f} × {plain:.3f} s, difference {difference:.1e}")


if __name__ == "__main__":
    main()
