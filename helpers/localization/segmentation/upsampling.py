"""Upsampling: from a coarse map to a fine one, by a rule or by learned
weights.

Nearest neighbour and bilinear; transposed convolution, which begins as
bilinear (Long et al. 2015, arXiv:1411.4038); sub-pixel convolution (Shi et
al. 2016, arXiv:1609.05158); unpooling with the places of the maxima
(Zeiler & Fergus 2014, arXiv:1311.2901; Noh et al. 2015, arXiv:1505.04366).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F


def nearest(
    x: Float[Tensor, "b c h w"], factor: int
) -> Float[Tensor, "b c oh ow"]:
    """Every value `factor` times along both axes."""
    check_factor(factor)
    return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def bilinear(
    x: Float[Tensor, "b c h w"], factor: int
) -> Float[Tensor, "b c oh ow"]:
    """Straight lines between the centres of the cells, constant outside.

    It is a transposed convolution with the weights `bilinear_kernel`,
    each channel by itself; `F.interpolate` with `align_corners=False`
    gives the same.
    """
    check_factor(factor)
    kernel = bilinear_kernel(2 * factor - factor % 2).to(x)
    kernel = kernel.expand(x.shape[1], 1, -1, -1)
    x = F.pad(x, [1] * 4, mode="replicate")
    y = F.conv_transpose2d(x, kernel, stride=factor, groups=x.shape[1])
    edge = factor + factor // 2
    return y[..., edge:-edge, edge:-edge] if factor > 1 else x[..., 1:-1, 1:-1]


def bilinear_kernel(size: int) -> Float[Tensor, "size size"]:
    """A pyramid: what one value adds around itself.

    For a stride s the size is 2s, or 2s - 1 where s is odd.
    """
    if size < 1:
        raise ValueError(f"size = {size}: a kernel is at least 1 wide")
    stride = (size + 1) // 2
    place = torch.arange(size) - (size - 1) / 2
    tent = 1 - place.abs() / stride
    return torch.outer(tent, tent)


class Transposed(nn.ConvTranspose2d):
    """A transposed convolution that begins as bilinear interpolation.

    Channel i is made of channel i alone at first; all weights can learn.
    Without `padding` the output is (h - 1) · stride + kernel high. Raises
    `ValueError` for other numbers of channels in and out.
    """

    def __init__(
        self, dim: int, out: int, kernel: int, stride: int, padding: int = 0
    ):
        if dim != out:
            raise ValueError(
                f"dim = {dim}, out = {out}: bilinear weights map channels "
                "to themselves, give one number for both"
            )
        super().__init__(dim, out, kernel, stride, padding, bias=False)

    def reset_parameters(self) -> None:
        weight = torch.zeros_like(self.weight)
        every = range(self.in_channels)
        weight[every, every] = bilinear_kernel(self.kernel_size[0]).to(weight)
        with torch.no_grad():
            self.weight.copy_(weight)


def pixel_shuffle(
    x: Float[Tensor, "b c h w"], factor: int
) -> Float[Tensor, "b k oh ow"]:
    """Of factor² channels at one place, one channel at factor² places."""
    check_factor(factor)
    b, c, h, w = x.shape
    if c % factor**2:
        raise ValueError(
            f"{c} channels do not divide by {factor}² = {factor**2}: give "
            "as many for each channel of the output"
        )
    x = x.view(b, -1, factor, factor, h, w)  # row and column in the cell
    x = x.permute(0, 1, 4, 2, 5, 3)  # b k h row w column
    return x.reshape(b, -1, factor * h, factor * w)


class SubPixel(nn.Module):
    """A convolution at the coarse scale, its channels shuffled to pixels.

    With `even` all pixels of a cell begin with the same weights, so that
    the layer begins as the nearest neighbour of a convolution, without a
    pattern (Aitken et al. 2017, arXiv:1707.02937).
    """

    def __init__(
        self,
        dim: int,
        out: int,
        factor: int,
        *,
        kernel: int = 3,
        even: bool = True,
    ):
        super().__init__()
        check_factor(factor)
        self.factor = factor
        self.conv = nn.Conv2d(
            dim, out * factor**2, kernel, padding=kernel // 2
        )
        if even:
            with torch.no_grad():
                for p in self.conv.parameters():
                    first = p[:: factor**2]
                    p.copy_(first.repeat_interleave(factor**2, 0))

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k oh ow"]:
        return pixel_shuffle(self.conv(x), self.factor)


class ResizeConvolution(nn.Module):
    """Nearest neighbour, then a convolution at the fine scale."""

    def __init__(self, dim: int, out: int, factor: int, *, kernel: int = 3):
        super().__init__()
        check_factor(factor)
        self.factor = factor
        self.conv = nn.Conv2d(dim, out, kernel, padding=kernel // 2)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k oh ow"]:
        return self.conv(nearest(x, self.factor))


def pool(
    x: Float[Tensor, "b c h w"], kernel: int = 2
) -> tuple[Float[Tensor, "b c oh ow"], Int64[Tensor, "b c oh ow"]]:
    """The maximum of each window, and its place: row · w + column."""
    return F.max_pool2d(x, kernel, return_indices=True)


def unpool(
    y: Float[Tensor, "b c oh ow"],
    places: Int64[Tensor, "b c oh ow"],
    size: tuple[int, int],
) -> Float[Tensor, "b c h w"]:
    """Put every value back where its maximum was; all else is zero.

    Where windows overlap and share a maximum, one of their values stays.
    Raises `ValueError` for places that a map of `size` does not have (read
    on a CPU only).
    """
    h, w = size
    at_hand = places.is_cpu and not torch.compiler.is_compiling()
    if at_hand and places.numel() and int(places.max()) >= h * w:
        raise ValueError(
            f"place {int(places.max())} in a map of {h} x {w}: give the "
            "size that the map had before pooling"
        )
    flat = y.new_zeros(*y.shape[:2], h * w)
    flat = flat.scatter(2, places.flatten(2), y.flatten(2))
    return flat.unflatten(2, (h, w))


def check_factor(factor: int) -> None:
    if factor < 1:
        raise ValueError(f"factor = {factor}: at least 1, which changes nothing")
