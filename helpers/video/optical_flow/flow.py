"""Optical flow: where each pixel goes from one frame to the next.

Lucas & Kanade 1981, in pyramids (Bouguet 2001); Horn & Schunck 1981, with
warping. Flow is [b 2 h w] in pixels, channel 0 right and channel 1 down,
as in `helpers.data.scenes`; frames are in 0 … 1, of any channels."""

from collections.abc import Callable, Iterator
from math import inf, pi

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from helpers.video.optical_flow.checks import check_axes, check_numbers

SMALLEST = 16  # pixels on a side of the coarsest frames of a pyramid


def warp(
    frames: Float[Tensor, "b c h w"], flow: Float[Tensor, "_ 2 _ _"]
) -> Float[Tensor, "b c h w"]:
    """Fetch for each pixel what lies where the flow leads.

    Bilinear; outside the frame its border goes on. The second frame warped
    by the flow is the first. A flow that is no number fetches none. Places
    are computed in float32 at the least: half precision cannot tell
    neighbours apart. Raises `ValueError` for other axes and sizes.
    """
    check_axes(frames, "b c h w", "frames")
    check_axes(flow, "b 2 h w", "flow")
    check_sizes(frames, flow)
    kept, (h, w) = frames.dtype, frames.shape[2:]
    frames, flow = precise(frames, flow)
    y, x = torch.meshgrid(
        torch.arange(h, device=flow.device, dtype=flow.dtype),
        torch.arange(w, device=flow.device, dtype=flow.dtype),
        indexing="ij",
    )
    at_x = (2 * (x + flow[:, 0]) + 1) / w - 1  # centres of pixels, -1 … 1
    at_y = (2 * (y + flow[:, 1]) + 1) / h - 1
    grid = torch.stack([at_x, at_y], 3)  # [b h w 2]
    fetched = F.grid_sample(
        frames,
        grid,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    nowhere = grid.isnan().any(3)[:, None]  # grid_sample takes a border
    return torch.where(nowhere, torch.nan, fetched).to(kept)


def endpoint_error(
    flow: Float[Tensor, "b 2 h w"],
    truth: Float[Tensor, "b 2 h w"],
    valid: Bool[Tensor, "b h w"] | None = None,
) -> Float[Tensor, ""]:
    """The mean distance between where two flows lead, in pixels.

    Over all pixels, or the `valid` ones. Raises `ValueError` if none is,
    for shapes that differ, for a mask that is not one of truth values, and
    where a flow that counts is no number.
    """
    check_axes(flow, "b 2 h w", "flow")
    check_axes(truth, "b 2 h w", "truth")
    if flow.shape != truth.shape:
        raise ValueError(
            f"flow of shape {tuple(flow.shape)}, truth of "
            f"{tuple(truth.shape)}: give one truth for each flow"
        )
    flow, truth = precise(flow, truth)
    apart = torch.linalg.vector_norm(flow - truth, dim=1)
    if valid is not None:
        if valid.shape != apart.shape or valid.dtype != torch.bool:
            raise ValueError(
                f"valid of shape {tuple(valid.shape)}, {valid.dtype}: give "
                f"truth values [b h w], as {tuple(apart.shape)}"
            )
        if not valid.any():
            raise ValueError("valid = False everywhere: no pixel to compare")
        apart = apart[valid]
    if not apart.numel():
        raise ValueError(
            f"flow of shape {tuple(flow.shape)}: no pixel to compare"
        )
    check_numbers(apart, "distances", "leave out unknown flow by valid")
    return apart.mean()


def derivatives(
    first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h w"]
) -> tuple[Float[Tensor, "b c h w"], ...]:
    """I_x, I_y and I_t: the mean of both frames' slopes, and the change."""
    both = (first + second) / 2
    x = F.pad(both, (1, 1, 0, 0), mode="replicate")
    y = F.pad(both, (0, 0, 1, 1), mode="replicate")
    slope_x = (x[..., 2:] - x[..., :-2]) / 2
    slope_y = (y[..., 2:, :] - y[..., :-2, :]) / 2
    return slope_x, slope_y, second - first


Refine = Callable[[Tensor, Tensor, Tensor], Tensor]


def lucas_kanade(
    first: Float[Tensor, "b c h w"],
    second: Float[Tensor, "_ c _ _"],
    *,
    window: int = 7,
    levels: int | None = None,
    steps: int = 5,
    least: float = 1e-3,
) -> Float[Tensor, "b 2 h w"]:
    """Each pixel moves as the `window` around it does on the average.

    The least squares of I_x u + I_y v + I_t = 0 over a square of `window`
    pixels. Large motions are found on small frames first, `levels` of
    them, and corrected `steps` times on each; each pixel's equation is for
    its whole flow, as neighbours were warped by flows of their own.
    `least` is added to the diagonal: where nothing is to be seen the flow
    stays as it was. Half precision is computed in float32. Raises
    `ValueError` for frames of different size, an even window, a negative
    `least`, no steps, and more levels than the frames allow.
    """
    if window < 3 or window % 2 == 0:
        raise ValueError(f"window = {window}: an odd number from 3 on")
    if not least >= 0:
        raise ValueError(f"least = {least}: 0 or a little more")

    def refine(first, second, flow):
        x, y, t = derivatives(first, warp(second, flow))
        t = t - x * flow[:, :1] - y * flow[:, 1:]  # for the whole flow
        products = torch.stack([x * x, x * y, y * y, x * t, y * t])
        products = products.sum(2)  # over channels: [5 b h w]
        margin = (window // 2,) * 4
        products = F.pad(products, margin, mode="replicate")
        xx, xy, yy, xt, yt = F.avg_pool2d(products, window, 1)
        down = determinant(xx, xy, yy, least)[:, None]
        xx, yy = xx + least, yy + least
        a, b = least * flow[:, 0] - xt, least * flow[:, 1] - yt
        both = torch.stack([yy * a - xy * b, xx * b - xy * a], 1)
        return torch.where(down == 0, flow, both / down)

    return coarse_to_fine(first, second, levels, steps, refine)


def horn_schunck(
    first: Float[Tensor, "b c h w"],
    second: Float[Tensor, "_ c _ _"],
    *,
    smoothness: float = 0.1,
    iterations: int = 60,
    levels: int | None = None,
    steps: int = 3,
) -> Float[Tensor, "b 2 h w"]:
    """Each pixel keeps its brightness, and neighbours move alike.

    Minimises the sum over pixels of (I_x u + I_y v + I_t)² + α² (‖∇u‖² +
    ‖∇v‖²), with α = `smoothness`, by Jacobi's `iterations`; on a pyramid
    of `levels`, after `steps` warps on each. Raises `ValueError` as
    `lucas_kanade`, for a smoothness that is not positive, and for no
    iterations.
    """
    if not 0 < smoothness < inf:
        raise ValueError(
            f"smoothness = {smoothness}: without it, where nothing is to be "
            "seen nothing is defined; give a positive number"
        )
    if iterations < 1:
        raise ValueError(f"iterations = {iterations}: 1 at the least")

    def refine(first, second, flow):
        x, y, t = derivatives(first, warp(second, flow))
        t = t - x * flow[:, :1] - y * flow[:, 1:]  # for the whole flow
        xx, xy, yy = (x * x).sum(1), (x * y).sum(1), (y * y).sum(1)
        xt, yt = (x * t).sum(1), (y * t).sum(1)
        stiff = 4 * smoothness**2  # a pixel has four neighbours
        down = determinant(xx, xy, yy, stiff)
        for _ in range(iterations):
            u, v = neighbours(flow).unbind(1)
            a, b = stiff * u - xt, stiff * v - yt
            flow = torch.stack(
                [
                    ((yy + stiff) * a - xy * b) / down,
                    ((xx + stiff) * b - xy * a) / down,
                ],
                1,
            )
        return flow

    return coarse_to_fine(first, second, levels, steps, refine)


def determinant(xx, xy, yy, more):
    """(xx + more) (yy + more) - xy², without what rounding takes below 0.

    On an edge the two products are equal and large beside `more`.
    """
    return (xx * yy - xy * xy).clamp(min=0) + more * (xx + yy + more)


def neighbours(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The mean of the four neighbours of each pixel."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = x[:, :, 1:-1, 2:] + x[:, :, 1:-1, :-2]
    return (across + x[:, :, 2:, 1:-1] + x[:, :, :-2, 1:-1]) / 4


def coarse_to_fine(
    first: Tensor,
    second: Tensor,
    levels: int | None,
    steps: int,
    refine: Refine,
) -> Tensor:
    """Find the flow on small frames, then better it on larger ones."""
    check_axes(first, "b c h w", "frames")
    check_axes(second, "b c h w", "frames")
    check_sizes(first, second)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"frames of {first.shape[1]} and of {second.shape[1]} channels: "
            "give both in the same"
        )
    if steps < 1:
        raise ValueError(f"steps = {steps}: 1 at the least on each level")
    kept = first.dtype
    first, second = precise(first, second)
    most = deepest(first.shape[2:])
    levels = min(most, 6) if levels is None else levels
    if not 1 <= levels <= most:
        h, w = first.shape[2:]
        raise ValueError(
            f"levels = {levels}: frames of {h}x{w} pixels allow 1 to {most}, "
            f"so that the smallest have {SMALLEST}"
        )
    flow = None
    for small, other in zip(pyramid(first, levels), pyramid(second, levels)):
        size = small.shape[2:]
        if flow is None:
            flow = torch.zeros_like(small[:, :1]).repeat(1, 2, 1, 1)
        else:
            scale = [n / m for n, m in zip(size[::-1], flow.shape[:1:-1])]
            flow = F.interpolate(flow, size, mode="bilinear")
            flow = flow * flow.new_tensor(scale)[:, None, None]
        for _ in range(steps):
            flow = refine(small, other, flow)
    return flow.to(kept)


def pyramid(
    frames: Float[Tensor, "b c h w"], levels: int
) -> Iterator[Float[Tensor, "b c _ _"]]:
    """The frames at half the size of the next, the smallest first."""
    smaller = [frames]
    for _ in range(levels - 1):
        h, w = smaller[-1].shape[2:]
        size = (-(-h // 2), -(-w // 2))
        smaller.append(
            F.interpolate(
                smaller[-1], size, mode="bilinear", antialias=True
            )
        )
    return reversed(smaller)


def deepest(size):
    """The most levels whose smallest frames keep `SMALLEST` pixels."""
    side, levels = min(size), 1
    while -(-side // 2) >= SMALLEST:
        side, levels = -(-side // 2), levels + 1
    return levels


def colour_wheel() -> Float[Tensor, "55 3"]:
    """55 hues in 0 … 255, red to yellow to green and around to red again.

    Steps are smaller where eyes tell hues apart (Baker et al. 2011).
    """
    steps = (15, 6, 4, 11, 13, 6)  # to yellow, green, cyan, blue, magenta
    corners = torch.tensor(
        [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]
    )
    corners = 255 * torch.cat([corners, corners[:1]]).float()
    return torch.cat(
        [
            a + ((b - a) * torch.arange(n)[:, None] / n).trunc()
            for n, a, b in zip(steps, corners, corners[1:])
        ]
    )


def flow_to_rgb(
    flow: Float[Tensor, "b 2 h w"], longest: float | None = None
) -> Float[Tensor, "b 3 h w"]:
    """Colour says whereto, depth of colour how far: white is rest.

    Lengths are divided by `longest`, without it by the longest of the
    batch. Motions beyond it are darkened, and what is no number is black.
    Values in 0 … 1. Raises `ValueError` for a `longest` that is not
    positive.
    """
    check_axes(flow, "b 2 h w", "flow")
    kept, (flow,) = flow.dtype, precise(flow)
    known = flow.isfinite().all(1, keepdim=True)
    flow = torch.where(known, flow, 0)
    length = torch.linalg.vector_norm(flow, dim=1)
    if longest is None:
        longest = float(length.max())
    elif not 0 < longest < inf:
        raise ValueError(
            f"longest = {longest}: a positive number of pixels, or None"
        )
    u, v = (flow / max(longest, 1e-5)).unbind(1)
    length = torch.hypot(u, v)[:, None]
    wheel = colour_wheel().to(flow) / 255
    angle = torch.atan2(-v, -u) / pi  # -1 … 1
    place = (angle + 1) / 2 * (len(wheel) - 1)
    below = place.floor()
    share = (place - below)[:, None]
    one, other = (
        wheel[((below + i) % len(wheel)).long()].permute(0, 3, 1, 2)
        for i in (0, 1)
    )
    hue = (1 - share) * one + share * other
    seen = torch.where(length <= 1, 1 - length * (1 - hue), 0.75 * hue)
    return torch.where(known, seen, 0).to(kept)


def precise(*tensors):
    """All in one dtype, float32 at the least."""
    dtype = torch.float32
    for x in tensors:
        dtype = torch.promote_types(dtype, x.dtype)
    return [x.to(dtype) for x in tensors]


def check_sizes(first, second):
    """Refuse frames, or a flow, of another size."""
    if first.shape[2:] != second.shape[2:] or len(first) != len(second):
        a, b = ("x".join(map(str, x.shape)) for x in (first, second))
        raise ValueError(
            f"{a} and {b}: frames and flow are of one size, as many of each; "
            "resize or crop them"
        )
