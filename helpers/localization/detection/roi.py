"""From regions of a map to features of one size: RoI pooling, RoI align and
position-sensitive RoI pooling.

Girshick 2015 (Fast R-CNN, arXiv:1504.08083), He et al. 2017 (Mask R-CNN,
arXiv:1703.06870), Dai et al. 2016 (R-FCN, arXiv:1605.06409). Names,
arguments and results are those of `torchvision.ops`, which says more of
each argument.

All three are one idea: a cell of the output is the maximum, or the mean, or
a weighted sum of a *bag* of places of the map. What differs is how a region
picks its bags. No gradient flows to the boxes. Half precision is computed
in single.

How many places there are depends on values, so a GPU waits once for that;
but for `roi_align` with a `sampling_ratio`. Boxes are checked where their
values are at hand, on the CPU. On a GPU, which would have to wait for the
check, a box that is not finite or of no image gives features that are NaN.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from helpers.localization.detection.boxes import Number, at_hand

Size = int | tuple[int, int]  # height, width
Rois = Float[Tensor, "n 5"] | Sequence[Tensor]


def roi_pool(
    input: Float[Tensor, "b c h w"],
    boxes: Rois,
    output_size: Size,
    spatial_scale: Number = 1.0,
) -> Float[Tensor, "n c ph pw"]:
    """The largest value in each cell of a region, 0 where a cell is empty.

    Twice rounded: the region to whole places of the map, which belong to it
    on both sides, and each cell outwards, so that cells may share places.
    `boxes` is a list with [l 4] for each image, or [n 5] with the index of
    the image first.
    """
    rois, size, sound = _prepare(input, boxes, output_size, spatial_scale)
    h, w = input.shape[2:]
    top, tall = _cells(rois[:, 2], rois[:, 4], spatial_scale, size[0], h, 1)
    left, wide = _cells(rois[:, 1], rois[:, 3], spatial_scale, size[1], w, 1)
    bag, row, column = _places(tall, wide)
    k, i, j = _unravel(bag, size)
    places = rois[k, 0].long() * h + top[k, i] + row
    places = places * w + left[k, j] + column
    table = input.permute(0, 2, 3, 1).flatten(0, 2)  # b·h·w c
    bags = tall[:, :, None] * wide[:, None, :]
    found = _largest(table, places, bags.flatten())
    return _marked(found.unflatten(0, bags.shape), sound)


def ps_roi_pool(
    input: Float[Tensor, "b c h w"],
    boxes: Rois,
    output_size: Size,
    spatial_scale: Number = 1.0,
    *,
    whole: bool = False,
) -> Float[Tensor, "n o ph pw"]:
    """The mean in each cell of a region, each cell from a map of its own.

    Channel (o, i, j) of the ph·pw·o channels answers for cell (i, j) of
    output channel o. torchvision leaves out the last row and the last
    column of the map (though its gradient has them); `whole` includes
    them, which matters on the small maps of a lecture.
    """
    rois, size, sound = _prepare(input, boxes, output_size, spatial_scale)
    ph, pw = size
    b, c, h, w = input.shape
    if c % (ph * pw):
        raise ValueError(
            f"{c} channels for {ph} x {pw} cells: give a multiple of "
            f"{ph * pw}, so many for each output channel"
        )
    down, across = (h, w) if whole else (h - 1, w - 1)
    top, tall = _cells(rois[:, 2], rois[:, 4], spatial_scale, ph, down, 0)
    left, wide = _cells(rois[:, 1], rois[:, 3], spatial_scale, pw, across, 0)
    bag, row, column = _places(tall, wide)
    k, i, j = _unravel(bag, size)
    maps = (rois[k, 0].long() * ph + i) * pw + j
    places = (maps * h + top[k, i] + row) * w + left[k, j] + column
    table = input.unflatten(1, (-1, ph * pw)).permute(0, 2, 3, 4, 1)
    bags = tall[:, :, None] * wide[:, None, :]
    means = 1 / bags.flatten()[bag].to(rois.dtype)
    found = _weighted(table.flatten(0, 3), places, means, bag, bags.numel())
    return _marked(found.unflatten(0, bags.shape), sound)


def roi_align(
    input: Float[Tensor, "b c h w"],
    boxes: Rois,
    output_size: Size,
    spatial_scale: Number = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Float[Tensor, "n c ph pw"]:
    """The mean of interpolated points in each cell of a region: no rounding.

    `sampling_ratio` points a side in each cell, or with -1 as many as the
    cell has places, rounded up. `aligned` moves the region by half a place,
    since pixel 0 has its centre at 0.5; without, a region is one place wide
    and high at least. Points more than one place off the map count 0.
    """
    rois, size, sound = _prepare(input, boxes, output_size, spatial_scale)
    (ph, pw), (h, w) = size, input.shape[2:]
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (rois[:, 1:] * spatial_scale - shift).unbind(1)
    tall, wide = y2 - y1, x2 - x1
    if not aligned:
        tall, wide = tall.clamp(min=1), wide.clamp(min=1)
    tall, wide = tall / ph, wide / pw  # of a cell
    points = None
    if sampling_ratio > 0:
        down = across = torch.full_like(tall, sampling_ratio)
        points = len(rois) * ph * pw * sampling_ratio**2
    else:
        down, across = tall.ceil().clamp(min=0), wide.ceil().clamp(min=0)
    bag, row, column = _places(
        down.long()[:, None].expand(-1, ph),
        across.long()[:, None].expand(-1, pw),
        points,
    )
    k, i, j = _unravel(bag, size)
    y = y1[k] + i * tall[k] + (row + 0.5) * tall[k] / down[k]
    x = x1[k] + j * wide[k] + (column + 0.5) * wide[k] / across[k]
    rows, row_weights = _neighbours(y, h)  # 2 points
    columns, column_weights = _neighbours(x, w)
    row_weights = row_weights / (down[k] * across[k])
    image = rois[k, 0].long() * h
    places = (image + rows)[:, None] * w + columns  # 2 2 points
    weights = row_weights[:, None] * column_weights
    table = input.permute(0, 2, 3, 1).flatten(0, 2)
    found = _weighted(
        table,
        places.flatten(),
        weights.flatten(),
        bag.repeat(4),
        len(rois) * ph * pw,
    )
    return _marked(found.unflatten(0, (-1, ph, pw)), sound)


def _prepare(
    input, boxes, output_size, scale
) -> tuple[Tensor, tuple, Tensor | None]:
    """Regions as [n 5], of the input's type; the size as two numbers; and
    which of the regions are sound, where nobody has looked."""
    size = output_size
    size = (size, size) if isinstance(size, int) else tuple(size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"output_size = {output_size}: cells down and across, at least 1"
        )
    if scale <= 0:
        raise ValueError(
            f"spatial_scale = {scale}: 1 / stride of the map, above 0"
        )
    if isinstance(boxes, Tensor):
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise ValueError(
                f"boxes of shape {tuple(boxes.shape)}: give [n 5] with the "
                "index of the image first, or a list of [l 4]"
            )
        rois = boxes.detach().to(_precise(input))
    else:
        rois = _joined(boxes, input)
    fine = rois.isfinite().all(1)
    fine &= (rois[:, 0] >= 0) & (rois[:, 0] < len(input))
    if not at_hand(rois):
        return rois.where(fine[:, None], 0.0), size, fine
    if not fine.all():
        at = int((~fine).nonzero()[0, 0])
        raise ValueError(
            f"boxes[{at}] = {rois[at].tolist()}: the index of one of the "
            f"{len(input)} images, then four finite numbers"
        )
    return rois, size, None


def _marked(
    found: Float[Tensor, "n ph pw c"], sound: Bool[Tensor, " n"] | None
) -> Float[Tensor, "n c ph pw"]:
    """Channels in front, and NaN for what no sound region gave."""
    found = found.permute(0, 3, 1, 2)
    if sound is None:
        return found
    return found.where(sound[:, None, None, None], torch.nan)


def _joined(boxes: Sequence[Tensor], input: Tensor) -> Tensor:
    """Boxes of several images with the index of the image first."""
    if len(boxes) != len(input):
        raise ValueError(
            f"{len(boxes)} lists of boxes for {len(input)} images: give one "
            "for each image"
        )
    dtype = _precise(input)
    rois = [input.new_zeros(0, 5, dtype=dtype)]
    for index, box in enumerate(boxes):
        if box.ndim != 2 or box.shape[1] != 4:
            raise ValueError(
                f"boxes[{index}] of shape {tuple(box.shape)}: give [l 4]"
            )
        rois.append(F.pad(box.detach().to(dtype), (1, 0), value=index))
    return torch.cat(rois)


def _precise(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _cells(
    low: Float[Tensor, " n"],
    high: Float[Tensor, " n"],
    scale: Number,
    cells: int,
    side: int,
    closed: int,
) -> tuple[Int[Tensor, "n cells"], Int[Tensor, "n cells"]]:
    """First place and number of places of each cell along one axis."""
    first, last = _round(low * scale), _round(high * scale)
    length = (last - first + closed).clamp(min=1) / cells
    steps = torch.arange(cells + 1, device=low.device, dtype=low.dtype)
    steps = steps * length[:, None]
    first = first[:, None]
    starts = (steps[:, :-1].floor() + first).clamp(0, side)
    ends = (steps[:, 1:].ceil() + first).clamp(0, side)
    return starts.long(), (ends - starts).clamp(min=0).long()


def _round(x: Tensor) -> Tensor:
    """Halves away from zero, as C rounds; torch rounds them to even."""
    whole = x.trunc()
    return whole.where((x - whole).abs() < 0.5, whole + x.sign())


def _places(
    tall: Int[Tensor, "n ph"],
    wide: Int[Tensor, "n pw"],
    total: int | None = None,
) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"], Int[Tensor, " p"]]:
    """All places of all bags: which bag, and row and column within it.

    How many these are need not be waited for where the `total` is known.
    """
    counts = (tall[:, :, None] * wide[:, None, :]).flatten()
    bag = torch.repeat_interleave(counts, output_size=total)
    before = counts.cumsum(0) - counts
    within = torch.arange(len(bag), device=bag.device) - before[bag]
    width = wide[:, None, :].expand(-1, tall.shape[1], -1).flatten()[bag]
    return bag, within // width, within % width


def _unravel(bag: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Region, cell down and cell across of each bag."""
    ph, pw = size
    return bag // (ph * pw), bag // pw % ph, bag % pw


