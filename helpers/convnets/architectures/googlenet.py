"""GoogLeNet: parallel filters of several sizes behind 1x1 reductions
(Szegedy et al. 2015, arXiv:1409.4842), as published and as torchvision
has it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.weights import load_published

# Table 1 of the paper: inputs, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5,
# pool projection.
MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
MEAN = (0.485, 0.456, 0.406)  # torchvision's, of red, green and blue
DEVIATION = (0.229, 0.224, 0.225)
Conv = Callable[..., nn.Module]


class GoogLeNetOutputs(NamedTuple):
    """What training sees: the logits and those of the auxiliary heads."""

    logits: Float[Tensor, "b k"]
    aux_logits2: Float[Tensor, "b k"]
    aux_logits1: Float[Tensor, "b k"]


class ConvReLU(nn.Module):
    """A convolution as in 2014, with a bias and no norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, **options):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, **options)
        self.act = nn.ReLU(inplace=True)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        return self.act(self.conv(x))


class ConvNormReLU(nn.Module):
    """A convolution with a batch norm in the place of the bias."""

    def __init__(self, inputs: int, outputs: int, kernel, **options):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, bias=False, **options
        )
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.act = nn.ReLU(inplace=True)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        return self.act(self.bn(self.conv(x)))


class NaiveInception(nn.Module):
    """Filters of three sizes and a pool side by side, nothing reduced.

    The pool passes all inputs on, so that each module is wider than the
    one before.
    """

    def __init__(
        self,
        inputs: int,
        one: int,
        three: int,
        five: int,
        conv: Conv = ConvReLU,
    ):
        super().__init__()
        self.branch1 = conv(inputs, one, 1)
        self.branch2 = conv(inputs, three, 3, padding=1)
        self.branch3 = conv(inputs, five, 5, padding=2)
        self.branch4 = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o h w"]:
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([branch(x) for branch in branches], 1)


