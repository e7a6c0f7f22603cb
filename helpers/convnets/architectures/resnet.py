"""Residual networks: ResNet (He et al. 2016, arXiv:1512.03385), the wide ones of torchvision, ResNeXt (Xie et al. 2017,
arXiv:1611.05431), and the plain nets that they are compared with. Names of parameters are torchvision's."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.stochastic_depth import (
    is_dropped,
    linear_decay,
)
from helpers.convnets.architectures.weights import load_published

Norm = Callable[[int], nn.Module]


class Block(nn.Module):
    """y = relu(F(x) + x): the shortcut is the identity.

    It is `downsample` only where F changes the shape, and nothing at all in
    a plain net (`residual=False`). `branch` is F. While training the branch
    survives with probability `survival`; in `eval()` it is scaled by that.
    """

    def __init__(self):
        super().__init__()
        self.downsample: nn.Module | None = None
        self.residual, self.survival = True, 1.0

    def branch(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        raise NotImplementedError

    def shortcut(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o p q"]:
        return x if self.downsample is None else self.downsample(x)

    def skip(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        """What the block hands on when its branch is left out."""
        return F.relu(self.shortcut(x))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        if is_dropped(self.survival, self.training):
            return self.skip(x)
        y = self.branch(x)
        if self.survival < 1 and not self.training:
            y *= self.survival
        if self.residual:
            y += self.shortcut(x)
        return self.relu(y)


class BasicBlock(Block):
    """F is two 3x3 convolutions, without groups."""

    expansion = 1

    def __init__(
        self,
        inputs: int,
        planes: int,
        *,
        stride: int,
        norm: Norm,
        groups: int = 1,
        group_width: int = 64,
        dilation: int = 1,
    ):
        super().__init__()
        if (groups, group_width) != (1, 64):
            raise ValueError(
                f"groups = {groups}, group_width = {group_width}: basic "
                "blocks have neither, take a net of bottlenecks"
            )
        r = dilation
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, r, r, bias=False)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, r, r, bias=False)
        self.bn2 = norm(planes)

    def branch(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))

    @property
    def last_norm(self) -> nn.Module:
        return self.bn2


class Bottleneck(Block):
    """F is 1x1 down to the inner width, 3x3 there, 1x1 up to 4 `planes`.

    The 3x3 may be grouped (ResNeXt), the inner width larger than `planes`
    (wide nets). It carries the stride, as in torchvision; in the paper the
    first 1x1 does, which never looks at three pixels of four.
    """

    expansion = 4

    def __init__(
        self,
        inputs: int,
        planes: int,
        *,
        stride: int,
        norm: Norm,
        groups: int = 1,
        group_width: int = 64,
        dilation: int = 1,
    ):
        super().__init__()
        inner, outputs = planes * group_width // 64 * groups, planes * 4
        if inner < 1:
            raise ValueError(
                f"group_width = {group_width}: of {planes} planes it leaves "
                f"no channel, take at least {-(-64 // planes)}"
            )
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = norm(inner)
        self.conv2 = nn.Conv2d(
            inner, inner, 3, stride, dilation, dilation, groups, bias=False
        )
        self.bn2 = norm(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = norm(outputs)
        self.relu = nn.ReLU(inplace=True)

    def branch(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))

    @property
    def last_norm(self) -> nn.Module:
        return self.bn3


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, and zeros in the new channels: no weights.

    Option A of the paper, which keeps a plain net and its residual twin at
    equal parameter counts.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.new, self.stride = outputs - inputs, stride

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.new))


def projection(inputs: int, outputs: int, stride: int, norm: Norm):
    """A 1x1 convolution that changes the shape: option B of the paper."""
    conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(conv, norm(outputs))


class ResNet(nn.Module):
    """A stem, stages of blocks, the mean over the image, one linear layer.

    `depths` counts the blocks of each stage; from stage to stage the width
    doubles and the side halves. The stem of `small=False` halves the side
    twice (images of 224 pixels), that of `small=True` keeps it (32 pixels).
    `norm` makes the norm of so many channels. `zero_last` starts the last
    norm of each branch at 0, so that every block without a projection
    starts as the identity on what a ReLU gives (Goyal et al. 2017,
    arXiv:1706.02677). `survival` is the probability that
    the last block survives, see `linear_decay`. `classes=None` leaves `fc`
    out: the network then ends in features, one vector an image.
    `replace_stride_with_dilation` has a truth value for each stage after the
    first: where true, the stage keeps the side of the map, and from its
    second block on the 3x3 convolutions are dilated instead, by twice the
    rate so far (Chen et al. 2017, arXiv:1706.05587).
    """

    def __init__(
        self,
        block: type[Block],
        depths: Sequence[int],
        *,
        classes: int | None = 1000,
        channels: int = 3,
        width: int = 64,
        groups: int = 1,
        group_width: int = 64,
        small: bool = False,
        residual: bool = True,
        zero_last: bool = False,
        survival: float = 1.0,
        norm: Norm = nn.BatchNorm2d,
        replace_stride_with_dilation: Sequence[bool] | None = None,
    ):
        super().__init__()
        if not depths or min(depths) < 1:
            raise ValueError(f"depths = {depths}: each stage has a block")
        dilated = replace_stride_with_dilation or [False] * (len(depths) - 1)
        if len(dilated) != len(depths) - 1:
            raise ValueError(
                f"replace_stride_with_dilation = {dilated}: one truth value "
                f"for each of the {len(depths) - 1} stages after the first"
            )
        if survival < 1 and not residual:
            raise ValueError(
                f"survival = {survival}: a plain net has no shortcut past a "
                "dropped block, keep residual=True"
            )
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = nn.Conv2d(
            channels, width, kernel, stride, padding, bias=False
        )
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        inputs, chances = width, iter(linear_decay(sum(depths), survival))
        self.widths: dict[str, int] = {}  # output channels of each stage
        rate = 1  # of the dilated convolutions
        for i, depth in enumerate(depths):
            blocks, before = [], rate
            shrinks = i > 0 and not dilated[i - 1]
            rate *= 1 if i == 0 or shrinks else 2
            for j in range(depth):
                planes, stride = width * 2**i, 2 if shrinks and not j else 1
                new = block(
                    inputs,
                    planes,
                    stride=stride,
                    norm=norm,
                    groups=groups,
                    group_width=group_width,
                    dilation=rate if j else before,
                )
                new.residual, new.survival = residual, next(chances)
                outputs = planes * block.expansion
                if residual and (stride > 1 or inputs != outputs):
                    new.downsample = (
                        PaddedShortcut(inputs, outputs, stride)
                        if small
                        else projection(inputs, outputs, stride, norm)
                    )
                blocks.append(new)
                inputs = outputs
            self.widths[f"layer{i + 1}"] = inputs
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        features = classes is None
        self.fc = nn.Identity() if features else nn.Linear(inputs, classes)
        initialise(self)
        if zero_last:
            for module in self.modules():
                if isinstance(module, Block):
                    nn.init.zeros_(module.last_norm.weight)

    def features(
        self, images: Float[Tensor, "b c h w"]
    ) -> dict[str, Float[Tensor, "b _ _ _"]]:
        """What each stage hands on, by its name: for pyramids and heads."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = {}
        for name in self.widths:
            maps[name] = x = getattr(self, name)(x)
        return maps

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        *_, x = self.features(images).values()
        return self.fc(self.avgpool(x).flatten(1))


