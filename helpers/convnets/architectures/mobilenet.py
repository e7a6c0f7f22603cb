"""MobileNet v1, all of depthwise separable convolutions (Howard et al.
2017, arXiv:1704.04861), and v2 with its inverted residual blocks
(Sandler et al. 2018, arXiv:1801.04381)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.weights import load_published

# Blocks of each stage (output width, stride), and v2's inverted residual
# stages (expansion, output width, blocks, stride of the first block).
V1 = [[(64, 1)], [(128, 2), (128, 1)], [(256, 2), (256, 1)]]
V1 += [[(512, 2)] + 5 * [(512, 1)], [(1024, 2), (1024, 1)]]
V2 = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
V2 += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def scaled(channels: int, width: float) -> int:
    """`width` times the channels, as a multiple of 8, shrunk by 10 % at
    most."""
    if not width > 0:
        raise ValueError(f"width = {width}: a factor above 0")
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class Separable(nn.Module):
    """A 3x3 filter per channel, then a 1x1 mixture, each with a norm.

    The paper has ReLU; its released code, and timm, ReLU6.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(
            inputs, inputs, 3, stride, 1, groups=inputs, bias=False
        )
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv_pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU6(inplace=True)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        x = self.act(self.bn1(self.conv_dw(x)))
        return self.act(self.bn2(self.conv_pw(x)))


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """A full convolution with norm and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride,
            kernel // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class MobileNetV1(nn.Module):
    """A stem, stages of separable convolutions, one linear layer.

    `width` scales all channels. Without `separable` each block is one
    full 3x3 convolution, to compare with. Parameters are named as
    timm's `mobilenetv1_100` names them.
    """

    def __init__(
        self,
        *,
        stages: Sequence[Sequence[tuple[int, int]]] = V1,
        stem: tuple[int, int] = (32, 2),
        width: float = 1.0,
        separable: bool = True,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        block = Separable if separable else full
        inputs = scaled(stem[0], width)
        self.conv_stem = nn.Conv2d(
            channels, inputs, 3, stem[1], 1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(inputs)
        self.act = nn.ReLU6(inplace=True)
        self.blocks = nn.Sequential()
        for stage in stages:
            blocks = nn.Sequential()
            for channels_out, stride in stage:
                outputs = scaled(channels_out, width)
                blocks.append(block(inputs, outputs, stride))
                inputs = outputs
            self.blocks.append(blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(inputs, classes)
        self.apply(initialise)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.act(self.bn1(self.conv_stem(images)))  # b 32 h/2 w/2
        x = self.blocks(x)  # b 1024 h/32 w/32
        x = self.pool(x).flatten(1)  # b 1024
        return self.classifier(self.dropout(x))


def full(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """What a separable block replaces."""
    return conv_norm(inputs, outputs, stride=stride)


class InvertedResidual(nn.Module):
    """Widen, filter each channel, and narrow again without a ReLU.

    The shortcut joins the narrow ends, where stride and widths allow.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, expansion: int
    ):
        super().__init__()
        hidden = inputs * expansion
        widen = [conv_norm(inputs, hidden, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            conv_norm(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """Stages of inverted residuals, parameters named as torchvision's."""

    def __init__(
        self,
        *,
        stages: Sequence[tuple[int, int, int, int]] = V2,
        stem: tuple[int, int] = (32, 2),
        last: int = 1280,
        width: float = 1.0,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.2,
    ):
        super().__init__()
        inputs = scaled(stem[0], width)
        layers: list[nn.Module] = [
            conv_norm(channels, inputs, stride=stem[1])
        ]
        for expansion, channels_out, depth, stride in stages:
            for i in range(depth):
                outputs = scaled(channels_out, width)
                layers += [
                    InvertedResidual(
                        inputs,
                        outputs,
                        stride=1 if i else stride,
                        expansion=expansion,
                    )
                ]
                inputs = outputs
        outputs = scaled(last, max(1.0, width))
        self.features = nn.Sequential(*layers, conv_norm(inputs, outputs, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(outputs, classes)
        )
        self.apply(initialise)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.features(images)  # b 1280 h/32 w/32
        return self.classifier(self.pool(x).flatten(1))


def initialise(layer: nn.Module) -> None:
    """He's initialisation by outputs, as torchvision's."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0, 0.01)
        nn.init.zeros_(layer.bias)


def mobilenet_v1(
    *,
    classes: int = 1000,
    channels: int = 3,
    width: float = 1.0,
    dropout: float = 0.0,
) -> MobileNetV1:
    """The paper's network at `width` 1; 224x224 pixels."""
    return MobileNetV1(
        width=width, classes=classes, channels=channels, dropout=dropout
    )


def mobilenet_v2(*, weights: str | None = None, **options) -> MobileNetV2:
    """The paper's network at `width` 1; 224x224 pixels."""
    net = MobileNetV2(**options)
    return load_published(net, "mobilenet_v2", weights)


def mobilenet_small(
    *, classes: int = 10, channels: int = 3, separable: bool = True
) -> MobileNetV1:
    """Six blocks of v1 for images of about 32 pixels."""
    stages = [[(32, 1)], [(64, 2), (64, 1)], [(128, 2), (128, 1), (128, 1)]]
    return MobileNetV1(
        stages=stages,
        stem=(16, 1),
        separable=separable,
        classes=classes,
        channels=channels,
    )


def mobilenet_v2_small(
    *, classes: int = 10, channels: int = 3
) -> MobileNetV2:
    """Five inverted residuals for images of about 32 pixels."""
    return MobileNetV2(
        stages=[(1, 16, 1, 1), (4, 24, 2, 2), (4, 32, 2, 2)],
        stem=(16, 1),
        last=128,
        classes=classes,
        channels=channels,
        dropout=0.0,
    )
