"""How a new head starts: Kaiming, Xavier, scaled, zero, class means, or the source's classes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from tlcourse.networks.heads import linear_layers
from tlcourse.shapes import Features, Labels


def kaiming_(head: nn.Module) -> None:
    """Weights from N(0, 2 / inputs), biases 0: keeps the variance through ReLU (He et al. 2015).

    Examples
    --------
    >>> head = nn.Linear(800, 100)
    >>> kaiming_(head)
    >>> round(head.weight.std().item(), 2), head.bias.any().item()
    (0.05, False)
    """
    for linear in linear_layers(head):
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)


def xavier_(head: nn.Module) -> None:
    """Weights from N(0, 2 / (inputs + outputs)), biases 0 (Glorot & Bengio 2010).

    Examples
    --------
    >>> head = nn.Linear(700, 100)
    >>> xavier_(head)
    >>> round(head.weight.std().item(), 2), head.bias.any().item()
    (0.05, False)
    """
    for linear in linear_layers(head):
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)


def scaled_(head: nn.Module, scale: float) -> None:
    """Multiply the last layer's weights by ``scale`` and set its bias to 0; 0 is the zero start.

    Hidden layers stay: at zero they would get no gradient, ever.

    Raises
    ------
    ValueError
        For a negative scale.

    Examples
    --------
    >>> head = nn.Linear(8, 3)
    >>> scaled_(head, 0)
    >>> head(torch.ones(1, 8)).tolist()
    [[0.0, 0.0, 0.0]]
    """
    if scale < 0:
        raise ValueError(f"scale is {scale}; expected 0 (logits start at 0) or more")
    last = linear_layers(head)[-1]
    with torch.no_grad():
        last.weight *= scale
        last.bias.zero_()


def class_informed_(head: nn.Linear, source: nn.Linear, relation: Float[Tensor, "new old"]) -> None:
    """Each new row becomes the mean of the source's rows, weighted by how related the classes are.

    ``relation`` (new classes, source classes) is not negative, see ``related_classes``; its rows
    are scaled to sum 1. The mean over the new rows is taken off, which changes no probability.

    Raises
    ------
    ValueError
        For other shapes, negative entries and a class related to none.

    Examples
    --------
    >>> source, head = nn.Linear(8, 4), nn.Linear(8, 2)
    >>> class_informed_(head, source, torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 2]]))
    >>> torch.allclose(head.weight.sum(dim=0), torch.zeros(8), atol=1e-6)
    True
    """
    expected = (head.out_features, source.out_features)
    if relation.shape != expected or head.in_features != source.in_features:
        raise ValueError(
            f"relation is {tuple(relation.shape)}, expected {expected}; the head takes "
            f"{head.in_features} features, the source {source.in_features}"
        )
    if (relation < 0).any() or (relation.sum(dim=1) == 0).any():
        raise ValueError("relation has a negative entry or a class related to no source class")
    with torch.no_grad():
        share = normalize(relation, p=1, dim=1).to(source.weight)
        for new, old in ((head.weight, source.weight), (head.bias, source.bias)):
            rows = share @ old
            new.copy_(rows - rows.mean(dim=0))


def class_means_(head: nn.Linear, features: Features, labels: Labels) -> None:
    """Each row becomes its class's mean feature: the head starts as the nearest-mean classifier.

    The logit of class c for features x is −‖x − μ_c‖² / 2 s², less what is the same for all
    classes; s² is the mean of ‖x − μ‖² over the ``features`` (N, D), μ the mean of x's own class.

    Raises
    ------
    ValueError
        For features of another size, for a class without an image, and for classes whose images
        are all alike: then s² is 0.

    References
    ----------
    scikit-learn's ``NearestCentroid``; Qi et al. 2018 (Low-shot learning with imprinted weights).

    Examples
    --------
    >>> head = nn.Linear(1, 2)
    >>> class_means_(head, torch.tensor([[0.0], [2], [8], [10]]), torch.tensor([0, 0, 1, 1]))
    >>> head(torch.tensor([[4.9], [5.1]])).argmax(dim=1).tolist()
    [0, 1]
    """
    classes = range(head.out_features)
    if features.shape[1] != head.in_features or set(labels.tolist()) != set(classes):
        raise ValueError(
            f"features are {tuple(features.shape)}, of classes {sorted(set(labels.tolist()))}; the "
            f"head takes {head.in_features} features and wants all of {head.out_features} classes"
        )
    means = torch.stack([features[labels == c].mean(dim=0) for c in classes])
    spread = (features - means[labels]).square().sum(dim=1).mean()
    if spread == 0:
        raise ValueError("the images of each class are all alike; give two different ones of one")
    with torch.no_grad():
        head.weight.copy_(means / spread)
        head.bias.copy_(-means.square().sum(dim=1) / (2 * spread))


def related_classes(
    source_logits: Float[Tensor, "n old"], labels: Labels
) -> Float[Tensor, "new old"]:
    """How often the source's classes are seen in the images of each new class.

    The mean softmax of ``source_logits`` (N, source classes) over the images of each of the
    ``labels`` (N,); rows sum to 1 (the joint distribution of LEEP, Nguyen et al. 2020).

    Examples
    --------
    >>> related_classes(torch.tensor([[9.0, -9, -9], [-9, -9, 9]]), torch.tensor([1, 0])).round()
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    probabilities = source_logits.softmax(dim=1)
    return torch.stack([probabilities[labels == c].mean(dim=0) for c in range(labels.max() + 1)])
