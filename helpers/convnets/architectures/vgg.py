"""VGG: nothing but 3x3 convolutions and 2x2 pools, until the net is
deep (Simonyan & Zisserman 2014, arXiv:1409.1556). The batch norms of
the `_bn` variants are torchvision's addition: the paper has none."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.weights import load_published

# Configurations A, B, D and E of the paper: convolutions per stage.
DEPTHS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)


def stage(
    inputs: int, width: int, depth: int, norm: bool
) -> list[nn.Module]:
    """`depth` convolutions of the same width, then a pool."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(inputs, width, 3, padding=1)]
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers += [nn.ReLU(inplace=True)]
        inputs = width
    return [*layers, nn.MaxPool2d(2, 2)]


class VGG(nn.Module):
    """Stages of 3x3 convolutions, then three linear layers.

    `depths` and `widths` have a number for each stage, `pooled` is the
    side of the map that the linear layers see.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        widths: Sequence[int] = WIDTHS,
        norm: bool = False,
        hidden: int = 4096,
        pooled: int = 7,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__()
        layers, inputs = [], channels
        for depth, width in zip(depths, widths, strict=True):
            layers += stage(inputs, width, depth, norm)
            inputs = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * pooled**2, hidden),
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
        x = self.features(images)  # b 512 h/32 w/32
        x = self.avgpool(x).flatten(1)  # b 512*7*7
        return self.classifier(x)


def initialise(layer: nn.Module) -> None:
    """He's initialisation, by outputs for filters, as torchvision's."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(
            layer.weight, mode="fan_out", nonlinearity="relu"
        )
        nn.init.zeros_(layer.bias)
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def vgg11(*, weights: str | None = None, **options) -> VGG:
    """Configuration A: 8 convolutions and 3 linear layers."""
    net = VGG(depths=DEPTHS[11], **options)
    return load_published(net, "vgg11", weights)


def vgg11_bn(*, weights: str | None = None, **options) -> VGG:
    """Configuration A with batch norms."""
    net = VGG(depths=DEPTHS[11], norm=True, **options)
    return load_published(net, "vgg11_bn", weights)


def vgg13(*, weights: str | None = None, **options) -> VGG:
    """Configuration B: two convolutions in each stage."""
    net = VGG(depths=DEPTHS[13], **options)
    return load_published(net, "vgg13", weights)


def vgg13_bn(*, weights: str | None = None, **options) -> VGG:
    """Configuration B with batch norms."""
    net = VGG(depths=DEPTHS[13], norm=True, **options)
    return load_published(net, "vgg13_bn", weights)


def vgg16(*, weights: str | None = None, **options) -> VGG:
    """Configuration D: 13 convolutions and 3 linear layers."""
    net = VGG(depths=DEPTHS[16], **options)
    return load_published(net, "vgg16", weights)


def vgg16_bn(*, weights: str | None = None, **options) -> VGG:
    """Configuration D with batch norms."""
    net = VGG(depths=DEPTHS[16], norm=True, **options)
    return load_published(net, "vgg16_bn", weights)


def vgg19(*, weights: str | None = None, **options) -> VGG:
    """Configuration E: 16 convolutions and 3 linear layers."""
    net = VGG(depths=DEPTHS[19], **options)
    return load_published(net, "vgg19", weights)


def vgg19_bn(*, weights: str | None = None, **options) -> VGG:
    """Configuration E with batch norms."""
    net = VGG(depths=DEPTHS[19], norm=True, **options)
    return load_published(net, "vgg19_bn", weights)


def vgg_small(
    *,
    classes: int = 10,
    channels: int = 3,
    depths: Sequence[int] = (1, 1, 2),
    norm: bool = True,
    dropout: float = 0.0,
) -> VGG:
    """Three stages for images of about 32 pixels."""
    return VGG(
        depths=depths,
        widths=[16 * 2**i for i in range(len(depths))],
        norm=norm,
        hidden=128,
        pooled=2,
        classes=classes,
        channels=channels,
        dropout=dropout,
    )
