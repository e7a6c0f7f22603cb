"""Inception v2 (Ioffe & Szegedy 2015, arXiv:1502.03167) and v3 (Szegedy
et al. 2016, arXiv:1512.00567): large filters factorised into small ones,
and into rows and columns."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.googlenet import ConvNormReLU, rescaled
from helpers.convnets.architectures.weights import load_published

# A layer of a branch: what its name ends in, width, kernel, stride (else
# 1). A list of layers is a fork: all see the same, outputs side by side.
Layer = tuple
Branches = dict[str, list[Layer | list[Layer]]]
ROW, COLUMN = (1, 7), (7, 1)


class InceptionOutputs(NamedTuple):
    """What training sees: the logits and those of the auxiliary head."""

    logits: Float[Tensor, "b k"]
    aux_logits: Float[Tensor, "b k"]


class Mixed(nn.Module):
    """Branches of convolutions side by side; one begins with a pool.

    Layers of stride 1 keep the size; those of stride 2 halve it, with
    zeros around it if `padded`. `outputs` is the sum of all widths.
    """

    def __init__(
        self,
        inputs: int,
        branches: Branches,
        pool: nn.Module,
        padded: bool = False,
    ):
        super().__init__()
        self.pool, self.outputs = pool, 0
        self.paths: dict[str, list[list[str]]] = {}
        for branch, layers in branches.items():
            width, self.paths[branch] = inputs, []
            for fork in layers:
                fork = fork if isinstance(fork, list) else [fork]
                for ending, outputs, *place in fork:
                    layer = conv(width, outputs, *place, padded=padded)
                    self.add_module(branch + ending, layer)
                names = [branch + ending for ending, *_ in fork]
                self.paths[branch].append(names)
                width = sum(outputs for _, outputs, *_ in fork)
            self.outputs += width

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        outputs = []
        for branch, path in self.paths.items():
            y = self.pool(x) if branch == "branch_pool" else x
            for fork in path:
                parts = [getattr(self, name)(y) for name in fork]
                y = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
            outputs.append(y)
        return torch.cat(outputs, 1)


def conv(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padded: bool = False,
) -> ConvNormReLU:
    """A convolution that keeps the size at stride 1."""
    h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
    around = (h // 2, w // 2) if stride == 1 or padded else 0
    return ConvNormReLU(
        inputs, outputs, kernel, stride=stride, padding=around
    )


def average() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, stride=1, padding=1)


# Inception v2


def module_v2(
    inputs: int,
    one: int,
    three: tuple[int, int],
    double: tuple[int, int],
    pooled: int,
    pool: nn.Module,
) -> Mixed:
    """GoogLeNet's module, a pair of 3x3 layers in the place of the 5x5."""
    branches = {
        "branch1x1": [("", one, 1)],
        "branch3x3": [("_1", three[0], 1), ("_2", three[1], 3)],
        "branch3x3dbl": [
            ("_1", double[0], 1),
            ("_2", double[1], 3),
            ("_3", double[1], 3),
        ],
        "branch_pool": [("", pooled, 1)],
    }
    return Mixed(inputs, branches, pool)


def reduction_v2(
    inputs: int, three: tuple[int, int], double: tuple[int, int]
) -> Mixed:
    """The module that halves the size: both branches and the pool."""
    branches = {
        "branch3x3": [("_1", three[0], 1), ("_2", three[1], 3, 2)],
        "branch3x3dbl": [
            ("_1", double[0], 1),
            ("_2", double[1], 3),
            ("_3", double[1], 3, 2),
        ],
        "branch_pool": [],
    }
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    return Mixed(inputs, branches, pool, padded=True)


