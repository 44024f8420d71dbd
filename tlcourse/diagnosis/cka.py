"""Linear centred kernel alignment: how alike two representations of the same images are."""

import pandas as pd
import torch
from torch import Tensor

from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone
from tlcourse.runtime import device


def linear_cka(x: Tensor, y: Tensor, *, unbiased: bool = True) -> float:
    """CKA of features x (N, …) and y (N, …) of the same N images (Kornblith et al. 2019).

    1 where one is a rotation and scaling of the other; 0 where they have nothing in common. The
    biased estimate calls unrelated features alike when they are more than the images; the unbiased
    one (Song et al. 2012) does not, and may fall below 0. Raises ValueError for fewer than four
    images and for features of different ones.
    """
    cka = CKA(unbiased=unbiased)
    cka.update(x, y)
    return cka.value()


class CKA:
    """Linear CKA from mini-batches: HSIC is averaged over them, then divided (Nguyen et al. 2021).

    Only the unbiased estimate has the same expectation for every batch size.
    """

    def __init__(self, *, unbiased: bool = True) -> None:
        self.hsic = hsic_unbiased if unbiased else hsic_biased
        self.sums = torch.zeros(3, dtype=torch.float64)

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add the features x (N, …) and y (N, …) of one batch, at least four images."""
        if len(x) != len(y) or len(x) < 4:
            raise ValueError(
                f"features of {len(x)} and {len(y)} images; expected those of the same images, "
                "four or more: the unbiased estimate has n − 3 in its denominator"
            )
        k, m = (gram(features) for features in (x, y))
        self.sums += torch.stack([self.hsic(k, m), self.hsic(k, k), self.hsic(m, m)])

    def value(self) -> float:
        """CKA of all batches so far; NaN where features do not vary."""
        xy, xx, yy = self.sums
        return (xy / (xx * yy).sqrt()).item()


def gram(features: Tensor) -> Tensor:
    """Inner products (N, N) of centred features (N, …), in double precision."""
    flat = features.detach().cpu().double().flatten(1)
    flat = flat - flat.mean(dim=0)
    return flat @ flat.T


def hsic_biased(k: Tensor, m: Tensor) -> Tensor:
    """tr(K M) / (n − 1)² of centred Gram matrices (Gretton et al. 2005)."""
    return (k * m).sum() / (len(k) - 1) ** 2


def hsic_unbiased(k: Tensor, m: Tensor) -> Tensor:
    """HSIC without the bias of the diagonal (Song et al. 2012, equation 5)."""
    n = len(k)
    k, m = (matrix - torch.diag(matrix.diag()) for matrix in (k, m))
    trace = (k * m).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    cross = 2 * k.sum(0) @ m.sum(0) / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def cka_by_stage(
    one: Backbone, other: Backbone, images: Tensor, *, batch_size: int = 64
) -> pd.DataFrame:
    """CKA of every stage of one network (rows) with every stage of another, in eval mode."""
    stages = list(one.stage_names), list(other.stage_names)
    pairs = {(a, b): CKA() for a in stages[0] for b in stages[1]}
    one.to(device()), other.to(device())
    with evaluating(one), evaluating(other), torch.inference_mode():
        # Near-equal batches: a last batch of three images would be too few.
        for batch in images.tensor_split(-(-len(images) // batch_size)):
            outputs = [network.stage_outputs(batch.to(device())) for network in (one, other)]
            for (a, b), cka in pairs.items():
                cka.update(outputs[0][a], outputs[1][b])
    return pd.DataFrame({b: {a: pairs[a, b].value() for a in stages[0]} for b in stages[1]})
