"""What each stage of a network costs: parameters, multiply–adds, memory for training."""

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from tlcourse.modes import evaluating
from tlcourse.networks.receptive_field import receptive_fields

# torch 2.11 does not count the CPU's own attention; newer versions count it in the same way.
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)
    )
}


def complexity(network: nn.Module, *, image_size: int, in_channels: int = 3) -> pd.DataFrame:
    """One row a stage, for one image: output, parameters and three measures of work and reach.

    ``multiply_adds`` are those of convolutions, linear layers and attention, half of what torch's
    counter calls flops; ``activation_bytes`` is what the forward pass keeps for the backward pass
    besides the weights, in float32; ``receptive_field`` is in pixels, infinite for a stage that
    sees the whole image. The network's own stages are run one after another.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1))
    >>> table = complexity(network, image_size=10)
    >>> [str(output) for output in table["output"]], table["multiply_adds"].tolist()
    (['8 × 10 × 10', '4 × 10 × 10'], [21600, 3200])
    """
    x = torch.zeros(1, in_channels, image_size, image_size)
    fields = receptive_fields(network, image_size=image_size, in_channels=in_channels)
    rows = {}
    for name, stage in network.named_children():
        kept = _Kept(network)
        counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
        with evaluating(network), counter, kept.hooks():
            x = stage(x.detach().requires_grad_())
        rows[name] = {
            "output": " × ".join(map(str, x.shape[1:])),
            "parameters": sum(parameter.numel() for parameter in stage.parameters()),
            "multiply_adds": counter.get_total_flops() // 2,
            "activation_bytes": kept.bytes(),
            "receptive_field": fields[name].size,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("stage")


class _Kept:
    """Storages that autograd keeps for the backward pass, each counted once, weights left out."""

    def __init__(self, network: nn.Module) -> None:
        self.weights = {t.untyped_storage().data_ptr() for t in network.state_dict().values()}
        self.storages: dict[int, torch.UntypedStorage] = {}  # held, so that no address is reused

    def hooks(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self.storages.values())

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.storages[storage.data_ptr()] = storage
        return tensor
