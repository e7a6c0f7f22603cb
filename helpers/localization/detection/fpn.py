"""Feature pyramids: every scale of object finds a map of its own.

Lin et al. 2017 (arXiv:1612.03144). What a deep map knows is carried down
to the finer ones; a region is pooled from the map whose stride fits it.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.localization.detection.roi import roi_align


class FeaturePyramid(nn.Module):
    """Maps from fine to coarse to maps of `dim` channels, and a coarser one.

    M_i = lateral(C_i) + enlarged M_{i+1}; each M_i is smoothed by a 3x3
    convolution, and every second pixel of the last makes one more map.
    """

    def __init__(self, dims: Sequence[int], dim: int):
        super().__init__()
        self.inner_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, dim, 1)) for inputs in dims
        )
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1)) for _ in dims
        )
        for conv, *_ in (*self.inner_blocks, *self.layer_blocks):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        merged = None
        smooth = []
        for x, lateral, layer in zip(
            reversed(maps),
            reversed(self.inner_blocks),
            reversed(self.layer_blocks),
        ):
            x = lateral(x)
            if merged is not None:
                x = x + F.interpolate(merged, size=x.shape[-2:])
            merged = x
            smooth.insert(0, layer(merged))
        return [*smooth, smooth[-1][:, :, ::2, ::2]]


class PyramidBackbone(nn.Module):
    """A network with `features`, and the pyramid on its stages."""

    def __init__(self, body: nn.Module, *, dim: int):
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramid(list(body.widths.values()), dim)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        return self.fpn(list(self.body.features(images).values()))


class PyramidPool:
    """Pool each region from the map whose stride fits it: equation 1.

    A region of 224 x 224 pixels goes to the map of stride 16, one of half
    the side to a map finer by one, within `strides`.
    """

    def __init__(
        self,
        size: int,
        strides: Sequence[int],
        *,
        pool: Callable[..., Tensor] = roi_align,
        **options,
    ):
        self.size, self.strides, self.pool = size, tuple(strides), pool
        self.options = options

    def __call__(self, maps: list[Tensor], regions: list[Tensor]) -> Tensor:
        level = self.levels(torch.cat(regions))
        number = torch.cat([
            torch.full_like(region[:, :1], i)
            for i, region in enumerate(regions)
        ])  # fmt: skip
        rois = torch.cat([number, torch.cat(regions)], 1)
        order = [torch.where(level == i)[0] for i in range(len(self.strides))]
        pooled = [
            self.pool(x, rois[at], self.size, 1 / stride, **self.options)
            for x, at, stride in zip(maps, order, self.strides)
        ]
        return torch.cat(pooled)[torch.cat(order).argsort()]

    def levels(self, boxes: Float[Tensor, "n 4"]) -> Int[Tensor, " n"]:
        """The place of each box's map: ⌊4 + log₂(√(wh) / 224)⌋, from 2."""
        w, h = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
        fine, coarse = self.strides[0], self.strides[-1]
        fine, coarse = fine.bit_length() - 1, coarse.bit_length() - 1
        level = 4 + ((w * h).sqrt() / 224).log2() + 1e-6
        return level.floor().clamp(fine, coarse).long() - fine
