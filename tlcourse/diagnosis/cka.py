"""Linear centred kernel alignment: how alike two representations of the same images are."""

import math

import pandas as pd
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor, nn

from tlcourse.diagnosis.samples import check_finite
from tlcourse.modes import evaluating
from tlcourse.networks.backbone import backbone_in
from tlcourse.runtime import device
from tlcourse.shapes import Images

Gram = Float[Tensor, "n n"]
ROUNDING = 1e-12


def linear_cka(
    x: Shaped[Tensor, "n ..."], y: Shaped[Tensor, "m ..."], *, unbiased: bool = True
) -> float:
    """CKA of two representations of the same images.

    1 where one is a rotation and scaling of the other; 0 where they have nothing in common.

    Parameters
    ----------
    x, y
        Features, maps or tokens (N, …) of the same N images, four or more.
    unbiased
        The biased estimate calls unrelated features alike when they are more than the images; the
        unbiased one does not, and may fall below 0.

    Raises
    ------
    ValueError
        For fewer than four images, for features of different ones, and for such that do not vary or
        are not finite.

    References
    ----------
    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited;
    Song et al. 2012, Feature Selection via Dependence Maximization

    Examples
    --------
    >>> x = torch.rand(10, 3)
    >>> round(linear_cka(x, 2 * x.flip(1) + 1), 4)
    1.0
    """
    cka = CKA(unbiased=unbiased)
    cka.update(x, y)
    value = cka.value()
    if math.isnan(value):
        raise ValueError("features that are the same for every image are like no others")
    return value


class CKA:
    """Linear CKA from mini-batches: HSIC is averaged over them, then divided.

    Only the unbiased estimate has the same expectation for every batch size.

    References
    ----------
    Nguyen et al. 2021, Do Wide and Deep Networks Learn the Same Things?

    Examples
    --------
    >>> cka = CKA()
    >>> for batch in torch.rand(3, 8, 5):
    ...     cka.update(batch, -batch)
    >>> round(cka.value(), 4)
    1.0
    """

    def __init__(self, *, unbiased: bool = True) -> None:
        self.hsic = hsic_unbiased if unbiased else hsic_biased
        self.sums = torch.zeros(3, dtype=torch.float64)

    def update(self, x: Shaped[Tensor, "n ..."], y: Shaped[Tensor, "m ..."]) -> None:
        """Add the features x (N, …) and y (N, …) of one batch, at least four images."""
        if len(x) != len(y) or len(x) < 4:
            raise ValueError(
                f"features of {len(x)} and {len(y)} images; expected those of the same images, "
                "four or more: the unbiased estimate has n − 3 in its denominator"
            )
        for features in (x, y):
            check_finite("the features", features)
        k, m = (gram(features) for features in (x, y))
        self.sums += torch.stack([self.hsic(k, m), self.hsic(k, k), self.hsic(m, m)])

    def value(self) -> float:
        """CKA of all batches so far; NaN where features do not vary."""
        xy, xx, yy = self.sums
        return (xy / (xx * yy).sqrt()).item()


def gram(features: Shaped[Tensor, "n ..."]) -> Float64[Tensor, "n n"]:
    """Inner products (N, N) of centred features (N, …), in double precision."""
    flat = features.detach().cpu().double().flatten(1)
    centred = flat - flat.mean(dim=0)
    if centred.norm() <= ROUNDING * flat.norm():  # the mean of equal numbers may be another one
        centred = torch.zeros_like(centred)
    return centred @ centred.T


def hsic_biased(k: Gram, m: Gram) -> Float[Tensor, ""]:
    """tr(K M) / (n − 1)² of centred Gram matrices (Gretton et al. 2005)."""
    return (k * m).sum() / (len(k) - 1) ** 2


def hsic_unbiased(k: Gram, m: Gram) -> Float[Tensor, ""]:
    """HSIC without the bias of the diagonal (Song et al. 2012, equation 5)."""
    n = len(k)
    k, m = (matrix - torch.diag(matrix.diag()) for matrix in (k, m))
    trace = (k * m).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    cross = 2 * k.sum(0) @ m.sum(0) / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def cka_by_stage(
    one: nn.Module, other: nn.Module, images: Images, *, batch_size: int = 64
) -> pd.DataFrame:
    """CKA of every stage of one network (rows) with every stage of another, in eval mode.

    Examples
    --------
    >>> from tlcourse.networks import load_backbone
    >>> backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    >>> images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    >>> cka_by_stage(backbone, backbone, images).shape  # stem, three stages, neck and head
    (6, 6)
    """
    one, other = backbone_in(one), backbone_in(other)
    stages = list(one.stage_names), list(other.stage_names)
    pairs = {(a, b): CKA() for a in stages[0] for b in stages[1]}
    one.to(device()), other.to(device())
    with evaluating(one), evaluating(other), torch.inference_mode():
        # Near-equal batches: a last batch of three images would be too few.
        for batch in images.tensor_split(-(-len(images) // batch_size)):
            outputs = [backbone.stage_outputs(batch.to(device())) for backbone in (one, other)]
            for (a, b), cka in pairs.items():
                cka.update(outputs[0][a], outputs[1][b])
    return pd.DataFrame({b: {a: pairs[a, b].value() for a in stages[0]} for b in stages[1]})
