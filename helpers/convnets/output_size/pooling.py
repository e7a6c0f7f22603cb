"""Pools whose windows follow the size of the image: adaptive (He et al. 2014, arXiv:1406.4729), global (Lin et al. 2014,
arXiv:1312.4400) and fractional (Graham 2014, arXiv:1412.6071)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.convnets.output_size.arithmetic import plain


def adaptive_windows(size: int, count: int) -> list[slice]:
    """`count` windows over `size` pixels, as equal as whole pixels allow.

    Window i runs from floor(i size / count) to ceil((i + 1) size / count):
    no pixel is left out, and windows share one where the division has a
    rest. Raises `ValueError` for less than one pixel or window.
    """
    if size < 1 or count < 1:
        raise ValueError(f"size = {size}, count = {count}: each is at least 1")
    starts = [i * size // count for i in range(count)]
    ends = [-(-(i + 1) * size // count) for i in range(count)]
    return [slice(start, end) for start, end in zip(starts, ends)]


def adaptive_average_pool(
    x: Float[Tensor, "b c h w"],
    size: int | tuple[int, int],
) -> Float[Tensor, "b c oh ow"]:
    """The mean of each window, `size` of them whatever the image's size."""
    rows, columns = _two("size", size)
    rows = adaptive_windows(x.shape[2], rows)
    columns = adaptive_windows(x.shape[3], columns)
    means = [x[:, :, i, j].mean((2, 3)) for i in rows for j in columns]
    return torch.stack(means, -1).unflatten(-1, (len(rows), len(columns)))


def global_average_pool(
    x: Float[Tensor, "b c h w"],
) -> Float[Tensor, "b c"]:
    """The mean of each channel over all places: one window."""
    return x.mean((2, 3))


def fractional_starts(
    size: int,
    kernel: int,
    count: int,
    offset: Float[Tensor, "*n"],
) -> Int64[Tensor, "*n count"]:
    """Where `count` windows of `kernel` of `size` pixels begin.

    Steps of a = (size - kernel) / (count - 1) pixels, rounded down from
    an offset u in [0, 1): window i begins at floor(a (i + u)) - floor(a u),
    the last at size - kernel. With a between 1 and 2 the steps are of 1 and
    of 2 pixels, and u says which are which.
    """
    if not 1 <= count <= size - kernel + 1:
        raise ValueError(
            f"{count} windows of {kernel} pixels do not fit into {size}: "
            f"at most {size - kernel + 1}, one a pixel"
        )
    step = torch.full_like(offset, size - kernel) / max(count - 1, 1)
    i = torch.arange(count).to(offset)
    starts = ((i + offset[..., None]) * step[..., None]).long()
    starts = starts - (offset * step).long()[..., None]
    starts[..., -1] = size - kernel
    return starts


def fractional_max_pool(
    x: Float[Tensor, "b c h w"],
    kernel: int,
    size: int | tuple[int, int],
    offsets: Float[Tensor, "b c 2"],
) -> Float[Tensor, "b c oh ow"]:
    """The largest pixel of windows that lie as `offsets` say.

    `offsets` in [0, 1) belong to columns and rows of each image and
    channel; `size` is the number of windows along either axis.
    """
    (oh, ow), (h, w) = _two("size", size), x.shape[2:]
    taps = torch.arange(kernel, device=x.device)
    top = fractional_starts(h, kernel, oh, offsets[..., 1])
    left = fractional_starts(w, kernel, ow, offsets[..., 0])
    rows = top[..., :, None, None, None] + taps[:, None]  # b c oh 1 k 1
    columns = left[..., None, :, None, None] + taps  # b c 1 ow 1 k
    pixels = (rows * w + columns).flatten(2)  # b c oh*ow*k*k
    windows = x.flatten(2).gather(2, pixels)
    return windows.unflatten(2, (oh, ow, kernel**2)).max(-1).values


class FractionalMaxPool(nn.Module):
    """A pool that divides sides by a number such as the root of 2.

    Windows of `kernel` pixels, as many as `ratio` times the side, rounded
    down; where they lie is drawn anew in each call, at test time too, so
    that several passes over an image can vote.
    """

    def __init__(self, kernel: int, ratio: float):
        super().__init__()
        if kernel < 1 or not 0 < ratio < 1:
            raise ValueError(
                f"kernel = {kernel}, ratio = {ratio}: a kernel is at least "
                "1, a ratio lies between 0 and 1"
            )
        self.kernel, self.ratio = kernel, ratio

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c oh ow"]:
        size = tuple(int(side * self.ratio) for side in x.shape[2:])
        offsets = torch.rand(*x.shape[:2], 2, device=x.device, dtype=x.dtype)
        return fractional_max_pool(x, self.kernel, size, offsets)


def _two(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    sizes = plain(size)
    sizes = sizes if isinstance(sizes, tuple) else (sizes, sizes)
    if len(sizes) != 2:
        raise ValueError(f"{name} = {size}: rows and columns, or one number for both")
    return sizes
