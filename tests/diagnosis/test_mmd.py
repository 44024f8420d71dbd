"""MMD against its definition, term by term, and its mean of zero."""

import math

import pytest
import torch

from tlcourse.diagnosis.mmd import mmd


def test_it_is_the_definition_term_by_term():
    x, y = torch.randn(5, 3), torch.randn(7, 3) + 1
    together = torch.cat([x, y])
    pairs = [(together[i] - together[j]).norm() for i in range(12) for j in range(i)]
    median = torch.stack(pairs).square().median()

    def kernel(a, b):
        return torch.exp(-((a - b) ** 2).sum() / (2 * median))

    xx = torch.stack([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = torch.stack([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = torch.stack([kernel(a, b) for a in x for b in y])
    expected = xx.mean() + yy.mean() - 2 * xy.mean()
    torch.testing.assert_close(mmd(x, y, scales=[1.0]), expected)


def test_its_mean_is_zero_without_a_difference_and_positive_with_one():
    torch.manual_seed(0)
    same = torch.stack([mmd(torch.randn(20, 8), torch.randn(30, 8)) for _ in range(200)])
    error = same.std() / 200**0.5
    assert abs(same.mean()) < 3 * error
    assert (same < 0).any()
    assert mmd(torch.randn(50, 8), torch.randn(50, 8) + 1) > 0.1
    torch.testing.assert_close(*(mmd(*p) for p in permuted(torch.randn(9, 2), torch.rand(6, 2))))


def permuted(x, y):
    return (x, y), (y, x)


@pytest.mark.unchecked
def test_mistakes_are_named():
    assert math.isfinite(mmd(torch.randn(2, 3), torch.randn(2, 3)))
    with pytest.raises(ValueError, match="N and M of 2 or more"):
        mmd(torch.randn(1, 3), torch.randn(5, 3))
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        mmd(torch.randn(4, 3), torch.randn(4, 2))
    with pytest.raises(ValueError, match="expected positive numbers"):
        mmd(torch.randn(4, 3), torch.randn(4, 3), scales=[0.0])
