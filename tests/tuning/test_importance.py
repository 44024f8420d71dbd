"""Fisher information against its closed form and against per-example gradients of torch.func."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from tlcourse.tuning.importance import fisher, magnitude, most_important


def test_fisher_of_a_softmax_regression_in_closed_form():
    """∂ log p / ∂W = (onehot − p) xᵀ."""
    model = nn.Linear(4, 3)
    x, y = torch.randn(9, 4), torch.arange(9) % 3
    errors = nn.functional.one_hot(y) - model(x).softmax(1).detach()
    found = fisher(model, (x, y))
    torch.testing.assert_close(found["weight"], (errors[:, :, None] * x[:, None]).square().mean(0))
    torch.testing.assert_close(found["bias"], errors.square().mean(0))


def test_fisher_of_a_network_is_the_mean_of_squared_gradients():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).train()
    model[0].bias.requires_grad = False
    x, y = torch.randn(9, 4), torch.arange(9) % 3

    def loss(parameters, x, y):
        return cross_entropy(functional_call(model.eval(), parameters, (x[None],)), y[None])

    parameters = {n: p.detach() for n, p in model.named_parameters()}
    expected = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    found = fisher(model.train(), (x, y))
    assert found.keys() == parameters.keys() - {"0.bias"}
    for name, values in found.items():
        torch.testing.assert_close(values, expected[name].square().mean(0))
    assert model.training


def test_the_most_important_share_of_all_together():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -5], [2, 0]]))
        model.bias.copy_(torch.tensor([-4.0, 3]))
    masks = most_important(magnitude(model), share=0.5)
    assert masks["weight"].tolist() == [[False, True], [False, False]]
    assert masks["bias"].tolist() == [True, True]
    one = most_important(magnitude(model), share=0.01)  # at least one element
    assert [mask.sum().item() for mask in one.values()] == [1, 0]
    with pytest.raises(ValueError, match="share is 0.0"):
        most_important(magnitude(model), share=0.0)
    with pytest.raises(ValueError, match="share is 1.0"):
        most_important(magnitude(model), share=1.0)