def initialise(network: nn.Module) -> None:
    """Convolutions N(0, 2 / fan out) (He et al. 2015); norms stay as made."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu"
            )


def resnet18(*, weights: str | None = None, **options) -> ResNet:
    """18 layers of basic blocks."""
    net = ResNet(BasicBlock, (2, 2, 2, 2), **options)
    return load_published(net, "resnet18", weights)


def resnet34(*, weights: str | None = None, **options) -> ResNet:
    """34 layers of basic blocks."""
    net = ResNet(BasicBlock, (3, 4, 6, 3), **options)
    return load_published(net, "resnet34", weights)


def resnet50(*, weights: str | None = None, **options) -> ResNet:
    """The depths of ResNet-34, of bottlenecks."""
    net = ResNet(Bottleneck, (3, 4, 6, 3), **options)
    return load_published(net, "resnet50", weights)


def resnet101(*, weights: str | None = None, **options) -> ResNet:
    """17 bottlenecks more, all in the third stage."""
    net = ResNet(Bottleneck, (3, 4, 23, 3), **options)
    return load_published(net, "resnet101", weights)


def resnet152(*, weights: str | None = None, **options) -> ResNet:
    """152 layers of bottlenecks."""
    net = ResNet(Bottleneck, (3, 8, 36, 3), **options)
    return load_published(net, "resnet152", weights)


def resnext50_32x4d(*, weights: str | None = None, **options) -> ResNet:
    """ResNet-50 whose 3x3 convolutions have 32 groups 4 channels wide."""
    options = dict(groups=32, group_width=4) | options
    net = ResNet(Bottleneck, (3, 4, 6, 3), **options)
    return load_published(net, "resnext50_32x4d", weights)


def resnext101_32x8d(*, weights: str | None = None, **options) -> ResNet:
    """32 groups, 8 channels wide in the first stage."""
    options = dict(groups=32, group_width=8) | options
    net = ResNet(Bottleneck, (3, 4, 23, 3), **options)
    return load_published(net, "resnext101_32x8d", weights)


def resnext101_64x4d(*, weights: str | None = None, **options) -> ResNet:
    """64 groups, 4 channels wide in the first stage."""
    options = dict(groups=64, group_width=4) | options
    net = ResNet(Bottleneck, (3, 4, 23, 3), **options)
    return load_published(net, "resnext101_64x4d", weights)


def wide_resnet50_2(*, weights: str | None = None, **options) -> ResNet:
    """ResNet-50 with twice the inner width."""
    options = dict(group_width=128) | options
    net = ResNet(Bottleneck, (3, 4, 6, 3), **options)
    return load_published(net, "wide_resnet50_2", weights)


def wide_resnet101_2(*, weights: str | None = None, **options) -> ResNet:
    """ResNet-101 with twice the inner width."""
    options = dict(group_width=128) | options
    net = ResNet(Bottleneck, (3, 4, 23, 3), **options)
    return load_published(net, "wide_resnet101_2", weights)


def resnet_small(
    *, depth: int = 20, width: int = 16, classes: int = 10, **options
) -> ResNet:
    """The nets for CIFAR-10 of section 4.2: 6n + 2 layers, three stages.

    `residual=False` gives the plain net of the same layers and the same
    number of parameters; `survival=0.5` the stochastic depth of Huang et al.
    Raises `ValueError` for a depth that is not 8, 14, 20, …, 110, ….
    """
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        raise ValueError(
            f"depth = {depth}: three stages of n blocks of two layers have "
            "6n + 2 layers, such as 8, 14, 20, 32, 56 or 110"
        )
    options = dict(small=True, width=width, classes=classes) | options
    return ResNet(BasicBlock, (n, n, n), **options)
