"""LeNet-5, which read the digits of bank cheques (LeCun et al. 1998),
and the form in which it is taught today."""

from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Table I of the paper: the maps of S2 that each map of C3 sees.
THREE = [[i, (i + 1) % 6, (i + 2) % 6] for i in range(6)]
FOUR = [[i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6] for i in range(6)]
GAPS = [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5]]
C3 = [sorted(maps) for maps in chain(THREE, FOUR, GAPS)] + [[*range(6)]]


class Squash(nn.Module):
    """The paper's sigmoid: 1.7159 tanh(2x / 3), which maps 1 to 1."""

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return 1.7159 * torch.tanh(2 / 3 * x)


class Subsample(nn.Module):
    """Sums over 2x2 pixels; one factor and one bias for each map."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))
        self.sums = nn.AvgPool2d(2, divisor_override=1)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c oh ow"]:
        return self.sums(x) * self.weight + self.bias


class SparseConv(nn.Module):
    """A 5x5 convolution each of whose maps sees some of the inputs."""

    def __init__(self, table: list[list[int]]):
        super().__init__()
        self.table = table
        self.maps = nn.ModuleList(nn.Conv2d(len(t), 1, 5) for t in table)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        planes = x.unbind(1)  # b h w each; a list as index makes a tensor
        seen = [torch.stack([planes[i] for i in t], 1) for t in self.table]
        return torch.cat([conv(s) for conv, s in zip(self.maps, seen)], 1)


class Prototypes(nn.Module):
    """Minus the squared distance to a fixed code of ±1 for each class.

    The paper's codes draw the characters on 7x12 pixels; it names codes
    at random as the other choice, which these are.
    """

    def __init__(self, classes: int, dim: int):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        codes = torch.randint(
            0, 2, (classes, dim), generator=random, device="cpu"
        ).to(torch.get_default_device())
        self.register_buffer("codes", 2.0 * codes - 1)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        return -(x[:, None] - self.codes).square().sum(-1)


class LeNet5(nn.Module):
    """The network of 1998, for images of 32x32: 60,000 parameters."""

    def __init__(self, *, classes: int = 10, channels: int = 1):
        super().__init__()
        self.c1 = nn.Conv2d(channels, 6, 5)
        self.s2 = Subsample(6)
        self.c3 = SparseConv(C3)
        self.s4 = Subsample(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.squash = Squash()
        self.output = Prototypes(classes, 84)
        self.apply(initialise)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        if images.shape[2:] != (32, 32):
            raise ValueError(
                f"images of {tuple(images.shape[2:])} pixels: LeNet-5 reads "
                "32x32, so pad 28x28 by 2, or take lenet_small"
            )
        x = self.squash(self.c1(images))  # b 6 28 28
        x = self.squash(self.s2(x))  # b 6 14 14
        x = self.squash(self.c3(x))  # b 16 10 10
        x = self.squash(self.s4(x))  # b 16 5 5
        x = self.squash(self.c5(x)).flatten(1)  # b 120
        x = self.squash(self.f6(x))  # b 84
        return self.output(x)


def initialise(layer: nn.Module) -> None:
    """Uniform within 2.4 / fan-in, as the paper's appendix A."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        bound = 2.4 / layer.weight[0].numel()
    elif isinstance(layer, Subsample):
        bound = 2.4 / 4
    else:
        return
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.uniform_(layer.bias, -bound, bound)


class LeNet(nn.Module):
    """The form taught today: ReLU, max pooling, every map sees all.

    At 32x32 the second pool is a plain 2x2 pool; it adapts to 28x28.
    """

    def __init__(self, *, classes: int = 10, channels: int = 1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(5),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.features(images).flatten(1)  # b 16*5*5
        return self.classifier(x)


def lenet5(*, classes: int = 10, channels: int = 1) -> LeNet5:
    """LeNet-5 of 1998: subsampling, sparse C3, prototypes."""
    return LeNet5(classes=classes, channels=channels)


def lenet_small(*, classes: int = 10, channels: int = 3) -> LeNet:
    """LeNet as it is taught today, for images of 28 or 32 pixels."""
    return LeNet(classes=classes, channels=channels)
