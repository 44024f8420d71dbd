"""CKA against the definition of the U-statistic, summed by brute force."""

from itertools import permutations

import pytest
import torch

from tlcourse.diagnosis.cka import CKA, cka_by_stage, gram, hsic_biased, hsic_unbiased, linear_cka
from tlcourse.networks.backbones import load_backbone


def hsic_by_definition(k: torch.Tensor, m: torch.Tensor) -> float:
    """Gretton et al. 2005, theorem 1: an average over all quadruples of different examples."""
    terms = [
        k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(k)), 4)
    ]
    return torch.stack(terms).mean().item()


def test_the_unbiased_estimate_is_the_average_over_all_quadruples():
    x, y = torch.randn(7, 5).double(), torch.randn(7, 3).double()
    found = hsic_unbiased(gram(x), gram(y)).item()
    assert found == pytest.approx(hsic_by_definition(x @ x.T, y @ y.T), rel=1e-9)


def test_the_biased_estimate_is_the_norm_of_the_covariance():
    x, y = torch.randn(9, 4).double(), torch.randn(9, 3).double()
    covariance = torch.cov(torch.cat([x, y], dim=1).T)[:4, 4:]
    assert hsic_biased(gram(x), gram(y)).item() == pytest.approx(covariance.square().sum().item())


def test_the_biased_estimate_is_the_ratio_of_norms():
    """Kornblith et al. 2019, equation 4: ‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖) of centred features."""
    x, y = torch.randn(20, 5).double(), torch.randn(20, 8).double()
    x, y = x - x.mean(0), y - y.mean(0)
    expected = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert linear_cka(x, y, unbiased=False) == pytest.approx(expected.item())


def test_rotation_and_scaling_do_not_matter():
    x = torch.randn(20, 6).double()
    rotation = torch.linalg.qr(torch.randn(6, 6).double()).Q
    assert linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1)


def test_batches_of_unrelated_features_average_to_nothing_only_without_bias():
    generator = torch.Generator().manual_seed(0)
    values = {}
    for unbiased in (True, False):
        cka = CKA(unbiased=unbiased)
        for _ in range(40):
            cka.update(*torch.randn(2, 16, 128, generator=generator))
        values[unbiased] = cka.value()
    assert abs(values[True]) < 0.03
    assert values[False] > 0.8


def test_stages_of_a_network_with_themselves():
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=3)
    images = torch.randint(0, 256, (10, 3, 32, 32), dtype=torch.uint8)
    table = cka_by_stage(backbone, backbone, images, batch_size=10)
    assert list(table.index) == list(table.columns) == list(backbone.stage_names)
    assert torch.tensor(table.to_numpy()).diag().tolist() == pytest.approx([1] * len(table))
    with torch.no_grad():
        outputs = [backbone.features(images, up_to=s) for s in ("stage1", "stage3")]
    assert table.loc["stage1", "stage3"] == pytest.approx(linear_cka(*outputs), rel=1e-4)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="3 and 3 images; .* four or more"):
        linear_cka(torch.randn(3, 2), torch.randn(3, 2))
    with pytest.raises(ValueError, match="8 and 9 images"):
        linear_cka(torch.randn(8, 2), torch.randn(9, 2))
