"""DeepLab: holes in the kernels keep the map fine and the fields wide.

Chen et al. 2015 (arXiv:1412.7062), 2017 (arXiv:1606.00915; arXiv:1706.05587).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.resnet import (
    BasicBlock,
    ResNet,
    resnet50,
)
from helpers.localization.detection.backbone import check_images
from helpers.localization.segmentation.fcn import (
    DilatedSegmenter,
    load_segmenter,
    on_resnet,
)


def insert_zeros(
    kernel: Float[Tensor, "k c h w"], rate: int
) -> Float[Tensor, "k c oh ow"]:
    """The kernel with `rate` - 1 zeros between neighbouring weights."""
    check_rate(rate)
    h, w = kernel.shape[2:]
    wide = kernel.new_zeros(
        *kernel.shape[:2], rate * (h - 1) + 1, rate * (w - 1) + 1
    )
    wide[:, :, ::rate, ::rate] = kernel
    return wide


def atrous(
    x: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "k c kh kw"],
    rate: int,
) -> Float[Tensor, "b k h w"]:
    """Weights read `rate` pixels apart, the size kept by zeros outside.

    It is `F.conv2d` with that dilation, for kernels of odd sides.
    """
    check_rate(rate)
    kh, kw = kernel.shape[2:]
    if kh % 2 == 0 or kw % 2 == 0:
        raise ValueError(f"a kernel of {kh} x {kw}: odd sides have a middle")
    h, w = x.shape[2:]
    top, left = rate * (kh // 2), rate * (kw // 2)
    x = F.pad(x, (left, left, top, top))
    y = 0
    for i in range(kh):
        for j in range(kw):
            row, column = rate * i, rate * j
            seen = x[..., row : row + h, column : column + w]
            y = y + torch.einsum("bchw,kc->bkhw", seen, kernel[:, :, i, j])
    return y


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: one map read at several rates.

    A 1x1 convolution, a 3x3 convolution for each of `rates`, and the mean
    of the whole map, each to `dim` channels; a 1x1 convolution joins
    them. The names are torchvision's.
    """

    def __init__(
        self,
        inputs: int,
        rates: Sequence[int],
        *,
        dim: int = 256,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.convs = nn.ModuleList([unit(inputs, dim, 1)])
        for rate in rates:
            check_rate(rate)
            self.convs.append(unit(inputs, dim, 3, rate))
        self.convs.append(WholeMap(inputs, dim))
        self.project = nn.Sequential(
            *unit(len(self.convs) * dim, dim, 1), nn.Dropout(dropout)
        )

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b d h w"]:
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


class WholeMap(nn.Sequential):
    """The mean over the map, in `dim` channels, at every place."""

    def __init__(self, inputs: int, dim: int):
        super().__init__(nn.AdaptiveAvgPool2d(1), *unit(inputs, dim, 1))

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b d h w"]:
        return super().forward(x).expand(-1, -1, *x.shape[2:])


def unit(
    inputs: int, dim: int, kernel: int, rate: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(
            inputs, dim, kernel, padding=rate * (kernel // 2), dilation=rate,
            bias=False,
        ),
        nn.BatchNorm2d(dim),
        nn.ReLU(),
    )  # fmt: skip


class DeepLabHead(nn.Sequential):
    """ASPP, a 3x3 convolution, class scores."""

    def __init__(
        self,
        inputs: int,
        classes: int,
        *,
        rates: Sequence[int] = (12, 24, 36),
        dim: int = 256,
    ):
        super().__init__(
            ASPP(inputs, rates, dim=dim),
            *unit(dim, dim, 3),
            nn.Conv2d(dim, classes, 1),
        )


def deeplabv3_resnet50(
    *, classes: int = 21, aux: bool = True, weights: str | None = None
) -> DilatedSegmenter:
    """torchvision's `deeplabv3_resnet50`, which takes its state dicts.

    `weights` and errors as in `fcn_resnet50`. While training a batch has
    two images or more: the mean of the map is normalised over the batch.
    """
    net = on_resnet(resnet50, DeepLabHead, classes, aux)
    return load_segmenter(net, "deeplabv3_resnet50", classes, aux, weights)


class SmallDeepLab(nn.Module):
    """A ResNet of three stages, a pyramid of rates, scores enlarged.

    With `dilated` the last stage keeps the stride of 2 and reads at rate
    2; without, it has a stride of 4 and the same weights.
    """

    def __init__(
        self,
        *,
        classes: int,
        width: int = 8,
        dim: int = 16,
        rates: Sequence[int] = (2, 4),
        dilated: bool = True,
    ):
        super().__init__()
        self.backbone = ResNet(
            BasicBlock,
            (1, 1, 2),
            small=True,
            classes=None,
            width=width,
            replace_stride_with_dilation=(False, dilated),
        )
        self.classifier = DeepLabHead(
            4 * width, classes, rates=rates, dim=dim
        )

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k h w"]:
        check_images(images, 4)
        *_, x = self.backbone.features(images).values()
        x = self.classifier(x)
        size = images.shape[-2:]
        return F.interpolate(x, size=size, mode="bilinear")


def check_rate(rate: int) -> None:
    if rate < 1:
        raise ValueError(
            f"rate = {rate}: at least 1, an ordinary convolution"
        )
