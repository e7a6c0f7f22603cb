"""Optical flow against scikit-image's."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

from benchmarks.harness import Pair
from helpers.video.optical_flow import horn_schunck, lucas_kanade

PAIRS = 11  # a call takes up to a second
RADIUS, WARPS = 3, 5  # the same window and as many corrections on both sides
MOTION = (1.0, -0.5)  # pixels to the right and down


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """One large pair of grey frames, and many small ones, which scikit-image takes one by one.

    Both sides return the usual flow to the nearest half of a pixel: the methods differ in what they make of a border.
    """
    sizes = {"1 x 256 x 256": (1, 256), "14 x 64 x 64": (14, 64)} if not tiny else {"2 x 48 x 48": (2, 48)}
    ilk = partial(optical_flow_ilk, radius=RADIUS, num_warp=WARPS)
    ours = partial(lucas_kanade, window=2 * RADIUS + 1, steps=WARPS)
    for size, (n, side) in sizes.items():
        first, second = texture(n, side, device), texture(n, side, device, *MOTION)
        yield Pair(f"Lucas-Kanade, {size}", "optical_flow_ilk", *sides(ours, ilk, first, second))
        yield Pair(f"Horn-Schunck, {size}", "optical_flow_tvl1", *sides(horn_schunck, optical_flow_tvl1, first, second))


def texture(n: int, side: int, device: torch.device, right: float = 0.0, down: float = 0.0) -> torch.Tensor:
    """Waves of random directions, moved, in 0 … 1."""
    random = torch.Generator().manual_seed(0)
    place = torch.arange(float(side))
    y, x = torch.meshgrid(place - down, place - right, indexing="ij")
    waves = torch.rand(n, 6, 3, 1, 1, generator=random)
    angles = 0.9 * (waves[:, :, 0] - 0.5) * x + 0.9 * (waves[:, :, 1] - 0.5) * y + 6.3 * waves[:, :, 2]
    return (0.5 + 0.5 * angles.sin().mean(1, keepdim=True)).to(device)


def sides(ours, theirs, first: torch.Tensor, second: torch.Tensor):
    """Both take frames as torch has them, and return the median flow of each pair."""

    def usual(flow: torch.Tensor) -> torch.Tensor:
        return (2 * flow.flatten(2).median(2).values).round() / 2

    def other() -> torch.Tensor:
        grey = (x[:, 0].cpu().numpy() for x in (first, second))
        found = [theirs(a, b)[::-1] for a, b in zip(*grey)]
        return usual(torch.from_numpy(np.stack(found)).to(first))

    return lambda: usual(ours(first, second)), other
