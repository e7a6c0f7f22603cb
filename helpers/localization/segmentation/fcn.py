"""Fully convolutional networks: classifiers that answer for every place.

Long, Shelhamer & Darrell 2015 (arXiv:1411.4038): FCN-32s, 16s and 8s on
VGG-16, as their published nets are built, with an input padded by 100
pixels; and torchvision's FCN on dilated ResNets, with its names.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.resnet import ResNet, resnet50, resnet101
from helpers.convnets.architectures.vgg import VGG, vgg16
from helpers.convnets.architectures.weights import (
    check_published,
    published_state,
)
from helpers.localization.detection.backbone import check_images
from helpers.localization.segmentation.upsampling import Transposed

PADDING = 100  # of the first convolution of the published nets


def as_convolution(
    linear: nn.Linear, shape: tuple[int, int, int], padding: int = 0
) -> nn.Conv2d:
    """A linear layer over a map of `shape` (c, h, w), as a convolution.

    Its kernel is as large as the map, so on such a map it has one place
    and one answer, the layer's own; on a larger map it has more. Raises
    `ValueError` for a layer with another number of inputs.
    """
    c, h, w = shape
    if linear.in_features != c * h * w:
        raise ValueError(
            f"a linear layer of {linear.in_features} inputs does not read a "
            f"map of {c} x {h} x {w}"
        )
    like = dict(device=linear.weight.device, dtype=linear.weight.dtype)
    conv = nn.utils.skip_init(
        nn.Conv2d, c, linear.out_features, (h, w), padding=padding,
        bias=linear.bias is not None, **like,
    )  # fmt: skip
    with torch.no_grad():
        conv.weight.copy_(linear.weight.view_as(conv.weight))
        if linear.bias is not None:
            conv.bias.copy_(linear.bias)
    return conv


class ConvolutionalVGG(nn.Module):
    """A VGG whose linear layers 6 and 7 are convolutions.

    Gives the map behind each pool, then that of layer 7. The first
    convolution pads by `padding`. Layer 6 pads nothing, or, with `same`,
    keeps the size of its map. Layers of `vgg` are used, not copied.
    """

    def __init__(self, vgg: VGG, *, padding: int = 1, same: bool = False):
        super().__init__()
        first, _, drop, second, _, _, _ = vgg.classifier
        last = [m for m in vgg.features if isinstance(m, nn.Conv2d)][-1]
        side = vgg.avgpool.output_size
        if same and side % 2 == 0:
            raise ValueError(
                f"same = True and a kernel of {side} x {side}: only an odd "
                "kernel has a middle, build the VGG with an odd `pooled`"
            )
        self.features = vgg.features
        self.features[0].padding = (padding, padding)
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True  # as in Caffe
        self.side = side
        shape = (last.out_channels, side, side)
        self.layer6 = as_convolution(first, shape, side // 2 if same else 0)
        self.layer7 = as_convolution(second, (first.out_features, 1, 1))
        self.dropout = nn.Dropout(drop.p)

    @property
    def widths(self) -> list[int]:
        """Channels of the maps that `forward` gives."""
        widths, now = [], 0
        for layer in self.features:
            now = getattr(layer, "out_channels", now)
            widths += [now] if isinstance(layer, nn.MaxPool2d) else []
        return [*widths, self.layer7.out_channels]

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> list[Float[Tensor, "b _ _ _"]]:
        x, maps = images, []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
        if min(x.shape[-2:]) + 2 * self.layer6.padding[0] < self.side:
            raise ValueError(
                f"images of {list(images.shape[-2:])} pixels leave a map of "
                f"{list(x.shape[-2:])} for a kernel of {self.side}: enlarge "
                "the images or the padding"
            )
        x = self.dropout(F.relu(self.layer6(x)))
        x = self.dropout(F.relu(self.layer7(x)))
        return [*maps, x]


class FCN(nn.Module):
    """Scores of the deepest map, enlarged, to which finer scores are added.

    `finer` is how many finer maps are scored and added: with a VGG of
    five pools 0 is FCN-32s, 1 is FCN-16s, 2 is FCN-8s. Each step doubles
    the map by a transposed convolution that begins as bilinear and
    learns; the last one, by the stride that is left, stays bilinear.
    Scores begin at zero. Maps are cropped to each other's place, see
    `crops`.
    """

    def __init__(
        self, vgg: VGG, *, classes: int, finer: int, padding: int = PADDING
    ):
        super().__init__()
        self.body = ConvolutionalVGG(vgg, padding=padding)
        *pools, top = self.body.widths
        if not 0 <= finer < len(pools):
            raise ValueError(
                f"finer = {finer}: of {len(pools)} pools 0 to "
                f"{len(pools) - 1} finer maps can be added"
            )
        self.padding, self.depth, self.finer = padding, len(pools), finer
        self.scores = nn.ModuleList()
        for width in [top, *pools[-2 : -2 - finer : -1]]:
            self.scores.append(nn.Conv2d(width, classes, 1))
        self.doublings = nn.ModuleList(
            Transposed(classes, classes, 4, 2) for _ in range(finer)
        )
        left = 2 ** (self.depth - finer)
        self.enlarge = Transposed(classes, classes, 2 * left, left)
        self.enlarge.requires_grad_(False)
        for score in self.scores:
            nn.init.zeros_(score.weight)
            nn.init.zeros_(score.bias)
        self.offsets = self.crops()

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k h w"]:
        *pools, top = self.body(images)
        finer = pools[-2 : -2 - self.finer : -1]
        *between, last = self.offsets
        x = self.scores[0](top)
        for score, double, map_, offset in zip(
            self.scores[1:], self.doublings, finer, between
        ):
            x = double(x)
            x = x + cut(score(map_), offset, x.shape[-2:])
        x = self.enlarge(x)
        return cut(x, last, images.shape[-2:])

    def crops(self) -> list[int]:
        """How far into each finer map, and at last into the image's own.

        Cells lie in pixels of the image: the centre of cell 0 moves by
        (kernel - 1) / 2 cells of its own in every layer. For the published
        nets this gives 19; 5, 27; and 5, 9, 31.
        """
        start = 1.0 - self.padding  # behind the first convolution

        def behind(pools: int) -> float:
            return start + (2**pools - 1) / 2

        n = self.depth
        centre = behind(n) + (self.body.side - 1) / 2 * 2**n
        offsets = []
        for i in range(1, self.finer + 1):
            cell = 2 ** (n - i)
            centre -= 1.5 * cell  # kernel 4
            offsets.append((centre - behind(n - i)) / cell)
        left = 2 ** (n - self.finer)
        centre -= (2 * left - 1) / 2
        offsets.append(-centre)
        wrong = [x for x in offsets if x < 0 or x != int(x)]
        if wrong:
            raise ValueError(
                f"padding = {self.padding}: maps would meet at {wrong[0]} "
                "cells; take a padding of one half of the stride or more"
            )
        return [int(x) for x in offsets]


def cut(
    x: Float[Tensor, "b c h w"], offset: int, size: Sequence[int]
) -> Float[Tensor, "b c oh ow"]:
    """`size` rows and columns of a map, from `offset` on."""
    h, w = size
    x = x[..., offset : offset + h, offset : offset + w]
    if x.shape[-2:] != (h, w):
        raise ValueError(
            f"a map of {list(x.shape[-2:])} where {[h, w]} are wanted: the "
            "padding is too small for images of this size; pad them to "
            "multiples of the largest stride"
        )
    return x


def fcn32s(*, classes: int = 21, weights: str | None = None) -> FCN:
    """Scores of layer 7, enlarged 32 times; `weights` are VGG-16's."""
    return FCN(vgg16(weights=weights), classes=classes, finer=0)


