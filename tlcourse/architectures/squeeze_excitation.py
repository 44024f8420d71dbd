"""Squeeze-and-excitation (Hu et al. 2018): each channel is scaled by what all channels show."""

from jaxtyping import Float
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Squeeze a map to one number a channel, excite: a gate in [0, 1] for each channel.

    (N, C, H, W) → (N, C, H, W), through ``hidden`` units. The paper has ReLU and a sigmoid;
    MobileNetV3 and EfficientNet take other activations.

    Examples
    --------
    >>> import torch
    >>> SqueezeExcitation(64, hidden=4)(torch.rand(2, 64, 7, 7)).shape
    torch.Size([2, 64, 7, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        hidden: int,
        activation: type[nn.Module] = nn.ReLU,
        gate: type[nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        # 1 × 1 convolutions are linear layers over channels.
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.activation = activation()
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.gate = gate()

    def gates(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 1 1"]:
        """How much of each channel passes; (N, C, 1, 1)."""
        squeezed = x.mean(dim=(2, 3), keepdim=True)
        return self.gate(self.fc2(self.activation(self.fc1(squeezed))))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The map, each channel times its gate."""
        return x * self.gates(x)
