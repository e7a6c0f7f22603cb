"""Pre-activation ResNets (He et al. 2016, "Identity mappings", arXiv:1603.05027) and Wide ResNets (Zagoruyko & Komodakis
2016, arXiv:1605.07146). Names of parameters are those of timm's `resnetv2`."""

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.resnet import initialise


class PreBlock(nn.Module):
    """y = x + F(relu(norm(x))): nothing stands on the shortcut.

    So x_L = x_l plus the sum of the branches between, exactly. Where the
    shape changes a 1x1 convolution, which sees the activated x, takes the
    identity's place.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, project: bool):
        super().__init__()
        self.downsample = None
        if project:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(OrderedDict(conv=conv))
        self.norm1 = nn.BatchNorm2d(inputs)

    def branch(self, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        a = F.relu(self.norm1(x))
        y = self.branch(a)
        y += x if self.downsample is None else self.downsample(a)
        return y

    def skip(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        """What the block hands on when its branch is left out."""
        if self.downsample is None:
            return x
        return self.downsample(F.relu(self.norm1(x)))


class PreBasic(PreBlock):
    """Two 3x3 convolutions; between them a norm, a ReLU and dropout."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        first: bool,
        dropout: float = 0.0,
    ):
        project = stride > 1 or inputs != outputs
        super().__init__(inputs, outputs, stride, project)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)

    def branch(self, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        a = F.relu(self.norm2(self.conv1(a)))
        return self.conv2(self.dropout(a))


class PreBottleneck(PreBlock):
    """1x1 to a quarter of `outputs`, 3x3, 1x1 back.

    The first block of each stage has a projection, as in the authors' code.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        first: bool,
        dropout: float = 0.0,
    ):
        super().__init__(inputs, outputs, stride, project=first)
        inner = outputs // 4
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(inner)
        self.dropout = nn.Dropout(dropout)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)

    def branch(self, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        a = F.relu(self.norm2(self.conv1(a)))
        a = F.relu(self.norm3(self.conv2(a)))
        return self.conv3(self.dropout(a))


class PreResNet(nn.Module):
    """A stem without norm, stages of pre-activation blocks, a last norm.

    Stage i has `depths[i]` blocks of `widths[i]` output channels. The stem
    of `small=False` halves the side twice, that of `small=True` keeps it.
    """

    def __init__(
        self,
        block: type[PreBlock],
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        classes: int = 1000,
        channels: int = 3,
        stem: int = 64,
        small: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        conv = nn.Conv2d(channels, stem, kernel, stride, padding, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv))
        if not small:
            self.stem.add_module("pool", nn.MaxPool2d(3, 2, 1))
        self.stages, inputs = nn.Sequential(), stem
        for i, (depth, outputs) in enumerate(zip(depths, widths, strict=True)):
            blocks = nn.Sequential()
            for j in range(depth):
                stride = 2 if i and not j else 1
                options = dict(stride=stride, first=not j, dropout=dropout)
                blocks.append(block(inputs, outputs, **options))
                inputs = outputs
            self.stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                fc=nn.Conv2d(inputs, classes, 1),
                flatten=nn.Flatten(),
            )
        )
        initialise(self.stem)
        initialise(self.stages)
        nn.init.normal_(self.head.fc.weight, 0, 0.01)
        nn.init.zeros_(self.head.fc.bias)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = self.stages(self.stem(images))
        return self.head(F.relu(self.norm(x)))


def blocks_per_stage(depth: int, layers: int, rest: int) -> int:
    """n of depth = 3 stages of n blocks of so many layers, and the rest.

    Raises `ValueError` for a depth that no n gives.
    """
    n, left = divmod(depth - rest, 3 * layers)
    if left or n < 1:
        least = [3 * layers * i + rest for i in (1, 2, 3)]
        raise ValueError(
            f"depth = {depth}: it is {3 * layers}n + {rest}, such as "
            f"{', '.join(map(str, least))}"
        )
    return n


def resnetv2_50(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.0
) -> PreResNet:
    """ResNet-50 with pre-activation."""
    return PreResNet(
        PreBottleneck,
        depths=(3, 4, 6, 3),
        widths=(256, 512, 1024, 2048),
        classes=classes,
        channels=channels,
        dropout=dropout,
    )


def resnetv2_101(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.0
) -> PreResNet:
    """ResNet-101 with pre-activation."""
    return PreResNet(
        PreBottleneck,
        depths=(3, 4, 23, 3),
        widths=(256, 512, 1024, 2048),
        classes=classes,
        channels=channels,
        dropout=dropout,
    )


def preactivation_small(
    *,
    depth: int = 20,
    width: int = 16,
    bottleneck: bool = False,
    classes: int = 10,
    channels: int = 3,
) -> PreResNet:
    """The nets for CIFAR-10: 6n + 2 layers, or 9n + 2 with bottlenecks.

    Depths 164 and 1001 with bottlenecks are those of the paper's tables.
    """
    block = PreBottleneck if bottleneck else PreBasic
    n = blocks_per_stage(depth, layers=3 if bottleneck else 2, rest=2)
    wider = 4 if bottleneck else 1
    return PreResNet(
        block,
        depths=(n, n, n),
        widths=[width * wider * 2**i for i in range(3)],
        stem=width,
        small=True,
        classes=classes,
        channels=channels,
    )


def wide_resnet(
    *,
    depth: int = 28,
    k: int = 10,
    classes: int = 10,
    channels: int = 3,
    dropout: float = 0.0,
) -> PreResNet:
    """WRN-depth-k for 32x32 images: 6n + 4 convolutions, k times as wide.

    The depth counts the three projections, as the paper does; WRN-28-10 is
    its best net.
    """
    n = blocks_per_stage(depth, layers=2, rest=4)
    return PreResNet(
        PreBasic,
        depths=(n, n, n),
        widths=[16 * k * 2**i for i in range(3)],
        stem=16,
        small=True,
        classes=classes,
        channels=channels,
        dropout=dropout,
    )


def wrn_16_8(
    *, classes: int = 10, channels: int = 3, dropout: float = 0.0
) -> PreResNet:
    """The shallow wide net that matches a thin one of 1,000 layers."""
    options = dict(classes=classes, channels=channels, dropout=dropout)
    return wide_resnet(depth=16, k=8, **options)


def wrn_small(
    *, depth: int = 10, k: int = 2, classes: int = 10, channels: int = 3
) -> PreResNet:
    """WRN-10-2: one block a stage, twice as wide as ResNet."""
    return wide_resnet(depth=depth, k=k, classes=classes, channels=channels)
