"""Light that flickers, and frames that do not show it: a third stream.

Differences of frames are an input of their own in Wang et al. 2016
(arXiv:1608.00859); there without regard to the light."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from helpers.video.optical_flow.checks import check_axes


def flicker(
    videos: Float[Tensor, "b f c h w"],
    strength: float,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b f c h w"]:
    """Film the clips again by a lamp that flickers and sways.

    A pixel at (x, y), both from -1 to 1, is multiplied by 1 + `strength`
    (a + b x + c y), with a, b and c drawn from -1 … 1 for each frame; what
    comes to lie outside 0 … 1 is cut. Raises `ValueError` for a strength
    outside 0 … 1/3: light would become negative.
    """
    if not 0 <= strength <= 1 / 3:
        raise ValueError(
            f"strength = {strength}: from 0 to 1/3, so that no light is "
            "negative"
        )
    check_axes(videos, "b f c h w", "videos")
    b, f, _, h, w = videos.shape
    drawn = 2 * torch.rand(3, b, f, 1, 1, 1, generator=generator) - 1
    lamp, right, down = drawn.to(videos)
    x = torch.linspace(-1, 1, w).to(videos)
    y = torch.linspace(-1, 1, h).to(videos)[:, None]
    light = 1 + strength * (lamp + right * x + down * y)
    return (videos * light).clamp(0, 1)


def even_light(
    videos: Float[Tensor, "b f c h w"],
    *,
    window: int = 7,
    least: float = 0.02,
) -> Float[Tensor, "b f 1 h w"]:
    """Grey frames in which each pixel is measured by its surroundings.

    Its distance from their mean, in units of their deviation (plus
    `least`), over a square of `window` pixels: another lamp leaves nearly
    the same. Raises `ValueError` for an even window, for frames that are
    smaller than half of it, and where `least` is not positive.
    """
    check_axes(videos, "b f c h w", "videos")
    h, w = videos.shape[3:]
    if window < 3 or window % 2 == 0 or window // 2 >= min(h, w):
        raise ValueError(
            f"window = {window}: an odd number from 3 on, below twice the "
            f"side of frames of {h}x{w} pixels"
        )
    if not least > 0:
        raise ValueError(
            f"least = {least}: a positive number, for plain ground has no "
            "deviation to divide by"
        )
    grey = videos.mean(2, keepdim=True).flatten(0, 1)

    def around(x):
        margin = (window // 2,) * 4
        return F.avg_pool2d(F.pad(x, margin, mode="reflect"), window, 1)

    off = grey - around(grey)
    even = off / (around(off.square()).sqrt() + least)
    return even.unflatten(0, videos.shape[:2])


def stack_changes(
    videos: Float[Tensor, "b f c h w"],
) -> Float[Tensor, "b (f-1)*c h w"]:
    """Lay over each other how each frame differs from the one before."""
    check_axes(videos, "b f c h w", "videos")
    return videos.diff(dim=1).flatten(1, 2)
