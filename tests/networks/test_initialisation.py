"""Initialisations against their formulas; classes informed by the source against a closed form."""

import math

import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import nn

from tlcourse.networks.heads import batchnorm_head, dropout_head, linear_head, mlp_head
from tlcourse.networks.initialisation import (
    class_informed_,
    class_means_,
    kaiming_,
    related_classes,
    scaled_,
    xavier_,
)


def test_heads_give_logits_and_have_the_stated_size():
    x = torch.randn(6, 20)
    heads = {
        linear_head(20, 3): 63,
        dropout_head(20, 3): 63,
        mlp_head(20, 3, hidden=8): 168 + 27,
        mlp_head(20, 3, hidden=8, layers=2, p=0.5): 168 + 72 + 27,
        mlp_head(20, 3, hidden=8, layers=2, batchnorm=True): 168 + 72 + 27 + 2 * 16,
        batchnorm_head(20, 3): 40 + 63,
    }
    for head, parameters in heads.items():
        assert head(x).shape == (6, 3)
        assert sum(p.numel() for p in head.parameters()) == parameters


def test_kaiming_and_xavier_have_their_variance():
    torch.manual_seed(0)
    head = mlp_head(400, 200, hidden=600)
    for initialise, variances in (
        (kaiming_, [2 / 400, 2 / 600]),
        (xavier_, [2 / 1000, 2 / 800]),
    ):
        initialise(head)
        for linear, variance in zip((head.hidden1, head.linear), variances, strict=True):
            assert linear.weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.02)
            assert not linear.bias.any()


def test_scaled_touches_the_last_layer_only():
    head = mlp_head(20, 3, hidden=8)
    before = {n: p.clone() for n, p in head.named_parameters()}
    scaled_(head, 0.1)
    torch.testing.assert_close(head.linear.weight, 0.1 * before["linear.weight"])
    assert torch.equal(head.hidden1.weight, before["hidden1.weight"])
    scaled_(head, 0)
    assert not head(torch.randn(2, 20)).any(), "logits start at zero"


def test_class_informed_rows_are_means_of_related_rows():
    source, head = nn.Linear(5, 4), nn.Linear(5, 2)
    relation = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 2]])
    class_informed_(head, source, relation)
    x = torch.randn(7, 5)
    scores = source(x)
    expected = torch.stack([(scores[:, 0] + scores[:, 1]) / 2, scores[:, 3]], dim=1)
    torch.testing.assert_close(head(x).softmax(dim=1), expected.softmax(dim=1))


def test_related_classes_are_the_means_of_the_probabilities():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])
    found = related_classes(logits, labels)
    torch.testing.assert_close(found[1], logits.softmax(1)[[1, 3, 4]].mean(0))
    torch.testing.assert_close(found.sum(1), torch.ones(2))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="scale is -1"):
        scaled_(nn.Linear(2, 2), -1)
    with pytest.raises(ValueError, match="ReLU has no linear layer"):
        kaiming_(nn.ReLU())
    with pytest.raises(ValueError, match=r"relation is \(2, 3\), expected \(2, 4\)"):
        class_informed_(nn.Linear(5, 2), nn.Linear(5, 4), torch.ones(2, 3))
    with pytest.raises(ValueError, match="related to no source class"):
        class_informed_(nn.Linear(5, 2), nn.Linear(5, 4), torch.eye(2, 4) * 0)


def test_class_means_classify_as_scikit_learns_nearest_centroid():
    torch.manual_seed(0)
    labels = torch.arange(40) % 4
    features = torch.randn(40, 9) + 2 * torch.randn(4, 9)[labels]
    unseen = 3 * torch.randn(200, 9)
    class_means_(head := nn.Linear(9, 4), features, labels)
    expected = NearestCentroid().fit(features.numpy(), labels.numpy()).predict(unseen.numpy())
    assert head(unseen).argmax(dim=1).tolist() == expected.tolist()


def test_class_means_want_every_class_and_some_spread():
    with pytest.raises(ValueError, match="wants all of 3 classes"):
        class_means_(nn.Linear(2, 3), torch.randn(4, 2), torch.tensor([0, 1, 1, 0]))
    with pytest.raises(ValueError, match="all alike"):
        class_means_(nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]))
