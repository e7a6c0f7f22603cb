"""PixelNet: hypercolumns at sampled pixels, a head of three layers for each (Bansal et al. 2017, arXiv:1702.06506)."""

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
    """Convolutions at three scales; a head that sees one pixel at a time.

    The hypercolumn of a pixel holds what all three maps say there; three
    linear layers (1x1 convolutions, were they run everywhere) make class
    logits of it. `pixels` names those to answer for; without it all are
    answered, row by row. Sizes of images divide by 4.
    """

    def __init__(
        self, *, classes: int, channels: int = 8, hidden: int = 32
    ) -> None:
        super().__init__()
        c = channels
        self.fine = nn.Conv2d(3, c, 3, padding=1)
        self.middle = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(2 * c, 4 * c, 3, stride=2, padding=1)
        self.head = nn.Sequential(
            nn.Linear(7 * c, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"],
        pixels: Int[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n k"]:
        b, _, h, w = images.shape
        if pixels is None:
            every = torch.arange(h * w, device=images.device)
            pixels = every.expand(b, -1)
        fine = self.fine(images).relu()      # [b c h w]
        middle = self.middle(fine).relu()    # [b 2c h/2 w/2]
        coarse = self.coarse(middle).relu()  # [b 4c h/4 w/4]
        columns = hypercolumns([fine, middle, coarse], pixels, h, w)
        return self.head(columns)
