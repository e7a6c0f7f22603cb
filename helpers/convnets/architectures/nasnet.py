"""NASNet-A: two cells found by a search on small images, stacked by hand
for large ones (Zoph et al. 2018, arXiv:1707.07012)."""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

# Figure 4 of the paper. A node adds two operations, each on "x" (the
# cell before), "prev" (the one before that) or an earlier node. The
# output joins the nodes of the last line.
NORMAL = [
    [("sep5", "x"), ("sep3", "prev")],
    [("sep5", "prev"), ("sep3", "prev")],
    [("avg", "x"), ("same", "prev")],
    [("avg", "prev"), ("avg", "prev")],
    [("sep3", "x"), ("same", "x")],
]
NORMAL_OUT = ["prev", 0, 1, 2, 3, 4]
REDUCTION = [
    [("sep5", "x"), ("sep7", "prev")],
    [("max", "x"), ("sep7", "prev")],
    [("avg", "x"), ("sep5", "prev")],
    [("same", 1), ("avg", 0)],
    [("sep3", 0), ("max", "x")],
]
REDUCTION_OUT = [1, 2, 3, 4]


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=0.001)


def pad_same(
    x: Float[Tensor, "b c h w"],
    kernel: int,
    stride: int,
    value: float = 0.0,
) -> Float[Tensor, "b c ph pw"]:
    """Pad as TensorFlow's "SAME": ceil(size / stride) places, the odd
    pixel right and below."""
    h, w = x.shape[2:]
    y = max((-(-h // stride) - 1) * stride + kernel - h, 0)
    z = max((-(-w // stride) - 1) * stride + kernel - w, 0)
    sides = [z // 2, z - z // 2, y // 2, y - y // 2]
    return F.pad(x, sides, value=value)


class SameConv(nn.Conv2d):
    """A depthwise convolution padded by `pad_same`."""

    def __init__(self, width: int, kernel: int, stride: int):
        super().__init__(
            width, width, kernel, stride, groups=width, bias=False
        )

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c oh ow"]:
        x = pad_same(x, self.kernel_size[0], self.stride[0])
        return super().forward(x)


class SamePool(nn.Module):
    """A 3x3 pool. As timm's, a mean counts the zeros around only at
    stride 2."""

    def __init__(self, kind: str, stride: int):
        super().__init__()
        self.kind, self.stride = kind, stride

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c oh ow"]:
        if self.kind == "max":
            x = pad_same(x, 3, self.stride, float("-inf"))
            return F.max_pool2d(x, 3, self.stride)
        if self.stride == 1:
            return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return F.avg_pool2d(pad_same(x, 3, self.stride), 3, self.stride)


class Separable(nn.Module):
    """ReLU, separable convolution, norm; twice, the stride in the first."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int):
        super().__init__()
        self.act = nn.ReLU()
        self.separable_1 = self.convolution(inputs, width, kernel, stride)
        self.bn_sep_1 = norm(width)
        self.separable_2 = self.convolution(width, width, kernel, 1)
        self.bn_sep_2 = norm(width)

    @staticmethod
    def convolution(
        inputs: int, width: int, kernel: int, stride: int
    ) -> nn.Sequential:
        parts = OrderedDict(
            depthwise_conv2d=SameConv(inputs, kernel, stride),
            pointwise_conv2d=nn.Conv2d(inputs, width, 1, bias=False),
        )
        return nn.Sequential(parts)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o oh ow"]:
        x = self.bn_sep_1(self.separable_1(self.act(x)))
        return self.bn_sep_2(self.separable_2(self.act(x)))


class Fit(nn.Module):
    """ReLU, 1x1 convolution, norm: brings an input to the cell's width."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.act = nn.ReLU()
        self.conv = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn = norm(width)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b o h w"]:
        return self.bn(self.conv(self.act(x)))


class Cell(nn.Module):
    """One cell: fit both inputs, compute the nodes, join the loose ends.

    `previous` says how "prev" is fitted: "fit" where it has the size
    of x, "halve" where its side is twice as long, "raw" not at all.
    """

    def __init__(
        self,
        prev: int,
        inputs: int,
        width: int,
        *,
        reduce: bool,
        previous: str = "fit",
    ):
        super().__init__()
        self.previous = previous
        self.nodes = REDUCTION if reduce else NORMAL
        self.joined = REDUCTION_OUT if reduce else NORMAL_OUT
        self.outputs = width * len(self.joined)
        self.conv_1x1 = Fit(inputs, width)
        if previous == "fit":
            self.conv_prev_1x1 = Fit(prev, width)
        if previous == "halve":
            for path in ("path_1", "path_2"):
                half = nn.Conv2d(prev, width // 2, 1, bias=False)
                half = nn.Sequential(OrderedDict(conv=half))
                self.add_module(path, half)
            self.final_path_bn = norm(width)
        for i, node in enumerate(self.nodes):
            for side, (kind, source) in zip(("left", "right"), node):
                stride = 2 if reduce and isinstance(source, str) else 1
                raw = source == "prev" and previous == "raw"
                if kind.startswith("sep"):
                    fed = prev if raw else width
                    op = Separable(fed, width, int(kind[3:]), stride)
                elif kind == "same":
                    continue
                else:
                    op = SamePool(kind, stride)
                self.add_module(f"comb_iter_{i}_{side}", op)

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        prev: Float[Tensor, "b p ph pw"],
    ) -> Float[Tensor, "b o oh ow"]:
        made = {"x": self.conv_1x1(x), "prev": self.fitted(prev)}
        for i, node in enumerate(self.nodes):
            terms = []
            for side, (kind, source) in zip(("left", "right"), node):
                term = made[source]
                if kind != "same":
                    term = getattr(self, f"comb_iter_{i}_{side}")(term)
                terms.append(term)
            made[i] = terms[0] + terms[1]
        return torch.cat([made[name] for name in self.joined], 1)

    def fitted(
        self, prev: Float[Tensor, "b p ph pw"]
    ) -> Float[Tensor, "b c h w"]:
        if self.previous == "raw":
            return prev
        if self.previous == "fit":
            return self.conv_prev_1x1(prev)
        even = F.relu(prev)  # every other pixel, and those between
        odd = F.pad(even, [-1, 1, -1, 1])
        halves = self.path_1(even[..., ::2, ::2])
        halves = [halves, self.path_2(odd[..., ::2, ::2])]
        return self.final_path_bn(torch.cat(halves, 1))


class NASNet(nn.Module):
    """Three stages of `depth` normal cells, reductions between them.

    `width` is that of the first stage's cells; it doubles at each
    reduction. `stem` and `stride` are width and stride of the first
    convolution; `imagenet` puts two reduction cells behind it. A cell
    is fed by the two before it, but for the first behind a reduction,
    which gets what the reduction got as "prev", as in timm, whose names
    the parameters bear.
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        stem: int,
        stride: int = 2,
        imagenet: bool = True,
        classes: int = 1000,
        channels: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        even = 4 if imagenet else 1  # the stem has a quarter and a half
        if width < 1 or width % even:
            raise ValueError(f"width = {width}: a multiple of {even}")
        conv = nn.Conv2d(
            channels,
            stem,
            3,
            stride=stride,
            padding=0 if imagenet else 1,
            bias=False,
        )
        parts = OrderedDict(conv=conv, bn=norm(stem))
        self.conv0 = nn.Sequential(parts)
        self.order: list[str] = []
        before = [stem, stem]  # widths of prev and x
        halved = False  # is x half as large as prev?
        if imagenet:
            self.add("cell_stem_0", before, width // 4, True, "raw")
            self.add("cell_stem_1", before, width // 2, True, "halve")
            halved = True
        for stage in range(3):
            wide = width * 2**stage
            if stage:
                name, prev = f"reduction_cell_{stage - 1}", before[0]
                self.add(name, before, wide, True)
                before[0], halved = prev, True
            for i in range(stage * depth, (stage + 1) * depth):
                how = "halve" if halved else "fit"
                self.add(f"cell_{i}", before, wide, False, how)
                halved = False
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(before[1], classes)

    def add(
        self,
        name: str,
        before: list[int],
        width: int,
        reduce: bool,
        previous: str = "fit",
    ) -> None:
        """Append a cell, and move `before` on."""
        cell = Cell(*before, width, reduce=reduce, previous=previous)
        self.add_module(name, cell)
        self.order.append(name)
        before[:] = before[1], cell.outputs

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        prev = x = self.conv0(images)
        for name in self.order:
            y = getattr(self, name)(x, prev)
            prev = prev if name.startswith("reduction") else x
            x = y
        x = self.pool(self.act(x)).flatten(1)  # b 24*width
        return self.last_linear(self.dropout(x))


def nasnetalarge(
    *, classes: int = 1000, channels: int = 3, dropout: float = 0.5
) -> NASNet:
    """NASNet-A (6 @ 4032), the paper's largest; 331x331 pixels."""
    return NASNet(
        depth=6,
        width=168,
        stem=96,
        classes=classes,
        channels=channels,
        dropout=dropout,
    )


def nasnet_small(
    *, classes: int = 10, channels: int = 3, depth: int = 1, width: int = 8
) -> NASNet:
    """The same cells without the large stem, for about 32 pixels."""
    return NASNet(
        depth=depth,
        width=width,
        stem=16,
        imagenet=False,
        classes=classes,
        channels=channels,
    )
