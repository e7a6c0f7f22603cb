"""PixelNet: hypercolumns at sampled pixels, a head of three layers for each (Bansal et al. 2017, arXiv:1702.06506)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def sample_pixels(
    b: int, h: int, w: int, count: int, generator: torch.Generator
) -> Int[Tensor, "b n"]:
    """`count` different pixels of each of b images, as row · w + column.

    All pixels are equally likely. Raises `ValueError` for a count that
    the images do not have.
    """
    if not 1 <= count <= h * w:
        raise ValueError(
            f"count = {count}: an image of {h} by {w} has 1 to {h * w} pixels"
        )
    noise = torch.rand(b, h * w, generator=generator)
    return noise.topk(count, dim=1).indices


def hypercolumns(
    maps: list[Float[Tensor, "b _ _ _"]],
    pixels: Int[Tensor, "b n"],
    h: int,
    w: int,
) -> Float[Tensor, "b n d"]:
    """The features of all maps at some pixels of an image of h by w.

    A coarse map is read between its cells (bilinear, cell edges aligned
    with image edges), so nothing is upsampled that is not asked for.
    """
    row, column = pixels // w, pixels % w
    x = (2 * column + 1) / w - 1  # from -1 to 1, at pixel centres
    y = (2 * row + 1) / h - 1
    grid = torch.stack([x, y], -1)[:, :, None].to(maps[0])  # [b n 1 2]
    read = [
        F.grid_sample(m, grid, padding_mode="border", align_corners=False)
        for m in maps
    ]  # of [b c n 1]
    return torch.cat(read, 1)[..., 0].transpose(1, 2)


class PixelNet(nn.Module):
    """Convolutions at several scales; a head that sees one pixel at a time.

    Two 3x3 convolutions a scale, the first of each but the finest with
    stride 2. The hypercolumn of a pixel holds what all scales say there;
    three linear layers (1x1 convolutions, were they run everywhere) make
    `outputs` numbers of it: logits of classes, or a normal. `pixels` names
    those to answer for; without it all are answered, row by row. Raises
    `ValueError` for no scale and for sizes of images that the strides do
    not divide.
    """

    def __init__(
        self,
        *,
        outputs: int,
        widths: Sequence[int] = (8, 16, 24, 32),
        hidden: int = 32,
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError("widths = (): give the channels of 1 scale or more")
        self.scales = nn.ModuleList()
        for i, width in enumerate(widths):
            inputs, stride = (widths[i - 1], 2) if i else (3, 1)
            self.scales.append(scale(inputs, width, stride))
        self.head = nn.Sequential(
            nn.Linear(sum(widths), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"],
        pixels: Int[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n outputs"]:
        b, _, h, w = images.shape
        check_size(h, w, len(self.scales))
        if pixels is None:
            every = torch.arange(h * w, device=images.device)
            pixels = every.expand(b, -1)
        x, maps = images, []
        for convolutions in self.scales:
            x = convolutions(x)  # [b c h w], then [b c h/2 w/2] …
            maps.append(x)
        return self.head(hypercolumns(maps, pixels, h, w))


def scale(inputs: int, width: int, stride: int) -> nn.Sequential:
    """Two convolutions of 3x3 with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def check_size(h: int, w: int, scales: int) -> None:
    if h % (step := 2 ** (scales - 1)) or w % step:
        raise ValueError(f"images of {h} by {w}: {scales} scales want sizes that divide by {step}; pad or resize")
