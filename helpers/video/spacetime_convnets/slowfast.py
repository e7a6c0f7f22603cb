"""SlowFast: a slow pathway that sees what, a thin fast one that sees motion
(Feichtenhofer et al. 2019, arXiv:1812.03982).

Names of parameters are pytorchvideo's."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.video.optical_flow.checks import check_axes
from helpers.video.spacetime_convnets.laterals import Lateral, pathways


class Stem(nn.Module):
    """7x7 in space and `time` frames, then a pool: a quarter of the side.

    The small one, 3x3 without a pool, leaves half of it.
    """

    def __init__(self, inputs: int, outputs: int, time: int, small: bool):
        super().__init__()
        kernel = 3 if small else 7
        self.conv = nn.Conv3d(
            inputs,
            outputs,
            (time, kernel, kernel),
            (1, 2, 2),
            (time // 2, kernel // 2, kernel // 2),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(outputs)
        self.activation = nn.ReLU()
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.pool = nn.Identity() if small else pool

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o f p q"]:
        return self.pool(self.activation(self.norm(self.conv(x))))


class Branch(nn.Module):
    """`time` frames wide down to the inner width, 3x3 there, 1x1 up."""

    def __init__(self, inputs, inner, outputs, *, time: int, stride: int):
        super().__init__()
        self.conv_a = nn.Conv3d(
            inputs, inner, (time, 1, 1), 1, (time // 2, 0, 0), bias=False
        )
        self.norm_a = nn.BatchNorm3d(inner)
        self.act = nn.ReLU()
        self.conv_b = nn.Conv3d(
            inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False
        )
        self.norm_b = nn.BatchNorm3d(inner)
        self.conv_c = nn.Conv3d(inner, outputs, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(outputs)

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o f p q"]:
        x = self.act(self.norm_a(self.conv_a(x)))
        x = self.act(self.norm_b(self.conv_b(x)))
        return self.norm_c(self.conv_c(x))


class Block(nn.Module):
    """A bottleneck and its shortcut, projected where the shape changes."""

    def __init__(self, inputs, inner, outputs, *, time: int, stride: int):
        super().__init__()
        self.branch1_conv = None
        if inputs != outputs or stride > 1:
            self.branch1_conv = nn.Conv3d(
                inputs, outputs, 1, (1, stride, stride), bias=False
            )
            self.branch1_norm = nn.BatchNorm3d(outputs)
        self.branch2 = Branch(
            inputs, inner, outputs, time=time, stride=stride
        )
        self.activation = nn.ReLU()

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o f p q"]:
        skip = x
        if self.branch1_conv is not None:
            skip = self.branch1_norm(self.branch1_conv(x))
        return self.activation(skip + self.branch2(x))


class Stage(nn.Module):
    """The blocks of one pathway; the first carries the stride."""

    def __init__(
        self, depth: int, inputs: int, inner: int, *, time: int, stride: int
    ):
        super().__init__()
        self.res_blocks = nn.ModuleList()
        for i in range(depth):
            block = Block(
                4 * inner if i else inputs,
                inner,
                4 * inner,
                time=time,
                stride=1 if i else stride,
            )
            self.res_blocks.append(block)

    def forward(
        self, x: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o f p q"]:
        for block in self.res_blocks:
            x = block(x)
        return x


class Level(nn.Module):
    """One level of both pathways, and the lateral connection behind it."""

    def __init__(
        self,
        slow: nn.Module | None,
        fast: nn.Module | None,
        lateral: nn.Module | None,
    ):
        super().__init__()
        both = {"0": slow, "1": fast}
        kept = {name: part for name, part in both.items() if part is not None}
        self.multipathway_blocks = nn.ModuleDict(kept)
        self.multipathway_fusion = lateral

    def forward(self, paths: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = self.multipathway_blocks.items()
        out = {name: part(paths[name]) for name, part in parts}
        if self.multipathway_fusion is not None:
            out["0"] = self.multipathway_fusion(out["0"], out["1"])
        return out


class Head(nn.Module):
    """Dropout and one linear layer."""

    def __init__(self, inputs: int, classes: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(inputs, classes)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        return self.proj(self.dropout(x))


class SlowFast(nn.Module):
    """Two residual nets, joined by lateral connections, one linear layer.

    The fast pathway sees all frames, the slow one a frame in `alpha`; its
    channels are `1 / beta` times those of the slow one, whose first width
    is `width`. No layer strides in time. `lateral` is one of `LATERALS`,
    or None: then they meet in the last layer alone; `kernel` the frames
    that its convolution sees: 7 in the published R50, 5 in the paper. The
    slow pathway convolves in time in the stages from `late` on only.
    `slow=False` or `fast=False` builds the other alone. The mean over time
    and image is taken whole; pytorchvideo's head slides a window of 7x7,
    which is the same at 224 pixels. Raises `ValueError` for pathways that
    do not fit, and for clips of other axes, channels or frames.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        alpha: int = 4,
        beta: int = 8,
        lateral: str | None = "convolution",
        kernel: int = 7,
        late: int = 2,
        slow: bool = True,
        fast: bool = True,
        classes: int = 400,
        channels: int = 3,
        dropout: float = 0.5,
        small: bool = False,
    ) -> None:
        super().__init__()
        check_pathways(width, beta, slow, fast)
        if lateral is not None:  # refused here, if a pathway is missing too
            Lateral(1, kind=lateral, alpha=alpha, kernel=kernel)
        self.alpha, self.channels = alpha, channels
        thin, told = width // beta, 0

        def joint(outputs):
            """The lateral behind a level, and how much it tells."""
            if lateral is None or not (slow and fast):
                return None, 0
            options = dict(kind=lateral, alpha=alpha, kernel=kernel)
            joint = Lateral(outputs // beta, **options)
            return joint, joint.outputs

        connection, told = joint(width)
        level = Level(
            Stem(channels, width, 1, small) if slow else None,
            Stem(channels, thin, 5, small) if fast else None,
            connection,
        )
        self.blocks = nn.ModuleList([level])
        inputs = width
        for i, depth in enumerate(depths):
            inner, stride = width * 2**i, 2 if i else 1
            last = i == len(depths) - 1
            more, new = (None, 0) if last else joint(4 * inner)
            time = 3 if i >= late else 1
            level = Level(
                Stage(depth, inputs + told, inner, time=time, stride=stride)
                if slow
                else None,
                Stage(
                    depth,
                    inputs // beta,
                    inner // beta,
                    time=3,
                    stride=stride,
                )
                if fast
                else None,
                more,
            )
            self.blocks.append(level)
            inputs, told = 4 * inner, new
        self.blocks.append(nn.Identity())  # pools, without weights
        features = slow * inputs + fast * (inputs // beta)
        self.blocks.append(Head(features, classes, dropout))
        initialise(self)

    def features(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> dict[str, Float[Tensor, "b _ _ _ _"]]:
        """The last maps of the slow pathway, "0", and of the fast, "1"."""
        check_axes(videos, f"b f {self.channels} h w", "videos")
        paths = dict(zip("01", pathways(videos, self.alpha)))
        for level in self.blocks[:-2]:
            paths = level(paths)
        return paths

    def forward(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b k"]:
        maps = self.features(videos).values()
        means = [x.mean((2, 3, 4)) for x in maps]
        return self.blocks[-1](torch.cat(means, 1))


def initialise(network):
    """Convolutions N(0, 2 / fan out), the last layer N(0, 0.01²)."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu"
            )
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


def check_pathways(width, beta, slow, fast):
    """Refuse a network without pathways, or a fast one without channels."""
    if not (slow or fast):
        raise ValueError("slow = fast = False: keep one pathway at least")
    if beta < 1 or width % beta:
        raise ValueError(
            f"width = {width}, beta = {beta}: the fast pathway has width / "
            "beta channels, so beta divides the width"
        )


def slowfast_r50(**options) -> SlowFast:
    """R50 8x8: 8 slow and 32 fast frames."""
    return SlowFast(**options)


def slowfast_r50_4x16(**options) -> SlowFast:
    """R50 4x16, the paper's first: 4 slow frames for 32 fast ones."""
    return SlowFast(**dict(alpha=8, kernel=5) | options)


def slowfast_r101(**options) -> SlowFast:
    """R101 8x8, whose published laterals are 5 frames wide."""
    return SlowFast(**dict(depths=(3, 4, 23, 3), kernel=5) | options)


def slowfast_small(**options) -> SlowFast:
    """The book's own, for clips of 8 frames of about 32 pixels."""
    preset = dict(
        depths=(1, 1, 1),
        width=16,
        beta=4,
        kernel=5,
        late=1,
        classes=14,
        dropout=0.0,
        small=True,
    )
    return SlowFast(**preset | options)
