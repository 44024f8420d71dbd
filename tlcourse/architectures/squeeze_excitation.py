"""Squeeze-and-excitation (Hu et al. 2018): each channel is scaled by what all channels show."""

import torch
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Squeeze a map to one number a channel, excite: a gate in (0, 1) for each channel.

    (N, C, H, W) → (N, C, H, W). ``reduction`` is the paper's r: the hidden layer has C / r units,
    but never fewer than 8 (as in timm; it matters in the first stage of SE-ResNet-18 only).
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 8)
        # 1 × 1 convolutions are linear layers over channels.
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def gates(self, x: Tensor) -> Tensor:
        """How much of each channel passes; (N, C, 1, 1)."""
        squeezed = x.mean(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(squeezed))))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gates(x)
