"""SegNet: the decoder is told where the encoder's maxima were.

Badrinarayanan, Kendall & Cipolla 2017 (arXiv:1511.00561).
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.vgg import DEPTHS, WIDTHS, stage
from helpers.localization.segmentation.upsampling import (
    bilinear,
    pool,
    unpool,
)


class SegNet(nn.Module):
    """The convolutions of a VGG with batch norms, and the same way back.

    The encoder has the names of `vgg16_bn`, whose `features` it takes.
    Each stage of the decoder unpools with the places that the encoder's
    pool remembered, then has as many convolutions as the stage that it
    mirrors; the last convolution of all gives class scores, without norm
    and ReLU. With `indices=False` maps are enlarged bilinearly instead:
    the same parameters, nothing remembered. Raises `ValueError` for
    images whose sides do not halve evenly.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 3,
        depths: Sequence[int] = DEPTHS[16],
        widths: Sequence[int] = WIDTHS,
        indices: bool = True,
    ):
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes = {classes}: at least 1")
        self.indices = indices
        layers: list[nn.Module] = []
        for i, depth in enumerate(depths):
            inputs = widths[i - 1] if i else channels
            layers += stage(inputs, widths[i], depth, norm=True)
        self.features = nn.Sequential(*layers)
        self.decoder = nn.ModuleList()
        for i in reversed(range(len(depths))):
            out = widths[i - 1] if i else classes
            inner = stage(widths[i], widths[i], depths[i] - 1, norm=True)
            last = stage(widths[i], out, 1, norm=True)
            layers = [*inner[:-1], *last[:-1]]  # without their pools
            self.decoder.append(nn.Sequential(*layers[: None if i else -2]))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k h w"]:
        x, remembered = images, []
        self.check(images)
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                size = x.shape[-2:]
                x, places = pool(x)
                remembered.append((places, size))
            else:
                x = layer(x)
        for convolutions in self.decoder:
            places, size = remembered.pop()
            x = unpool(x, places, size) if self.indices else bilinear(x, 2)
            x = convolutions(x)
        return x

    def check(self, images: Tensor) -> None:
        """Refuse images of which a pool would lose a row or a column."""
        h, w = images.shape[-2:]
        cell = 2 ** len(self.decoder)
        if h % cell or w % cell or not h * w:
            raise ValueError(
                f"images of {h} x {w} pixels: both sides divide by {cell}, "
                f"as {-(-h // cell) * cell} x {-(-w // cell) * cell}; pad "
                "them"
            )


def segnet_small(*, classes: int, width: int = 16, **options) -> SegNet:
    """Three stages of two convolutions, of 16, 32 and 64 channels."""
    widths = [width * 2**i for i in range(3)]
    return SegNet(classes=classes, depths=(2, 2, 2), widths=widths, **options)
