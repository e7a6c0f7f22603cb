"""Sizes, parameters and multiply-adds of convolution and pooling layers (Dumoulin & Visin 2016, arXiv:1603.07285).

Every size is one integer or a tuple (or list) with one integer for each dimension; beside a tuple, an integer stands for
all dimensions. An impossible setting raises `ValueError` exactly where torch raises, and says which number is too large.
"""

from collections.abc import Callable, Iterable
from math import prod
from operator import index
from typing import Any, SupportsIndex

Size = SupportsIndex | Iterable[SupportsIndex]
Padding = Size | str


def conv_output_size(
    size: Size,
    kernel: Size,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
) -> Size:
    """The number of places where a kernel fits into an input.

    `padding` counts the zeros on either side, or is "valid" (none),
    "same" (as many as keep the size, for stride 1) or "full" (so many
    that the kernel need only touch the input).
    """

    def one(size, kernel, stride, padding, dilation):
        _at_least(1, size=size, kernel=kernel, stride=stride)
        _at_least(1, dilation=dilation)
        span = dilation * (kernel - 1) + 1
        padded = size + _both_sides(padding, span, stride)
        if span > padded:
            raise _too_large(size, kernel, dilation, padded)
        return (padded - span) // stride + 1

    return _per_dimension(one, size, kernel, stride, padding, dilation)


def conv_transpose_output_size(
    size: Size,
    kernel: Size,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
) -> Size:
    """The size that a transposed convolution makes of `size`.

    It inverts `conv_output_size`. A stride s maps s neighbouring sizes
    to one; `output_padding`, from 0 to s - 1, says which to return to.
    """

    def one(size, kernel, stride, padding, extra, dilation):
        _at_least(1, size=size, kernel=kernel, stride=stride)
        _at_least(1, dilation=dilation)
        _at_least(0, padding=padding, output_padding=extra)
        if extra >= max(stride, dilation):
            raise _too_much_extra(extra, stride, dilation)
        span = dilation * (kernel - 1) + 1
        uncut = (size - 1) * stride + span + extra
        if uncut <= 2 * padding:
            raise _cuts_all(padding, uncut)
        return uncut - 2 * padding

    settings = size, kernel, stride, padding, output_padding, dilation
    return _per_dimension(one, *settings)