class InceptionV2(nn.Module):
    """GoogLeNet with batch norms and without 5x5 filters.

    Widths are those that Google released: the fourth pool projections
    of the paper's table do not add up to its own sums. As in the paper
    the first layer is separable, with eight filters for each colour.
    """

    def __init__(
        self,
        *,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.2,
    ):
        super().__init__()
        halve = nn.MaxPool2d(3, stride=2, padding=1)
        mean, most = average(), nn.MaxPool2d(3, stride=1, padding=1)
        self.features = nn.Sequential(
            nn.Conv2d(
                channels,
                8 * channels,
                7,
                stride=2,
                padding=3,
                groups=channels,
                bias=False,
            ),
            conv(8 * channels, 64, 1),  # 64 112 112
            halve,
            conv(64, 64, 1),
            conv(64, 192, 3),  # 192 56 56
            halve,
            module_v2(192, 64, (64, 64), (64, 96), 32, mean),
            module_v2(256, 64, (64, 96), (64, 96), 64, mean),
            reduction_v2(320, (128, 160), (64, 96)),  # 576 14 14
            module_v2(576, 224, (64, 96), (96, 128), 128, mean),
            module_v2(576, 192, (96, 128), (96, 128), 128, mean),
            module_v2(576, 160, (128, 160), (128, 160), 96, mean),
            module_v2(576, 96, (128, 192), (160, 192), 96, mean),
            reduction_v2(576, (128, 192), (192, 256)),  # 1024 7 7
            module_v2(1024, 352, (192, 320), (160, 224), 128, mean),
            module_v2(1024, 352, (192, 320), (192, 224), 128, most),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, classes)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.avgpool(self.features(images)).flatten(1)  # b 1024
        return self.fc(self.dropout(x))


# Inception v3


def inception_a(inputs: int, pooled: int) -> Mixed:
    """35x35: the 5x5 branch beside a pair of 3x3 layers."""
    branches = {
        "branch1x1": [("", 64, 1)],
        "branch5x5": [("_1", 48, 1), ("_2", 64, 5)],
        "branch3x3dbl": [("_1", 64, 1), ("_2", 96, 3), ("_3", 96, 3)],
        "branch_pool": [("", pooled, 1)],
    }
    return Mixed(inputs, branches, average())


def inception_b(inputs: int) -> Mixed:
    """35x35 to 17x17."""
    branches = {
        "branch3x3": [("", 384, 3, 2)],
        "branch3x3dbl": [("_1", 64, 1), ("_2", 96, 3), ("_3", 96, 3, 2)],
        "branch_pool": [],
    }
    return Mixed(inputs, branches, nn.MaxPool2d(3, stride=2))


def inception_c(inputs: int, c: int) -> Mixed:
    """17x17: a 7x7 filter as a row and a column, once and twice."""
    branches = {
        "branch1x1": [("", 192, 1)],
        "branch7x7": [("_1", c, 1), ("_2", c, ROW), ("_3", 192, COLUMN)],
        "branch7x7dbl": [
            ("_1", c, 1),
            ("_2", c, COLUMN),
            ("_3", c, ROW),
            ("_4", c, COLUMN),
            ("_5", 192, ROW),
        ],
        "branch_pool": [("", 192, 1)],
    }
    return Mixed(inputs, branches, average())


def inception_d(inputs: int) -> Mixed:
    """17x17 to 8x8."""
    branches = {
        "branch3x3": [("_1", 192, 1), ("_2", 320, 3, 2)],
        "branch7x7x3": [
            ("_1", 192, 1),
            ("_2", 192, ROW),
            ("_3", 192, COLUMN),
            ("_4", 192, 3, 2),
        ],
        "branch_pool": [],
    }
    return Mixed(inputs, branches, nn.MaxPool2d(3, stride=2))


def inception_e(inputs: int) -> Mixed:
    """8x8: a row and a column side by side, to be wide at the end."""
    branches = {
        "branch1x1": [("", 320, 1)],
        "branch3x3": [
            ("_1", 384, 1),
            [("_2a", 384, (1, 3)), ("_2b", 384, (3, 1))],
        ],
        "branch3x3dbl": [
            ("_1", 448, 1),
            ("_2", 384, 3),
            [("_3a", 384, (1, 3)), ("_3b", 384, (3, 1))],
        ],
        "branch_pool": [("", 192, 1)],
    }
    return Mixed(inputs, branches, average())


