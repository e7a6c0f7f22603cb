"""AlexNet in its three versions: the two-GPU original (Krizhevsky et al.
2012), the undivided one of the course's table, and the narrower one of
"One weird trick" (Krizhevsky 2014, arXiv:1404.5997), torchvision's."""

from collections.abc import Callable, Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.weights import load_published

RELU = partial(nn.ReLU, inplace=True)


def response_norm() -> nn.LocalResponseNorm:
    """x / (2 + 1e-4 Σ x²)^0.75, the sum over 5 neighbouring maps.

    torch multiplies by the mean of the five where the paper has the sum.
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


class AlexNet(nn.Module):
    """Five convolutions and three linear layers.

    `stem` is kernel, stride and padding of the first convolution.
    `groups` = 2 divides layers 2, 4 and 5 between two GPUs; `norm` puts
    response normalisation behind layers 1 and 2.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (96, 256, 384, 384, 256),
        stem: tuple[int, int, int] = (11, 4, 0),
        groups: int = 1,
        norm: bool = False,
        pooled: int = 6,
        hidden: int = 4096,
        activation: Callable[[], nn.Module] = RELU,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__()
        a, b, c, d, e = widths
        normed = [response_norm()] if norm else []
        self.features = nn.Sequential(
            nn.Conv2d(channels, a, *stem),
            activation(),
            *normed,
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(a, b, 5, padding=2, groups=groups),
            activation(),
            *normed,
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(b, c, 3, padding=1),
            activation(),
            nn.Conv2d(c, d, 3, padding=1, groups=groups),
            activation(),
            nn.Conv2d(d, e, 3, padding=1, groups=groups),
            activation(),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(e * pooled**2, hidden),
            activation(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            activation(),
            nn.Linear(hidden, classes),
        )
        self.apply(initialise)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.features(images)  # b 256 6 6
        x = self.avgpool(x).flatten(1)  # b 256*6*6
        return self.classifier(x)


def initialise(layer: nn.Module) -> None:
    """He's initialisation: eight layers without norms must not fade.

    The paper's N(0, 0.01²), with biases of 1 behind some layers, was
    tuned to its own widths.
    """
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def alexnet(
    *,
    classes: int = 1000,
    channels: int = 3,
    weights: str | None = None,
    dropout: float = 0.5,
) -> AlexNet:
    """torchvision's AlexNet, that of 2014: 61.1 million parameters."""
    net = AlexNet(
        widths=(64, 192, 384, 256, 256),
        stem=(11, 4, 2),
        classes=classes,
        channels=channels,
        dropout=dropout,
    )
    return load_published(net, "alexnet", weights)


def alexnet_2012(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.5
) -> AlexNet:
    """The original: halves on two GPUs, response norms; 227x227 pixels."""
    return AlexNet(
        groups=2,
        norm=True,
        classes=classes,
        channels=channels,
        dropout=dropout,
    )


def alexnet_course(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.5
) -> AlexNet:
    """The course's table: undivided, without norms; 227x227 pixels."""
    return AlexNet(classes=classes, channels=channels, dropout=dropout)


def alexnet_small(
    *,
    classes: int = 10,
    channels: int = 3,
    activation: Callable[[], nn.Module] = RELU,
    dropout: float = 0.0,
) -> AlexNet:
    """The same eight layers for images of about 32 pixels."""
    return AlexNet(
        widths=(16, 32, 48, 48, 32),
        stem=(5, 1, 2),
        pooled=2,
        hidden=128,
        activation=activation,
        classes=classes,
        channels=channels,
        dropout=dropout,
    )
