"""SqueezeNet: AlexNet's accuracy with fifty times fewer parameters
(Iandola et al. 2016, arXiv:1602.07360)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.weights import load_published

# Widths of a fire module: squeezed, and of each half of the expansion.
POOL = "pool"
V1_0 = [POOL, (16, 64), (16, 64), (32, 128), POOL, (32, 128), (48, 192)]
V1_0 += [(48, 192), (64, 256), POOL, (64, 256)]
V1_1 = [POOL, (16, 64), (16, 64), POOL, (32, 128), (32, 128), POOL]
V1_1 += [(48, 192), (48, 192), (64, 256), (64, 256)]
SMALL = [POOL, (8, 32), (8, 32), POOL, (16, 64), (16, 64)]


class Fire(nn.Module):
    """Squeeze to few maps, expand with 1x1 and 3x3 filters at once."""

    def __init__(self, inputs: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o h w"]:
        x = F.relu(self.squeeze(x))
        halves = [self.expand1x1(x), self.expand3x3(x)]
        return F.relu(torch.cat(halves, 1))


class SqueezeNet(nn.Module):
    """A convolution, fire modules and pools, a convolution per class.

    `plan` lists "pool" and the widths of fire modules, `stem` width,
    kernel and stride of the first convolution.
    """

    def __init__(
        self,
        *,
        plan: Sequence[str | tuple[int, int]],
        stem: tuple[int, int, int],
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__()
        layers = [nn.Conv2d(channels, *stem), nn.ReLU(inplace=True)]
        inputs = stem[0]
        for step in plan:
            if step == POOL:
                layers += [nn.MaxPool2d(3, stride=2, ceil_mode=True)]
            else:
                squeeze, expand = step
                layers += [Fire(inputs, squeeze, expand)]
                inputs = 2 * expand
        self.features = nn.Sequential(*layers)
        self.apply(initialise)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Conv2d(inputs, classes, 1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        nn.init.normal_(self.classifier[1].weight, 0, 0.01)
        nn.init.zeros_(self.classifier[1].bias)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.features(images)  # b 512 h/16 w/16
        return self.classifier(x).flatten(1)


def initialise(layer: nn.Module) -> None:
    """He's uniform initialisation, as torchvision's."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def squeezenet1_0(*, weights: str | None = None, **options) -> SqueezeNet:
    """The paper's network; 224x224 pixels."""
    net = SqueezeNet(plan=V1_0, stem=(96, 7, 2), **options)
    return load_published(net, "squeezenet1_0", weights)


def squeezenet1_1(*, weights: str | None = None, **options) -> SqueezeNet:
    """The authors' second version: pools earlier, 2.4 times cheaper."""
    net = SqueezeNet(plan=V1_1, stem=(64, 3, 2), **options)
    return load_published(net, "squeezenet1_1", weights)


def squeezenet_small(
    *, classes: int = 10, channels: int = 3, dropout: float = 0.0
) -> SqueezeNet:
    """Four fire modules for images of about 32 pixels."""
    return SqueezeNet(
        plan=SMALL,
        stem=(32, 3, 1),
        classes=classes,
        channels=channels,
        dropout=dropout,
    )
