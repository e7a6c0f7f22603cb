"""Convolution and pooling as their definitions read, and the matrix of a convolution: slow, short, and checked."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from helpers.convnets.output_size.arithmetic import conv_output_size, conv_transpose_output_size, pool_output_size


def conv2d_by_hand(
    image: Float[Tensor, "c h w"],
    kernel: Float[Tensor, "o c kh kw"],
    bias: Float[Tensor, " o"] | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Float[Tensor, "o oh ow"]:
    """Slide the kernel, multiply what lies under it, add up.

    Raises `ValueError` where channels or sizes do not fit.
    """
    _fits(image, kernel.shape[1], kernel.shape[0], bias)
    filters, k = len(kernel), tuple(kernel.shape[2:])
    settings = k, stride, padding, dilation
    rows, columns = conv_output_size(tuple(image.shape[1:]), *settings)
    image = F.pad(image, 4 * [padding])
    output = image.new_zeros(filters, rows, columns)
    for i in range(rows):
        for j in range(columns):
            window = image[:, i * stride :, j * stride :]
            window = window[:, ::dilation, ::dilation][:, : k[0], : k[1]]
            output[:, i, j] = (window * kernel).sum((1, 2, 3))
    return output if bias is None else output + bias[:, None, None]


def conv_transpose2d_by_hand(
    image: Float[Tensor, "c h w"],
    kernel: Float[Tensor, "c o kh kw"],
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "o oh ow"]:
    """Each pixel stamps a copy of the kernel; copies that overlap add up.

    Raises `ValueError` where channels or sizes do not fit, and for padding that leaves nothing.
    """
    _fits(image, kernel.shape[0])
    (rows, columns), (kh, kw) = image.shape[1:], kernel.shape[2:]
    conv_transpose_output_size((rows, columns), (kh, kw), stride, padding)  # refuses what is impossible
    size = conv_transpose_output_size((rows, columns), (kh, kw), stride)
    output = image.new_zeros(kernel.shape[1], *size)
    for i in range(rows):
        for j in range(columns):
            stamp = (image[:, i, j, None, None, None] * kernel).sum(0)
            top, left = i * stride, j * stride
            output[:, top : top + kh, left : left + kw] += stamp
    return output[:, padding : size[0] - padding, padding : size[1] - padding]


def overlap_counts(
    size: int,
    kernel: int,
    stride: int,
) -> Float[Tensor, "h w"]:
    """How many stamps of a transposed convolution land on each pixel."""
    ones = torch.ones(1, size, size), torch.ones(1, 1, kernel, kernel)
    return conv_transpose2d_by_hand(*ones, stride)[0]


def toeplitz_matrix(
    kernel: Float[Tensor, "o c kh kw"],
    input_shape: tuple[int, int, int],
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "outputs inputs"]:
    """The matrix T with T x = conv(x): one row an output, one column a pixel.

    Rows run over (o, row, column), columns over (c, h, w), as `flatten`
    orders them. Along a row stands the kernel; with stride 1 the next row
    holds it one place further, which makes T block Toeplitz.
    """
    (o, c, kh, kw), (channels, h, w), p = kernel.shape, input_shape, padding
    if c != channels:
        raise ValueError(f"the kernel takes {c} channels, not {channels}")
    rows, columns = conv_output_size((h, w), (kh, kw), stride, p)
    T = kernel.new_zeros(o, rows, columns, c, h + 2 * p, w + 2 * p)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            T[:, i, j, :, top : top + kh, left : left + kw] = kernel
    T = T[..., p : p + h, p : p + w]  # the columns of padding meet zeros
    return T.reshape(o * rows * columns, c * h * w)


def max_pool_by_hand(
    x: Float[Tensor, "b c h w"],
    kernel: int,
    stride: int | None = None,
) -> tuple[Float[Tensor, "b c oh ow"], Int64[Tensor, "b c oh ow"]]:
    """The largest pixel of each window, and which of its pixels that was."""
    return windows(x, kernel, stride).max(-1)


def max_pool_gradient(
    gradient: Float[Tensor, "b c oh ow"],
    winners: Int64[Tensor, "b c oh ow"],
    size: tuple[int, int],
    kernel: int,
    stride: int | None = None,
) -> Float[Tensor, "b c h w"]:
    """All of an output's gradient goes to the pixel that won.

    `size` is that of the pool's input, of `winners` `max_pool_by_hand`'s.
    """
    shares = F.one_hot(winners, kernel**2) * gradient[..., None]
    return scatter(shares, size, kernel, stride)


def average_pool_by_hand(
    x: Float[Tensor, "b c h w"],
    kernel: int,
    stride: int | None = None,
) -> Float[Tensor, "b c oh ow"]:
    """The mean of each window."""
    return windows(x, kernel, stride).mean(-1)


def average_pool_gradient(
    gradient: Float[Tensor, "b c oh ow"],
    size: tuple[int, int],
    kernel: int,
    stride: int | None = None,
) -> Float[Tensor, "b c h w"]:
    """Every pixel of a window gets the same share of its gradient."""
    shares = gradient[..., None].expand(*gradient.shape, kernel**2)
    return scatter(shares / kernel**2, size, kernel, stride)


def windows(
    x: Float[Tensor, "b c h w"],
    kernel: int,
    stride: int | None = None,
) -> Float[Tensor, "b c oh ow window"]:
    """The pixels under each place of the window, row by row."""
    stride = kernel if stride is None else stride
    pool_output_size(tuple(x.shape[2:]), kernel, stride)  # or refuse
    return x.unfold(2, kernel, stride).unfold(3, kernel, stride).flatten(4)


def scatter(
    shares: Float[Tensor, "b c oh ow window"],
    size: tuple[int, int],
    kernel: int,
    stride: int | None = None,
) -> Float[Tensor, "b c h w"]:
    """Put the numbers of each window back on its pixels; overlaps add."""
    stride = kernel if stride is None else stride
    b, c, rows, columns, _ = shares.shape
    if pool_output_size(size, kernel, stride) != (rows, columns):
        raise ValueError(
            f"size = {size}: kernel {kernel} and stride {stride} make "
            f"{pool_output_size(size, kernel, stride)} of it, not "
            f"{(rows, columns)}"
        )
    x = shares.new_zeros(b, c, *size)
    for i in range(rows):
        for j in range(columns):
            window = shares[:, :, i, j].unflatten(-1, (kernel, kernel))
            top, left = i * stride, j * stride
            x[:, :, top : top + kernel, left : left + kernel] += window
    return x


def _fits(image: Tensor, channels: int, filters: int = 1, bias: Tensor | None = None) -> None:
    """Refuse what broadcasting would stretch in silence."""
    if len(image) != channels:
        raise ValueError(f"the kernel takes {channels} channels, the image has {len(image)}")
    if bias is not None and len(bias) != filters:
        raise ValueError(f"{len(bias)} biases for {filters} filters: one for each")
