"""Network in Network: a small MLP slides where a linear filter slid, and
the average of a map is the score of a class (Lin et al. 2014,
arXiv:1312.4400)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


def mlpconv(
    inputs: int, widths: Sequence[int], kernel: int, **options: int
) -> nn.Sequential:
    """A convolution and, behind it, 1x1 layers: an MLP at each place.

    `widths` are those of the layers; with one width it is an ordinary
    bank of linear filters.
    """
    layers: list[nn.Module] = []
    for i, width in enumerate(widths):
        conv = dict(kernel_size=1) if i else dict(kernel_size=kernel)
        conv |= {} if i else options
        layers += [nn.Conv2d(inputs, width, **conv), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers)


class NetworkInNetwork(nn.Module):
    """Stages with pools and dropout between them, then the head.

    `stages` lists the arguments of each `mlpconv` behind its inputs; the
    last width of the last stage is that of the head's input. With
    `linear_head` a linear layer on the pooled map, `pooled` pixels a side,
    takes the place of global average pooling, for which the last width
    is the number of classes.
    """

    def __init__(
        self,
        stages: Sequence[tuple[Sequence[int], dict[str, int]]],
        *,
        classes: int,
        channels: int = 3,
        dropout: float = 0.5,
        linear_head: bool = False,
        pooled: int = 4,
    ):
        super().__init__()
        layers, inputs = [], channels
        for i, (widths, options) in enumerate(stages):
            if i:
                pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
                layers += [pool, nn.Dropout(dropout)]
            layers += [mlpconv(inputs, widths, **options)]
            inputs = widths[-1]
        if not linear_head and inputs != classes:
            raise ValueError(
                f"the last width is {inputs} and classes = {classes}: with "
                "global average pooling each class has a map of its own"
            )
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(pooled if linear_head else 1), nn.Flatten()
        )
        if linear_head:
            self.head.append(nn.Linear(inputs * pooled**2, classes))
        self.apply(initialise)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        return self.head(self.features(images))


def initialise(layer: nn.Module) -> None:
    """He's initialisation: nine ReLU layers must not fade."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def network_in_network(
    *, classes: int = 10, channels: int = 3, dropout: float = 0.5
) -> NetworkInNetwork:
    """The authors' network for CIFAR-10: images of 32x32 pixels."""
    five = dict(kernel=5, padding=2)
    stages = [
        ((192, 160, 96), five),
        ((192, 192, 192), five),
        ((192, 192, classes), dict(kernel=3, padding=1)),
    ]
    return NetworkInNetwork(
        stages, classes=classes, channels=channels, dropout=dropout
    )


def network_in_network_imagenet(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.5
) -> NetworkInNetwork:
    """The network for ImageNet that its authors released: 224x224.

    It is not in the paper. Dropout stood before the last stage only.
    """
    stages = [
        ((96, 96, 96), dict(kernel=11, stride=4)),
        ((256, 256, 256), dict(kernel=5, padding=2)),
        ((384, 384, 384), dict(kernel=3, padding=1)),
        ((1024, 1024, classes), dict(kernel=3, padding=1)),
    ]
    net = NetworkInNetwork(
        stages, classes=classes, channels=channels, dropout=dropout
    )
    early = [m for m in net.features if isinstance(m, nn.Dropout)][:-1]
    for layer in early:
        layer.p = 0.0
    return net


def network_in_network_small(
    *,
    classes: int = 10,
    channels: int = 3,
    mlp: bool = True,
    linear_head: bool = False,
    dropout: float = 0.0,
) -> NetworkInNetwork:
    """Three stages for images of about 32 pixels.

    Without `mlp` each stage is one linear filter bank; `linear_head` puts
    a linear layer in the place of global average pooling.
    """
    last = 32 if linear_head else classes
    widths = [(16, 16, 16), (32, 32, 32), (32, 32, last)]
    options = [dict(kernel=5, padding=2)] * 2 + [dict(kernel=3, padding=1)]
    if not mlp:
        widths = [w[-1:] for w in widths]
    return NetworkInNetwork(
        list(zip(widths, options)),
        classes=classes,
        channels=channels,
        dropout=dropout,
        linear_head=linear_head,
    )
