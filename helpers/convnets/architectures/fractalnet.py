"""FractalNet: depth without shortcuts that are the identity (Larsson, Maire & Shakhnarovich 2017, arXiv:1605.07648)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from helpers.convnets.architectures.resnet import initialise


class Conv(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def join(
    paths: list[Float[Tensor, "b c h w"]], drop: float = 0.0
) -> Float[Tensor, "b c h w"]:
    """The mean of the paths that arrive; each is lost with chance `drop`.

    One of them, drawn at random, is always kept.
    """
    if drop:
        kept = surviving(len(paths), drop)
        paths = [path for path, keep in zip(paths, kept.tolist()) if keep]
    return torch.stack(paths).mean(0) if len(paths) > 1 else paths[0]


def surviving(paths: int, drop: float) -> Bool[Tensor, "paths"]:
    """Which inputs of a join are kept: at least one."""
    kept = torch.rand(paths) >= drop
    if not kept.any():
        kept[torch.randint(paths, ())] = True
    return kept


class Fractal(nn.Module):
    """f_1 = conv; f_C+1(z) = join of conv(z) and f_C(f_C(z)).

    `forward` returns the paths that the next join takes, shallowest first:
    joins that would follow each other are one. Column c, from 0 on, has
    2^c convolutions.
    """

    def __init__(self, inputs: int, outputs: int, columns: int):
        super().__init__()
        self.conv = Conv(inputs, outputs)
        self.deeper = nn.ModuleList()
        if columns > 1:
            self.deeper.append(Fractal(inputs, outputs, columns - 1))
            self.deeper.append(Fractal(outputs, outputs, columns - 1))

    def forward(
        self, z: Float[Tensor, "b c h w"], drop: float = 0.0
    ) -> list[Float[Tensor, "b o h w"]]:
        if not self.deeper:
            return [self.conv(z)]
        first, second = self.deeper
        return [self.conv(z), *second(join(first(z, drop), drop), drop)]

    def column(self, c: int) -> list[Conv]:
        """The convolutions of column c, in order."""
        if c == 0:
            return [self.conv]
        first, second = self.deeper
        return first.column(c - 1) + second.column(c - 1)


class FractalNet(nn.Module):
    """Fractal blocks, each followed by a 2x2 pool, then a linear layer.

    The deepest path has B 2^(C-1) convolutions. While training, half of the
    batches lose inputs of joins with chance `drop` (local drop-path); the
    other half run through one column alone (global), so that each column
    learns to work without the others.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        columns: int,
        drop: float = 0.0,
        classes: int = 10,
        channels: int = 3,
    ):
        super().__init__()
        if columns < 1:
            raise ValueError(f"columns = {columns}: at least 1")
        if not 0 <= drop <= 1:
            raise ValueError(f"drop = {drop}: a probability lies in [0, 1]")
        ends = zip((channels, *widths), widths)
        self.blocks = nn.ModuleList(Fractal(*io, columns) for io in ends)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(widths[-1], classes),
        )
        self.columns, self.drop = columns, drop
        initialise(self)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        drop = self.drop if self.training else 0.0
        if drop and torch.rand(()) < 0.5:
            c = int(torch.randint(self.columns, ()))
            return self.column(c)(images)
        x = images
        for block in self.blocks:
            x = self.pool(join(block(x, drop), drop))
        return self.head(x)

    def column(self, c: int) -> nn.Sequential:
        """The net of column c alone, sharing its layers with this one."""
        if not 0 <= c < self.columns:
            raise ValueError(
                f"column {c}: this net has columns 0 to {self.columns - 1}"
            )
        layers: list[nn.Module] = []
        for block in self.blocks:
            layers += [*block.column(c), self.pool]
        return nn.Sequential(*layers, self.head)


def fractalnet20(
    *, classes: int = 10, channels: int = 3, drop: float = 0.0
) -> FractalNet:
    """The paper's net for CIFAR: five blocks of three columns.

    Its experiments with drop-path have `drop=0.15`.
    """
    options = dict(drop=drop, classes=classes, channels=channels)
    return FractalNet((64, 128, 256, 512, 512), columns=3, **options)


def fractalnet_small(
    *,
    width: int = 12,
    blocks: int = 3,
    columns: int = 3,
    classes: int = 10,
    channels: int = 3,
    drop: float = 0.0,
) -> FractalNet:
    """Three blocks of three columns: at most 12 convolutions deep."""
    widths = [width * 2**i for i in range(blocks)]
    options = dict(drop=drop, classes=classes, channels=channels)
    return FractalNet(widths, columns=columns, **options)
