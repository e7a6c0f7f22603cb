"""DenseNet: each layer sees the maps of all layers before it (Huang et al. 2017, arXiv:1608.06993). Names of parameters
are torchvision's."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from helpers.convnets.architectures.weights import load_published


class DenseLayer(nn.Module):
    """`growth` new maps from all maps so far.

    A 1x1 convolution first narrows them to `bottleneck` times `growth`
    (DenseNet-B); with `bottleneck=0` the 3x3 sees them all. `lean` computes
    the concatenation again in the backward pass instead of keeping it
    (Pleiss et al. 2017, arXiv:1707.06990).
    """

    def __init__(
        self,
        inputs: int,
        growth: int,
        bottleneck: int,
        dropout: float = 0.0,
        lean: bool = False,
    ):
        super().__init__()
        inner = bottleneck * growth or inputs
        self.norm1 = nn.BatchNorm2d(inputs)
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)
        self.bottleneck, self.dropout, self.lean = bottleneck, dropout, lean

    def narrow(
        self, *maps: Float[Tensor, "b _ h w"]
    ) -> Float[Tensor, "b inner h w"]:
        x = torch.cat(maps, 1)
        x = F.relu(self.norm1(x), inplace=True)
        return self.conv1(x) if self.bottleneck else x

    def forward(
        self, maps: list[Float[Tensor, "b _ h w"]]
    ) -> Float[Tensor, "b growth h w"]:
        if self.lean and torch.is_grad_enabled():
            x = checkpoint(
                self.narrow,
                *maps,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), uncounted(self.norm1)),
            )
        else:
            x = self.narrow(*maps)
        if self.bottleneck:
            x = F.relu(self.norm2(x), inplace=True)
        return F.dropout(self.conv2(x), self.dropout, self.training)


@contextmanager
def uncounted(norm: nn.BatchNorm2d) -> Iterator[None]:
    """Keep a second pass over a batch out of the running statistics."""
    momentum, batches = norm.momentum, norm.num_batches_tracked.clone()
    norm.momentum = 0.0
    try:
        yield
    finally:
        norm.momentum = momentum
        norm.num_batches_tracked.copy_(batches)


class DenseBlock(nn.ModuleDict):
    """Layers that hand everything to all that follow."""

    def __init__(self, inputs: int, depth: int, growth: int, *options):
        super().__init__()
        for i in range(depth):
            layer = DenseLayer(inputs + i * growth, growth, *options)
            self[f"denselayer{i + 1}"] = layer
        self.inputs, self.growth = inputs, growth

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o h w"]:
        maps = [x]
        for layer in self.values():
            maps.append(layer(maps))
        return torch.cat(maps, 1)

    def connections(self) -> int:
        """From how many sources the layers read, added up: L (L + 1) / 2."""
        widths = [layer.norm1.num_features for layer in self.values()]
        return sum(1 + (w - self.inputs) // self.growth for w in widths)


class Transition(nn.Sequential):
    """Fewer maps, half the side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(inputs),
                relu=nn.ReLU(inplace=True),
                conv=nn.Conv2d(inputs, outputs, 1, bias=False),
                pool=nn.AvgPool2d(2, 2),
            )
        )


class DenseNet(nn.Module):
    """Dense blocks of `depths` layers, transitions between them.

    A transition keeps `compression` of the maps (DenseNet-C: half). The
    stem makes `width` maps; that of `small=False` halves the side twice,
    that of `small=True` keeps it.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        growth: int,
        width: int,
        bottleneck: int = 4,
        compression: float = 0.5,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.0,
        lean: bool = False,
        small: bool = False,
    ):
        super().__init__()
        if not 0 < compression <= 1:
            raise ValueError(f"compression = {compression}: above 0, up to 1")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout = {dropout}: it lies in [0, 1]")
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        stem = dict(conv0=conv)
        if not small:
            stem["norm0"] = nn.BatchNorm2d(width)
            stem["relu0"] = nn.ReLU(inplace=True)
            stem["pool0"] = nn.MaxPool2d(3, 2, 1)
        self.features = nn.Sequential(OrderedDict(stem))
        add, options = self.features.add_module, (bottleneck, dropout, lean)
        for i, depth in enumerate(depths, 1):
            block = DenseBlock(width, depth, growth, *options)
            add(f"denseblock{i}", block)
            width += depth * growth
            if i < len(depths):
                kept = int(width * compression)
                add(f"transition{i}", Transition(width, kept))
                width = kept
        add("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        x = F.relu(self.features(images), inplace=True)
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def feature_reuse(
    block: DenseBlock,
) -> Float[Tensor, "layers sources"]:
    """Mean absolute weight that layer l (row) gives source s (column).

    Figure 5 of the paper. Source 0 is the block's input, source s layer s;
    NaN where s is not before l. A layer's first convolution reads them.
    """
    first, growth = block.inputs, block.growth
    rows = torch.full((len(block), len(block)), torch.nan)
    for i, layer in enumerate(block.values()):
        conv = layer.conv1 if layer.bottleneck else layer.conv2
        weights = conv.weight.detach().abs().split([first] + i * [growth], 1)
        rows[i, : i + 1] = torch.stack([w.mean() for w in weights])
    return rows


def densenet121(*, weights: str | None = None, **options) -> DenseNet:
    """Growth 32; 58 dense layers of two convolutions."""
    net = DenseNet((6, 12, 24, 16), growth=32, width=64, **options)
    return load_published(net, "densenet121", weights)


def densenet161(*, weights: str | None = None, **options) -> DenseNet:
    """Growth 48; 78 dense layers."""
    net = DenseNet((6, 12, 36, 24), growth=48, width=96, **options)
    return load_published(net, "densenet161", weights)


def densenet169(*, weights: str | None = None, **options) -> DenseNet:
    """Growth 32; 82 dense layers."""
    net = DenseNet((6, 12, 32, 32), growth=32, width=64, **options)
    return load_published(net, "densenet169", weights)


def densenet201(*, weights: str | None = None, **options) -> DenseNet:
    """Growth 32; 98 dense layers."""
    net = DenseNet((6, 12, 48, 32), growth=32, width=64, **options)
    return load_published(net, "densenet201", weights)


def densenet_small(
    *,
    depth: int = 22,
    growth: int = 12,
    bottleneck: int = 4,
    classes: int = 10,
    channels: int = 3,
    **options,
) -> DenseNet:
    """The nets for CIFAR-10: three blocks, of 6n + 4 or 3n + 4 layers.

    With bottlenecks DenseNet-BC, whose layers count twice and whose
    transitions halve; with `bottleneck=0` the plain DenseNet, which keeps
    all maps. Depths 100 and 40 with growth 12 are the paper's.
    """
    each = 6 if bottleneck else 3
    n, rest = divmod(depth - 4, each)
    if rest or n < 1:
        raise ValueError(
            f"depth = {depth}: with bottleneck = {bottleneck} it is "
            f"{each}n + 4, such as {each + 4}, {3 * each + 4} or {36 + 4}"
        )
    plan = dict(
        width=2 * growth if bottleneck else 16,
        bottleneck=bottleneck,
        compression=0.5 if bottleneck else 1.0,
        small=True,
        classes=classes,
        channels=channels,
    )
    return DenseNet((n, n, n), growth=growth, **plan | options)
