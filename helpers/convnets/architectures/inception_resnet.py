"""Inception-ResNet v2: inception branches as the residual of a shortcut,
scaled down so that it trains (Szegedy et al. 2017, arXiv:1602.07261)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.inception import COLUMN, ROW, conv

# A branch: width, kernel and stride (else 1) of each convolution.
Branch = Sequence[tuple]


class Parallel(nn.Module):
    """Branches side by side, named branch0, branch1 … as timm's."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        return torch.cat([branch(x) for branch in self.children()], 1)


class Residual(nn.Module):
    """x + scale * (a 1x1 convolution of the branches), then a ReLU."""

    def __init__(
        self,
        inputs: int,
        branches: Sequence[Branch],
        scale: float,
        relu: bool = True,
    ):
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", chain(inputs, *branch))
        self.depth, self.scale = len(branches), scale
        width = sum(branch[-1][0] for branch in branches)
        self.conv2d = nn.Conv2d(width, inputs, 1)
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        branches = (getattr(self, f"branch{i}") for i in range(self.depth))
        change = self.conv2d(torch.cat([f(x) for f in branches], 1))
        return self.act(x + self.scale * change)


def chain(inputs: int, *layers: tuple) -> nn.Module:
    """Convolutions one behind the other."""
    convs: list[nn.Module] = []
    for width, *place in layers:
        convs += [conv(inputs, width, *place)]
        inputs = width
    return convs[0] if len(convs) == 1 else nn.Sequential(*convs)


BLOCK_35 = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]]
BLOCK_17 = [[(192, 1)], [(128, 1), (160, ROW), (192, COLUMN)]]
BLOCK_8 = [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]]


class InceptionResNetV2(nn.Module):
    """Stem, 10, 20 and 10 residual blocks with reductions between.

    Parameters are named as timm's `inception_resnet_v2` names them.
    """

    def __init__(
        self,
        *,
        depths: tuple[int, int, int] = (10, 20, 9),
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.2,
    ):
        super().__init__()
        a, b, c = depths
        self.conv2d_1a = conv(channels, 32, 3, 2)
        self.conv2d_2a = unpadded(32, 32)
        self.conv2d_2b = conv(32, 64, 3)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = conv(64, 80, 1)
        self.conv2d_4a = unpadded(80, 192)
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)
        pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.mixed_5b = Parallel(
            chain(192, (96, 1)),
            chain(192, (48, 1), (64, 5)),
            chain(192, (64, 1), (96, 3), (96, 3)),
            nn.Sequential(pool, conv(192, 64, 1)),
        )
        self.repeat = repeated(a, 320, BLOCK_35, 0.17)
        self.mixed_6a = Parallel(
            chain(320, (384, 3, 2)),
            chain(320, (256, 1), (256, 3), (384, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
        self.repeat_1 = repeated(b, 1088, BLOCK_17, 0.10)
        self.mixed_7a = Parallel(
            chain(1088, (256, 1), (384, 3, 2)),
            chain(1088, (256, 1), (288, 3, 2)),
            chain(1088, (256, 1), (288, 3), (320, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
        self.repeat_2 = repeated(c, 2080, BLOCK_8, 0.20)
        self.block8 = Residual(2080, BLOCK_8, 1.0, relu=False)
        self.conv2d_7b = conv(2080, 1536, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classif = nn.Linear(1536, classes)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.conv2d_2a(self.conv2d_1a(images))  # b 32 147 147
        x = self.maxpool_3a(self.conv2d_2b(x))  # b 64 73 73
        x = self.conv2d_4a(self.conv2d_3b(x))  # b 192 71 71
        x = self.mixed_5b(self.maxpool_5a(x))  # b 320 35 35
        x = self.mixed_6a(self.repeat(x))  # b 1088 17 17
        x = self.mixed_7a(self.repeat_1(x))  # b 2080 8 8
        x = self.conv2d_7b(self.block8(self.repeat_2(x)))  # b 1536 8 8
        x = self.pool(x).flatten(1)
        return self.classif(self.dropout(x))


def unpadded(inputs: int, outputs: int) -> nn.Module:
    """A 3x3 convolution that loses a pixel on each side."""
    layer = conv(inputs, outputs, 3)
    layer.conv.padding = (0, 0)
    return layer


def repeated(
    depth: int, width: int, branches: Sequence[Branch], scale: float
) -> nn.Sequential:
    """`depth` residual blocks of the same form."""
    blocks = (Residual(width, branches, scale) for _ in range(depth))
    return nn.Sequential(*blocks)


def inception_resnet_v2(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.2
) -> InceptionResNetV2:
    """The paper's network; 299x299 pixels."""
    return InceptionResNetV2(
        classes=classes, channels=channels, dropout=dropout
    )


def inception_resnet_small(
    *, classes: int = 10, channels: int = 3, scale: float = 0.2
) -> nn.Sequential:
    """Four residual blocks for images of about 32 pixels."""
    early = [[(16, 1)], [(16, 1), (16, 3)], [(16, 1), (24, 3), (32, 3)]]
    late = [[(32, 1)], [(16, 1), (24, ROW), (32, COLUMN)]]
    return nn.Sequential(
        conv(channels, 48, 3, 2, padded=True),
        repeated(2, 48, early, scale),
        Parallel(chain(48, (48, 3, 2)), nn.MaxPool2d(3, stride=2)),
        repeated(2, 96, late, scale),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, classes),
    )
