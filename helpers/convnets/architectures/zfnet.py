"""ZFNet: AlexNet with a finer first layer, found by looking at what its
layers respond to (Zeiler & Fergus 2014, arXiv:1311.2901)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.alexnet import (
    initialise,
    response_norm,
)


class ZFNet(nn.Module):
    """AlexNet's eight layers; the first is 7x7 with stride 2.

    `stem` is kernel, stride and padding of the first convolution,
    `step` the stride of the second. Pools round the size up, which gives
    the 110, 55, 26, 13, 6 of the paper's figure 3.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (96, 256, 384, 384, 256),
        stem: tuple[int, int, int] = (7, 2, 1),
        step: int = 2,
        pooled: int = 6,
        hidden: int = 4096,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__()
        a, b, c, d, e = widths
        self.features = nn.Sequential(
            nn.Conv2d(channels, a, *stem),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            response_norm(),
            nn.Conv2d(a, b, 5, stride=step),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            response_norm(),
            nn.Conv2d(b, c, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c, d, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(d, e, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential(
            nn.Linear(e * pooled**2, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )
        self.apply(initialise)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.features(images)  # b 256 6 6
        x = self.avgpool(x).flatten(1)  # b 256*6*6
        return self.classifier(x)


def zfnet(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.5
) -> ZFNet:
    """The paper's figure 3, for images of 224x224 pixels."""
    return ZFNet(classes=classes, channels=channels, dropout=dropout)


def zfnet_small(
    *, classes: int = 10, channels: int = 3, dropout: float = 0.0
) -> ZFNet:
    """The same eight layers for images of about 32 pixels."""
    return ZFNet(
        widths=(16, 32, 48, 48, 32),
        stem=(3, 1, 1),
        step=1,
        pooled=2,
        hidden=128,
        classes=classes,
        channels=channels,
        dropout=dropout,
    )
