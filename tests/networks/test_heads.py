"""Heads against closed forms: what each keeps of a map, and what it costs."""

import pytest
import torch

from tlcourse.networks.heads import adaptive_head, flatten_head, gap_gmp_head, gap_head

MAPS = torch.rand(3, 8, 6, 6)


def count(head):
    return sum(parameter.numel() for parameter in head.parameters())


def test_parameters_are_channels_times_places_times_classes():
    assert count(gap_head(512, 1000)) == 512 * 1000 + 1000
    assert count(gap_gmp_head(512, 1000)) == 2 * 512 * 1000 + 1000
    assert count(adaptive_head(512, 1000, grid=7)) == 512 * 49 * 1000 + 1000
    assert count(flatten_head(512, 1000, map_size=7)) == 512 * 49 * 1000 + 1000


def test_gap_is_the_linear_layer_of_the_mean():
    head = gap_head(8, 5)
    expected = torch.einsum("nchw,kc->nk", MAPS, head.linear.weight) / 36 + head.linear.bias
    torch.testing.assert_close(head(MAPS), expected)


def test_gap_gmp_sees_mean_and_maximum():
    head = gap_gmp_head(8, 5)
    pooled = torch.cat([MAPS.flatten(2).mean(2), MAPS.flatten(2).max(2).values], dim=1)
    torch.testing.assert_close(head(MAPS), head.linear(pooled))


@pytest.mark.parametrize(
    ("grid", "twin"), [(1, gap_head(8, 5)), (6, flatten_head(8, 5, map_size=6))]
)
def test_adaptive_pooling_has_both_ends_in_it(grid, twin):
    head = adaptive_head(8, 5, grid=grid)
    head.linear.load_state_dict(twin.linear.state_dict())
    torch.testing.assert_close(head(MAPS), twin(MAPS))


def test_only_flatten_depends_on_place():
    moved = MAPS.roll((2, 1), dims=(2, 3))
    for head in (gap_head(8, 5), gap_gmp_head(8, 5)):
        torch.testing.assert_close(head(moved), head(MAPS))
    head = flatten_head(8, 5, map_size=6)
    assert not torch.allclose(head(moved), head(MAPS), atol=1e-3)


def test_only_flatten_refuses_another_size():
    larger = torch.rand(3, 8, 9, 9)
    for head in (gap_head(8, 5), gap_gmp_head(8, 5), adaptive_head(8, 5, grid=3)):
        assert head(larger).shape == (3, 5)
    with pytest.raises(ValueError, match="the map is 8 × 9 × 9, .* made for 8 × 6 × 6; use images"):
        flatten_head(8, 5, map_size=6)(larger)
