"""Two convolutions that torch has not: CoordConv (Liu et al. 2018, arXiv:1807.03247) and the depthwise separable one
(Sifre 2014; Chollet 2017, arXiv:1610.02357)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def coordinates(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h w"]:
    """Row and column of every pixel, from -1 at the first to 1 at the last.

    Of the images' type, which has to be a floating-point one.
    """
    if not images.is_floating_point():
        raise ValueError(f"images of {images.dtype}: coordinates are fractions, pass images.float()")
    b, _, h, w = images.shape
    options = dict(dtype=images.dtype, device=images.device)
    rows = torch.linspace(-1, 1, h, **options)
    columns = torch.linspace(-1, 1, w, **options)
    grid = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack(grid).expand(b, 2, h, w)


class CoordConv(nn.Conv2d):
    """A convolution that also sees where it is: two more input channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        **options,
    ) -> None:
        super().__init__(in_channels + 2, out_channels, kernel_size, **options)

    def forward(
        self,
        images: Float[Tensor, "b c h w"],
    ) -> Float[Tensor, "b o oh ow"]:
        return super().forward(torch.cat([images, coordinates(images)], 1))


class DepthwiseSeparable(nn.Sequential):
    """One small filter for each channel, then a 1x1 mixture of channels.

    Takes the keywords of `nn.Conv2d` for its depthwise half, device and
    dtype for both; the bias, if any, sits in the pointwise half.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        **options,
    ) -> None:
        super().__init__()
        if "groups" in options:
            raise ValueError(
                f"groups = {options['groups']}: the depthwise half has a "
                "group for each channel, the pointwise half one"
            )
        made = {k: options[k] for k in ("device", "dtype") if k in options}
        self.depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            groups=in_channels,
            bias=False,
            **options,
        )
        self.pointwise = nn.Conv2d(
            in_channels, out_channels, 1, bias=bias, **made
        )

    def full_kernel(self) -> Float[Tensor, "o c kh kw"]:
        """The kernel of the full convolution that computes the same."""
        mix = self.pointwise.weight  # o c 1 1
        filters = self.depthwise.weight  # c 1 kh kw
        return mix * filters.transpose(0, 1)