def fcn16s(*, classes: int = 21, weights: str | None = None) -> FCN:
    """FCN-32s and the scores of pool 4."""
    return FCN(vgg16(weights=weights), classes=classes, finer=1)


def fcn8s(*, classes: int = 21, weights: str | None = None) -> FCN:
    """FCN-16s and the scores of pool 3."""
    return FCN(vgg16(weights=weights), classes=classes, finer=2)


def fcn_small(
    *,
    classes: int,
    finer: int = 2,
    depths: Sequence[int] = (2, 2, 2),
    width: int = 16,
    hidden: int = 128,
) -> FCN:
    """On a VGG of three pools with batch norms: strides 8, 4 and 2.

    A padding of 9 puts one cell of the coarsest map on each 8 x 8 pixels.
    """
    vgg = VGG(
        depths=depths,
        widths=[width * 2**i for i in range(len(depths))],
        norm=True,
        hidden=hidden,
        pooled=3,
        classes=1,
        dropout=0.0,
    )
    return FCN(vgg, classes=classes, finer=finer, padding=9)


# -- torchvision's form ------------------------------------------------------


class FCNHead(nn.Sequential):
    """3x3 convolution to a quarter of the channels, then class scores."""

    def __init__(self, dim: int, classes: int):
        super().__init__(
            nn.Conv2d(dim, dim // 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(dim // 4),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(dim // 4, classes, 1),
        )


class DilatedSegmenter(nn.Module):
    """A ResNet of stride 8, a head on its last stage, one on that before.

    Gives logits at the scale of the images: "out", and, unless
    `aux=False`, "aux", whose loss helps the middle of the net to learn
    (at test time only "out" is used). Images have at least 8 pixels.
    """

    def __init__(
        self, backbone: ResNet, head: nn.Module, aux: nn.Module | None
    ):
        super().__init__()
        self.backbone = backbone
        self.classifier = head
        self.aux_classifier = aux

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> dict[str, Float[Tensor, "b k h w"]]:
        check_images(images, 8)
        size = images.shape[-2:]
        *_, middle, last = self.backbone.features(images).values()
        scores = {"out": self.classifier(last)}
        if self.aux_classifier is not None:
            scores["aux"] = self.aux_classifier(middle)
        return {
            name: F.interpolate(x, size=size, mode="bilinear")
            for name, x in scores.items()
        }


def fcn_resnet50(
    *, classes: int = 21, aux: bool = True, weights: str | None = None
) -> DilatedSegmenter:
    """torchvision's `fcn_resnet50`, which takes its state dicts.

    `weights="COCO_WITH_VOC_LABELS_V1"` loads what torchvision published,
    for 21 classes and with `aux`. Raises `ValueError` for another name or
    number of classes.
    """
    net = on_resnet(resnet50, FCNHead, classes, aux)
    return load_segmenter(net, "fcn_resnet50", classes, aux, weights)


def fcn_resnet101(
    *, classes: int = 21, aux: bool = True, weights: str | None = None
) -> DilatedSegmenter:
    """torchvision's `fcn_resnet101`; otherwise as `fcn_resnet50`."""
    net = on_resnet(resnet101, FCNHead, classes, aux)
    return load_segmenter(net, "fcn_resnet101", classes, aux, weights)


def on_resnet(
    build: Callable[..., ResNet],
    head: Callable[[int, int], nn.Module],
    classes: int,
    aux: bool,
) -> DilatedSegmenter:
    """`head` on a ResNet whose stages 3 and 4 keep the stride of 8."""
    if classes < 1:
        raise ValueError(f"classes = {classes}: at least 1")
    body = build(
        classes=None, replace_stride_with_dilation=(False, True, True)
    )
    *_, middle, last = body.widths.values()
    second = FCNHead(middle, classes) if aux else None
    return DilatedSegmenter(body, head(last, classes), second)


def load_segmenter(
    net: DilatedSegmenter,
    name: str,
    classes: int,
    aux: bool,
    weights: str | None,
) -> DilatedSegmenter:
    """Fill `net` with torchvision's published weights of `name`."""
    if weights is not None:
        check_published(name, weights)
        if classes != 21 or not aux:
            raise ValueError(
                f"classes = {classes}, aux = {aux}: the published weights "
                "are for 21 classes with aux=True; load them, then give "
                "the heads another last layer"
            )
        net.load_state_dict(published_state(name, weights))
    return net
