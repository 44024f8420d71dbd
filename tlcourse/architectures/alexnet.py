"""AlexNet (Krizhevsky 2014, one-GPU version): convolutions, ReLU, dropout; a flatten head."""

from torch import nn

from tlcourse.architectures.layers import Network, named

# Our names → torchvision's.
TORCHVISION_NAMES = (
    (r"^stem\.conv", "features.0"),
    (r"^stage1\.conv", "features.3"),
    (r"^stage2\.conv", "features.6"),
    (r"^stage3\.conv", "features.8"),
    (r"^stage4\.conv", "features.10"),
    (r"^neck\.hidden1", "classifier.1"),
    (r"^neck\.hidden2", "classifier.4"),
    (r"^head", "classifier.6"),
)


def alexnet(*, num_classes: int, in_channels: int, dropout: float = 0.5) -> Network:
    """Five convolutions and three linear layers; most of its weights are in ``neck.hidden1``."""
    return Network(
        in_channels=in_channels,
        min_size=63,
        stem=named(
            conv=nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            relu=nn.ReLU(inplace=True),
            pool=nn.MaxPool2d(3, stride=2),
        ),
        stage1=named(
            conv=nn.Conv2d(64, 192, 5, padding=2),
            relu=nn.ReLU(inplace=True),
            pool=nn.MaxPool2d(3, stride=2),
        ),
        stage2=named(conv=nn.Conv2d(192, 384, 3, padding=1), relu=nn.ReLU(inplace=True)),
        stage3=named(conv=nn.Conv2d(384, 256, 3, padding=1), relu=nn.ReLU(inplace=True)),
        stage4=named(
            conv=nn.Conv2d(256, 256, 3, padding=1),
            relu=nn.ReLU(inplace=True),
            pool=nn.MaxPool2d(3, stride=2),
        ),
        neck=named(
            pool=nn.AdaptiveAvgPool2d(6),
            flatten=nn.Flatten(),
            dropout1=nn.Dropout(dropout),
            hidden1=nn.Linear(256 * 6 * 6, 4096),
            relu1=nn.ReLU(inplace=True),
            dropout2=nn.Dropout(dropout),
            hidden2=nn.Linear(4096, 4096),
            relu2=nn.ReLU(inplace=True),
        ),
        head=nn.Linear(4096, num_classes),
    )