def _neighbours(
    x: Float[Tensor, " p"],
    side: int,
) -> tuple[Int[Tensor, "2 p"], Float[Tensor, "2 p"]]:
    """The two places next to each point, and their linear weights."""
    inside = (x >= -1) & (x <= side)
    x = x.clamp(0, side - 1)
    low = x.long()
    high = (low + 1).clamp(max=side - 1)
    weights = torch.stack([low + 1 - x, x - low]) * inside
    return torch.stack([low, high]), weights


def _weighted(
    table: Float[Tensor, "places c"],
    places: Int[Tensor, " p"],
    weights: Float[Tensor, " p"],
    bag: Int[Tensor, " p"],
    bags: int,
) -> Float[Tensor, "bags c"]:
    """Weighted sums of rows of a table: a sparse matrix times a dense one."""
    matrix = torch.sparse_coo_tensor(
        torch.stack([bag, places]),
        weights,
        (bags, len(table)),
        check_invariants=False,
    )
    with torch.autocast(table.device.type, enabled=False):
        rows = table.to(weights.dtype).contiguous()  # a row in one piece
        sums = torch.sparse.mm(matrix, rows)
    return sums.to(table.dtype)


def _largest(
    table: Float[Tensor, "places c"],
    places: Int[Tensor, " p"],
    counts: Int[Tensor, " bags"],
) -> Float[Tensor, "bags c"]:
    """The largest of each column in each bag of rows, 0 of none."""
    offsets = counts.cumsum(0) - counts
    precise = table.to(_precise(table))
    found = F.embedding_bag(places, precise, offsets, mode="max")
    return found.to(table.dtype)
