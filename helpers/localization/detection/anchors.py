"""Boxes laid over an image before it is looked at, for a network to judge
and to move.

Anchors on a map after Ren et al. 2015 (Faster R-CNN, arXiv:1506.01497),
default boxes on maps of several strides after Liu et al. 2016 (SSD,
arXiv:1512.02325). Order as in torchvision: row by row, and in each cell
one shape after the other.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.localization.detection.boxes import Number

Size = Sequence[int]  # height, width


def cell_anchors(
    sizes: Sequence[Number],
    ratios: Sequence[Number],
    *,
    whole: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Float[Tensor, "a 4"]:
    """One box around the origin for each ratio and each size.

    A size is the root of the area, a ratio the height by the width. With
    `whole`, coordinates are rounded to whole pixels as torchvision does:
    leave that out for anchors of a few pixels. Raises `ValueError` for a
    size or ratio that is not positive, and for none at all.
    """
    _check_positive("sizes", sizes)
    _check_positive("ratios", ratios)
    options = dict(dtype=dtype, device=device)
    size = torch.tensor(list(sizes), **options)
    tall = torch.tensor(list(ratios), **options).sqrt()
    h = (tall[:, None] * size).flatten()  # ratios times sizes
    w = ((1 / tall)[:, None] * size).flatten()
    corners = torch.stack([-w, -h, w, h], 1) / 2
    return corners.round() if whole else corners


def grid_anchors(
    cell: Float[Tensor, "a 4"],
    size: Size,
    stride: Number | tuple[Number, Number],
    *,
    centre: Number = 0.0,
) -> Float[Tensor, "n 4"]:
    """The shapes of `cell` at every place of a map of `size`.

    `stride` is the pixels between two places, or two numbers for down and
    across. A shape sits `centre` strides from the upper left corner of its
    place: 0 in torchvision, 0.5 for its middle.
    """
    _check_positive("size", size)
    down, across = stride if isinstance(stride, tuple) else (stride, stride)
    _check_positive("stride", (down, across))
    options = dict(dtype=cell.dtype, device=cell.device)
    y = (torch.arange(size[0], **options) + centre) * down
    x = (torch.arange(size[1], **options) + centre) * across
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([x, y, x, y], -1)  # h w 4
    return (shifts[:, :, None] + cell).flatten(0, 2)


def anchors_of_maps(
    image: Size,
    maps: Sequence[Size],
    sizes: Sequence[Sequence[Number]],
    ratios: Sequence[Sequence[Number]],
    *,
    whole: bool = True,
    centre: Number = 0.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> list[Tensor]:
    """Anchors [n 4] on each of several maps of an image, largest map first.

    The stride of a map is the image's side by the map's, rounded down.
    Raises `ValueError` where maps, sizes and ratios differ in number.
    """
    _check_same(maps=maps, sizes=sizes, ratios=ratios)
    options = dict(whole=whole, dtype=dtype, device=device)
    grids = []
    for size, *shapes in zip(maps, sizes, ratios, strict=True):
        stride = (image[0] // size[0], image[1] // size[1])
        cell = cell_anchors(*shapes, **options)
        grids.append(grid_anchors(cell, size, stride, centre=centre))
    return grids


def default_scales(
    maps: int,
    least: Number = 0.2,
    most: Number = 0.9,
) -> list[float]:
    """Sides of default boxes as shares of the image's: evenly from `least`
    to `most` (equation 4 of the paper on SSD), and 1 behind the last."""
    if maps < 1:
        raise ValueError(f"maps = {maps}: there is at least 1")
    step = (most - least) / max(maps - 1, 1)
    return [least + step * i for i in range(maps)] + [1.0]


def default_boxes(
    image: Size,
    maps: Sequence[Size],
    ratios: Sequence[Sequence[Number]],
    scales: Sequence[Number],
    *,
    steps: Sequence[Number] | None = None,
    clip: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Float[Tensor, "n 4"]:
    """The default boxes of SSD, in pixels: 2 + 2 len(ratios[i]) in each
    place of map i.

    Two squares, of the side s = scales[i] and of √(s scales[i+1]), and for
    each ratio one box that lies and one that stands. `steps` are the pixels
    between two places; without them, the image's side by the map's. `clip`
    cuts sides to the image's, not the boxes to the image. Raises
    `ValueError` unless there is one scale more than maps.
    """
    given = {} if steps is None else {"steps": steps}
    _check_same(maps=maps, ratios=ratios, **given)
    if len(scales) != len(maps) + 1:
        raise ValueError(
            f"{len(scales)} scales for {len(maps)} maps: give one more than "
            "maps, as default_scales does"
        )
    height, width = image
    sides = torch.tensor([width, height] * 2, dtype=dtype, device=device)
    grids = []
    for i, (rows, columns) in enumerate(maps):
        down, across = height / rows, width / columns
        if steps is not None:
            down = across = steps[i]
        shapes = _default_shapes(scales[i], scales[i + 1], ratios[i])
        half = torch.tensor(shapes, dtype=dtype, device=device) / 2
        if clip:
            half = half.clamp(max=0.5)
        cell = torch.cat([-half, half], 1) * sides
        stride = (float(down), float(across))
        grids.append(grid_anchors(cell, (rows, columns), stride, centre=0.5))
    return torch.cat(grids)


def _default_shapes(
    scale: Number, next_scale: Number, ratios: Sequence[Number]
) -> list[tuple[float, float]]:
    """Widths and heights as shares of the image's."""
    between = math.sqrt(scale * next_scale)
    shapes = [(scale, scale), (between, between)]
    for ratio in ratios:
        long, short = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        shapes += [(long, short), (short, long)]
    return shapes


def _check_positive(name: str, values: Sequence[Number]) -> None:
    if len(values) == 0 or min(values) <= 0:
        raise ValueError(f"{name} = {values}: give positive numbers")


def _check_same(**lists: Sequence) -> None:
    counts = {name: len(values) for name, values in lists.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"{counts}: give one of each for every map")