def pool_output_size(
    size: Size,
    kernel: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Size:
    """The number of windows of a pooling layer; no stride means `kernel`.

    `ceil_mode` counts a last window that hangs over the right edge too,
    if it starts inside the input or in the padding on the left. Refuses
    what `torch.nn.MaxPool2d` refuses, so a padding of more than half the
    kernel. (`torch.nn.AvgPool3d` alone also refuses a kernel larger than
    the unpadded input.)
    """

    def one(size, kernel, stride, padding, dilation):
        _at_least(1, size=size, kernel=kernel, stride=stride)
        _at_least(1, dilation=dilation)
        _at_least(0, padding=padding)
        if padding > kernel // 2:
            raise _empty_window(padding, kernel)
        room = size + 2 * padding - dilation * (kernel - 1) - 1
        count = room // stride + 1
        if ceil_mode:
            count = -(-room // stride) + 1
            if (count - 1) * stride >= size + padding:
                count -= 1  # that window would start in the right padding
        if count < 1:
            raise _too_large(size, kernel, dilation, size + 2 * padding)
        return count

    stride = kernel if stride is None else stride
    return _per_dimension(one, size, kernel, stride, padding, dilation)


def conv_parameters(
    in_channels: int,
    out_channels: int,
    kernel: Size,
    bias: bool = True,
    groups: int = 1,
) -> int:
    """Weights and biases; an integer kernel is a square of two dimensions."""
    _at_least(1, in_channels=in_channels, out_channels=out_channels)
    _at_least(1, groups=groups)
    _divisible(groups, in_channels=in_channels, out_channels=out_channels)
    taps = prod(_square(kernel=kernel))
    weights_per_filter = in_channels // groups * taps
    return out_channels * (weights_per_filter + bias)


def conv_multiply_adds(
    in_channels: int,
    out_channels: int,
    kernel: Size,
    output_size: Size,
    groups: int = 1,
) -> int:
    """Multiply-adds for one image: every weight works once at each place.

    Products with the zeros of the padding count, as the machine computes
    them. The bias is what a sum starts from and costs nothing. In a
    transposed convolution every weight works once at each *input* pixel:
    pass the input's size.
    """
    options = dict(bias=False, groups=groups)
    weights = conv_parameters(in_channels, out_channels, kernel, **options)
    return weights * prod(_square(output_size=output_size))


def conv_flops(
    in_channels: int,
    out_channels: int,
    kernel: Size,
    output_size: Size,
    groups: int = 1,
) -> int:
    """Floating point operations for one image: a multiply-add is two.

    Exact with a bias; without one each output saves an addition, which is
    customarily not deducted. Many papers write FLOPs for multiply-adds,
    half of this number.
    """
    channels = in_channels, out_channels
    return 2 * conv_multiply_adds(*channels, kernel, output_size, groups)


def plain(setting: Any) -> Any:
    """An integer, or a tuple of integers, out of lists, arrays and shapes; a word stays a word."""
    if isinstance(setting, str):
        return setting
    try:
        return index(setting)
    except TypeError:
        pass
    try:
        return tuple(plain(value) for value in setting)
    except TypeError:
        raise ValueError(f"{setting!r}: a size is an integer, or a tuple with one for each dimension") from None


def _per_dimension(one: Callable[..., int], *settings: Padding) -> Size:
    """Apply `one` to each dimension in turn; to integers alone, apply it once."""
    settings = tuple(plain(s) for s in settings)
    lengths = sorted({len(s) for s in settings if isinstance(s, tuple)})
    if not lengths:
        return one(*settings)
    if len(lengths) > 1 or not lengths[0]:
        raise ValueError(
            f"tuples of lengths {lengths} in {settings}: give one number for each dimension, or one for all"
        )
    columns = [s if isinstance(s, tuple) else (s,) * lengths[0] for s in settings]
    return tuple(one(*dimension) for dimension in zip(*columns))


def _both_sides(padding: int | str, span: int, stride: int) -> int:
    """Zeros on both sides together, for a kernel that spans `span` pixels."""
    if padding == "same" and stride > 1:
        raise ValueError(
            f"stride = {stride} is too large for padding 'same', which keeps the size: give it as a number"
        )
    named = {"valid": 0, "same": span - 1, "full": 2 * (span - 1)}
    if padding in named:
        return named[padding]
    if isinstance(padding, str):
        raise ValueError(f"padding = {padding!r}: it is a number, 'valid', 'same' or 'full'")
    _at_least(0, padding=padding)
    return 2 * padding


def _square(**setting: Size) -> tuple[int, ...]:
    """The sizes of a setting; an integer is a square of two dimensions."""
    ((name, size),) = setting.items()
    size = plain(size)
    sizes = size if isinstance(size, tuple) else (size, size)
    for value in sizes:
        _at_least(1, **{name: value})
    return sizes


def _at_least(least: int, **settings: Any) -> None:
    for name, value in settings.items():
        try:
            number = index(value)
        except TypeError:
            raise ValueError(f"{name} = {value!r}: it is an integer") from None
        if number < least:
            raise ValueError(f"{name} = {value}: it is at least {least}")


def _divisible(groups: int, **channels: int) -> None:
    for name, value in channels.items():
        if value % groups:
            raise ValueError(f"{name} = {value}: groups = {groups} must divide it")


def _too_large(size: int, kernel: int, dilation: int, padded: int) -> ValueError:
    span = dilation * (kernel - 1) + 1
    spans = f" with dilation {dilation} spans {span}" if dilation > 1 else ""
    need = -(-(span - size) // 2)
    return ValueError(
        f"kernel {kernel}{spans} but the padded input is {padded}: "
        f"shrink the kernel, or pad the input of {size} by {need} on either side"
    )


def _too_much_extra(extra: int, stride: int, dilation: int) -> ValueError:
    return ValueError(
        f"output_padding = {extra} is too large: it stays below the stride ({stride}) or the dilation ({dilation})"
    )


def _cuts_all(padding: int, uncut: int) -> ValueError:
    return ValueError(f"padding = {padding} is too large: it cuts {2 * padding} from an output of {uncut}")


def _empty_window(padding: int, kernel: int) -> ValueError:
    return ValueError(
        f"padding = {padding} is too large for a pooling kernel of {kernel}: at most half of it, {kernel // 2}"
    )
