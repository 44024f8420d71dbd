"""VGG (Simonyan & Zisserman 2015): nothing but 3 × 3 convolutions, and pooling between them."""

from torch import nn

from tlcourse.architectures.layers import Network, initialise, named

WIDTHS = (64, 128, 256, 512, 512)
# Convolutions in the stem and in stages 1 to 4 (table 1 of the paper, columns A, B, D and E).
DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


def vgg(
    depths: tuple[int, ...],
    *,
    batch_norm: bool,
    num_classes: int,
    in_channels: int,
    dropout: float = 0.5,
) -> Network:
    """Five groups of convolutions, each halving the map; then a flatten head of two layers."""
    inputs = (in_channels, *WIDTHS[:-1])
    groups = [
        _convolutions(number, before, width, batch_norm)
        for number, before, width in zip(depths, inputs, WIDTHS, strict=True)
    ]
    names = ("stem", "stage1", "stage2", "stage3", "stage4")
    neck = named(
        pool=nn.AdaptiveAvgPool2d(7),
        flatten=nn.Flatten(),
        hidden1=nn.Linear(512 * 7 * 7, 4096),
        relu1=nn.ReLU(inplace=True),
        dropout1=nn.Dropout(dropout),
        hidden2=nn.Linear(4096, 4096),
        relu2=nn.ReLU(inplace=True),
        dropout2=nn.Dropout(dropout),
    )
    network = Network(
        in_channels=in_channels,
        min_size=32,
        **dict(zip(names, groups, strict=True)),
        neck=neck,
        head=nn.Linear(4096, num_classes),
    )
    initialise(network)
    return network


def torchvision_names(depths: tuple[int, ...], *, batch_norm: bool) -> tuple[tuple[str, str], ...]:
    """Rules from our names to torchvision's, which numbers all layers of ``features`` through."""
    rules = []
    position = 0
    for stage, number in zip(("stem", "stage1", "stage2", "stage3", "stage4"), depths, strict=True):
        for k in range(1, number + 1):
            rules.append((rf"^{stage}\.conv{k}\.", f"features.{position}."))
            rules.append((rf"^{stage}\.norm{k}\.", f"features.{position + 1}."))
            position += 3 if batch_norm else 2
        position += 1  # the pooling layer
    return (
        *rules,
        (r"^neck\.hidden1", "classifier.0"),
        (r"^neck\.hidden2", "classifier.3"),
        (r"^head", "classifier.6"),
    )


def _convolutions(number: int, before: int, width: int, batch_norm: bool) -> nn.Sequential:
    layers: dict[str, nn.Module] = {}
    for k in range(1, number + 1):
        layers[f"conv{k}"] = nn.Conv2d(before if k == 1 else width, width, 3, padding=1)
        if batch_norm:
            layers[f"norm{k}"] = nn.BatchNorm2d(width)
        layers[f"relu{k}"] = nn.ReLU(inplace=True)
    return named(**layers, pool=nn.MaxPool2d(2))