class Inception(nn.Module):
    """The same with 1x1 reductions before the large filters.

    A 1x1 projection behind the pool too. `largest` is the size of the
    largest filters: 5 in the paper, by mistake 3 in torchvision.
    """

    def __init__(
        self,
        inputs: int,
        one: int,
        reduce3: int,
        three: int,
        reduce5: int,
        five: int,
        pool: int,
        *,
        conv: Conv = ConvReLU,
        largest: int = 5,
    ):
        super().__init__()
        self.branch1 = conv(inputs, one, 1)
        self.branch2 = nn.Sequential(
            conv(inputs, reduce3, 1), conv(reduce3, three, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            conv(inputs, reduce5, 1),
            conv(reduce5, five, largest, padding=largest // 2),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), conv(inputs, pool, 1)
        )

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o h w"]:
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([branch(x) for branch in branches], 1)


class Head(nn.Module):
    """An auxiliary classifier on a map in the middle of the net."""

    def __init__(
        self,
        inputs: int,
        *,
        classes: int,
        conv: Conv,
        pool: nn.Module,
        dropout: float = 0.7,
    ):
        super().__init__()
        self.pool = pool
        self.conv = conv(inputs, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, classes)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.conv(self.pool(x)).flatten(1)  # b 128*4*4
        if x.shape[1] != self.fc1.in_features:
            raise ValueError(
                f"{x.shape[1]} features reach an auxiliary head that reads "
                f"{self.fc1.in_features}: train on images of 224x224, or "
                "build the network with aux_logits=False"
            )
        return self.fc2(self.dropout(self.act(self.fc1(x))))


def response_norm() -> nn.LocalResponseNorm:
    """x / (1 + 1e-4 Σ x²)^0.75, the sum over 5 neighbouring maps.

    AlexNet's numbers with 1 for 2, as the paper gives none. torch
    multiplies by the mean of the five, so its alpha is five times ours.
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=1.0)


class GoogLeNet(nn.Module):
    """Nine inception modules, no hidden linear layer.

    `conv` makes each convolution, `largest` is as in `Inception`,
    `head_pool` makes the pool to 4x4 of the auxiliary heads, `pool4` is
    the size of the fourth pool. In training `forward` gives
    `GoogLeNetOutputs`, unless `aux_logits` is False. With
    `transform_input` it takes images normalised as torchvision does
    and scales them to [-1, 1], as the published weights expect.
    """

    def __init__(
        self,
        *,
        conv: Conv,
        largest: int,
        head_pool: Callable[[], nn.Module],
        pool4: int = 3,
        norms: bool = False,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.2,
        aux_logits: bool = True,
        transform_input: bool = False,
    ):
        super().__init__()
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        pool = partial(nn.MaxPool2d, stride=2, ceil_mode=True)
        self.conv1 = conv(channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = pool(3)
        self.norm1 = response_norm() if norms else nn.Identity()
        self.conv2 = conv(64, 64, 1)
        self.conv3 = conv(64, 192, 3, padding=1)
        self.norm2 = response_norm() if norms else nn.Identity()
        self.maxpool2 = pool(3)
        for name, widths in MODULES.items():
            module = Inception(*widths, conv=conv, largest=largest)
            self.add_module(f"inception{name}", module)
        self.maxpool3 = pool(3)
        self.maxpool4 = pool(pool4)
        if aux_logits:
            options = dict(classes=classes, conv=conv, pool=head_pool())
            self.aux1 = Head(512, **options)
            self.aux2 = Head(528, **options)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, classes)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"] | GoogLeNetOutputs:
        x = rescaled(images) if self.transform_input else images
        x = self.norm1(self.maxpool1(self.conv1(x)))  # b 64 56 56
        x = self.norm2(self.conv3(self.conv2(x)))  # b 192 56 56
        x = self.inception3a(self.maxpool2(x))  # b 256 28 28
        x = self.inception3b(x)  # b 480 28 28
        x = four = self.inception4a(self.maxpool3(x))  # b 512 14 14
        x = self.inception4c(self.inception4b(x))
        x = seven = self.inception4d(x)  # b 528 14 14
        x = self.inception4e(x)  # b 832 14 14
        x = self.inception5a(self.maxpool4(x))  # b 832 7 7
        x = self.inception5b(x)  # b 1024 7 7
        logits = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if not (self.training and self.aux_logits):
            return logits
        second, first = self.aux2(seven), self.aux1(four)
        return GoogLeNetOutputs(logits, second, first)


def rescaled(
    images: Float[Tensor, "b 3 h w"],
) -> Float[Tensor, "b 3 h w"]:
    """From torchvision's normalisation to (x - 0.5) / 0.5 per channel.

    With numbers of Python, which cost a GPU no transfer.
    """
    settings = zip(images.unbind(1), MEAN, DEVIATION, strict=True)
    return torch.stack(
        [x * (d / 0.5) + (m - 0.5) / 0.5 for x, m, d in settings], 1
    )


def googlenet(
    *,
    classes: int = 1000,
    channels: int = 3,
    weights: str | None = None,
    dropout: float = 0.2,
    aux_logits: bool = True,
) -> GoogLeNet:
    """torchvision's: batch norms, and 3x3 where the paper has 5x5.

    The published auxiliary heads were never trained.
    """
    net = GoogLeNet(
        conv=ConvNormReLU,
        largest=3,
        head_pool=partial(nn.AdaptiveAvgPool2d, 4),
        pool4=2,
        classes=classes,
        channels=channels,
        dropout=dropout,
        aux_logits=aux_logits,
        transform_input=weights is not None,
    )
    return load_published(net, "googlenet", weights)


def googlenet_2014(
    *,
    classes: int = 1000,
    channels: int = 3,
    dropout: float = 0.4,
    aux_logits: bool = True,
) -> GoogLeNet:
    """The paper's: 5x5 filters, biases, response norms; 224x224 pixels."""
    return GoogLeNet(
        conv=ConvReLU,
        largest=5,
        head_pool=partial(nn.AvgPool2d, 5, stride=3),
        norms=True,
        classes=classes,
        channels=channels,
        dropout=dropout,
        aux_logits=aux_logits,
    )


def googlenet_small(
    *,
    classes: int = 10,
    channels: int = 3,
    naive: bool = False,
    norm: bool = True,
) -> nn.Sequential:
    """A stem and three modules for images of about 32 pixels.

    `naive` takes modules without reductions, of the same filters.
    """
    conv = ConvNormReLU if norm else ConvReLU
    plans = [(16, 24, 8), (32, 48, 16), (32, 48, 16)]  # 1x1, 3x3, 5x5
    layers: list[nn.Module] = [conv(channels, 32, 3, padding=1)]
    inputs = 32
    for one, three, five in plans:
        layers += [nn.MaxPool2d(3, stride=2, padding=1)]
        if naive:
            layers += [NaiveInception(inputs, one, three, five, conv)]
            inputs += one + three + five
        else:
            widths = (one, three // 2, three, five // 2, five, five)
            layers += [Inception(inputs, *widths, conv=conv)]
            inputs = one + three + five + five
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(inputs, classes))
