"""U-Net: a contracting path, an expanding path, and copies across.

Ronneberger, Fischer & Brox 2015 (arXiv:1505.04597).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 1024)


class UNet(nn.Module):
    """Images to the logits of every pixel, at the scale of the image.

    `widths` are the channels at each level, from the finest to the
    bottom. Every level has two 3x3 convolutions on the way down and two
    on the way up; on the way up they read the enlarged map beside the
    copy of the level's own. As published no convolution pads: 572x572
    pixels give 388x388, and copies are cropped. `padding=True` pads, so
    that outputs are as large as images. With `skips=False` a second copy
    of the enlarged map stands where the level's own would: equal layers,
    equal parameters, nothing copied across. `norm` puts a batch norm
    behind each 3x3 convolution, `dropout` acts at the bottom (section
    3.1). Images whose levels do not halve evenly are refused, see
    `sizes`. Raises `ValueError` for fewer than two widths.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        widths: Sequence[int] = WIDTHS,
        padding: bool = False,
        skips: bool = True,
        norm: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_widths(channels, classes, widths)
        self.padding, self.skips = padding, skips
        self.down = nn.ModuleList()
        for inputs, width in zip([channels, *widths], widths):
            self.down.append(two_convolutions(inputs, width, padding, norm))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for width in reversed(widths[:-1]):
            deeper = widths[len(widths) - 1 - len(self.up)]
            self.enlarge.append(nn.ConvTranspose2d(deeper, width, 2, 2))
            self.up.append(two_convolutions(2 * width, width, padding, norm))
        self.head = nn.Conv2d(widths[0], classes, 1)
        self.apply(initialise)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k oh ow"]:
        for side in images.shape[-2:]:
            self.sizes(side)
        x, copies = images, []
        for level in self.down[:-1]:
            x = level(x)
            copies.append(x)
            x = self.pool(x)
        x = self.dropout(self.down[-1](x))
        for enlarge, level in zip(self.enlarge, self.up):
            x, copy = enlarge(x), copies.pop()
            copy = crop(copy, x.shape[-2:]) if self.skips else x
            x = level(torch.cat([copy, x], 1))
        return self.head(x)

    def sizes(self, side: int) -> list[int]:
        """The side of the map after each pair of convolutions.

        Raises `ValueError` where a map is not halved evenly, or nothing
        is left of it.
        """
        lost, depth = 0 if self.padding else 4, len(self.down)
        now, sides = side, []
        for i in range(depth):
            now -= lost
            sides.append(now)
            if now < 1 or (i < depth - 1 and now % 2):
                raise ValueError(
                    f"images with a side of {side} pixels: level {i + 1} "
                    f"has a map of {now}, which is not halved evenly; pad "
                    f"the images, as to a side of {self.fitting(side)}"
                )
            now //= 2
        now = sides[-1]
        for _ in range(depth - 1):
            now = 2 * now - lost
            sides.append(now)
        if now < 1:
            raise ValueError(
                f"images with a side of {side} pixels: nothing is left of "
                f"them without padding; take {self.fitting(side)} or more"
            )
        return sides

    def fitting(self, side: int) -> int:
        """The smallest side from `side` on that the levels halve evenly."""
        lost, depth = 0 if self.padding else 4, len(self.down)
        bottom = 1
        while True:  # from the bottom up: a level is twice the next, + 4
            first = last = bottom
            for _ in range(depth - 1):
                first, last = 2 * (first + lost), 2 * last - lost
            if first + lost >= side and last >= 1:
                return first + lost
            bottom += 1


def two_convolutions(
    inputs: int, width: int, padding: bool, norm: bool
) -> nn.Sequential:
    """3x3 convolution and ReLU, twice."""
    layers = []
    for channels in (inputs, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=int(padding)))
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def crop(
    x: Float[Tensor, "b c h w"], size: tuple[int, int]
) -> Float[Tensor, "b c oh ow"]:
    """The middle of a map, `size` pixels high and wide."""
    top, left = ((have - want) // 2 for have, want in zip(x.shape[-2:], size))
    return x[..., top : top + size[0], left : left + size[1]]


def initialise(layer: nn.Module) -> None:
    """N(0, 2 / inputs of a unit): section 3 of the paper."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    if isinstance(layer, nn.ConvTranspose2d):  # 2x2, stride 2: no overlap
        nn.init.normal_(layer.weight, std=layer.in_channels**-0.5)
        nn.init.zeros_(layer.bias)


def check_widths(channels: int, classes: int, widths: Sequence[int]) -> None:
    """Refuse fewer than two levels, and numbers below one."""
    for name, value in (("channels", channels), ("classes", classes)):
        if value < 1:
            raise ValueError(f"{name} = {value}: at least 1")
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(
            f"widths = {tuple(widths)}: two levels or more, each with a "
            "channel, as (64, 128, 256, 512, 1024)"
        )