class Head(nn.Module):
    """The auxiliary classifier on a map of 17x17."""

    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0 = conv(inputs, 128, 1)
        self.conv1 = ConvNormReLU(128, 768, 5)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(768, classes)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.conv1(self.conv0(self.pool(x)))  # b 768 1 1
        return self.fc(self.mean(x).flatten(1))


class InceptionV3(nn.Module):
    """The network of 299x299 pixels, named as torchvision's.

    In training `forward` gives `InceptionOutputs`, unless `aux_logits`
    is False; `transform_input` is as in `GoogLeNet`.
    """

    def __init__(
        self,
        *,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.5,
        aux_logits: bool = True,
        transform_input: bool = False,
    ):
        super().__init__()
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = conv(channels, 32, 3, 2)
        self.Conv2d_2a_3x3 = ConvNormReLU(32, 32, 3)
        self.Conv2d_2b_3x3 = conv(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = conv(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNormReLU(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = inception_a(192, 32)
        self.Mixed_5c = inception_a(256, 64)
        self.Mixed_5d = inception_a(288, 64)
        self.Mixed_6a = inception_b(288)
        self.Mixed_6b = inception_c(768, 128)
        self.Mixed_6c = inception_c(768, 160)
        self.Mixed_6d = inception_c(768, 160)
        self.Mixed_6e = inception_c(768, 192)
        if aux_logits:
            self.AuxLogits = Head(768, classes)
        self.Mixed_7a = inception_d(768)
        self.Mixed_7b = inception_e(1280)
        self.Mixed_7c = inception_e(2048)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, classes)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"] | InceptionOutputs:
        x = rescaled(images) if self.transform_input else images
        x = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))  # b 32 147 147
        x = self.maxpool1(self.Conv2d_2b_3x3(x))  # b 64 73 73
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # b 192 71 71
        x = self.Mixed_5b(self.maxpool2(x))  # b 256 35 35
        x = self.Mixed_5d(self.Mixed_5c(x))  # b 288 35 35
        x = self.Mixed_6b(self.Mixed_6a(x))  # b 768 17 17
        x = middle = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(x)))
        x = self.Mixed_7b(self.Mixed_7a(x))  # b 2048 8 8
        x = self.avgpool(self.Mixed_7c(x)).flatten(1)  # b 2048
        logits = self.fc(self.dropout(x))
        if not (self.training and self.aux_logits):
            return logits
        return InceptionOutputs(logits, self.AuxLogits(middle))


def inception_v2(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.2
) -> InceptionV2:
    """Inception v2, also called BN-Inception; 224x224 pixels."""
    return InceptionV2(classes=classes, channels=channels, dropout=dropout)


def inception_v3(
    *,
    classes: int = 1000,
    channels: int = 3,
    weights: str | None = None,
    dropout: float = 0.5,
    aux_logits: bool = True,
) -> InceptionV3:
    """Inception v3; 299x299 pixels."""
    net = InceptionV3(
        classes=classes,
        channels=channels,
        dropout=dropout,
        aux_logits=aux_logits,
        transform_input=weights is not None,
    )
    return load_published(net, "inception_v3", weights)


def inception_small(
    *, classes: int = 10, channels: int = 3, factorised: bool = True
) -> nn.Sequential:
    """A 5x5 and a 7x7 module for images of about 32 pixels.

    `factorised` takes two 3x3 layers for the 5x5, a row and a column for
    the 7x7: the same receptive fields with fewer weights.
    """
    five = [("_2", 32, 3), ("_3", 32, 3)] if factorised else [("_2", 32, 5)]
    seven = [("_2", 32, ROW), ("_3", 32, COLUMN)]
    seven = seven if factorised else [("_2", 32, 7)]
    layers: list[nn.Module] = [conv(channels, 32, 3, 2, padded=True)]
    inputs = 32
    for name, large in (("branch5x5", five), ("branch7x7", seven)):
        branches: Branches = {
            "branch1x1": [("", 32, 1)],
            name: [("_1", 24, 1), *large],
            "branch_pool": [("", 16, 1)],
        }
        module = Mixed(inputs, branches, average())
        inputs = module.outputs
        layers += [module, nn.MaxPool2d(3, stride=2, padding=1)]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(inputs, classes))
