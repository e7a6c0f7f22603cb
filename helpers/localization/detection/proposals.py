"""Regions that may hold an object, whatever its class.

Selective search (Uijlings et al. 2013, doi 10.1007/s11263-013-0620-5): cut
the image into small regions, join the two most similar neighbours again and
again until one region is left, and propose the box of every region that was
there on the way. Small regions by the graph segmentation of Felzenszwalb
and Huttenlocher 2004, as scikit-image has it; the grouping is here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.localization.detection.boxes import (
    Number,
    box_iou,
    check_boxes,
    check_share,
)

COLOUR_BINS, TEXTURE_BINS, DIRECTIONS = 25, 10, 8
MEASURES = ("colour", "texture", "size", "fill")
SPACES = ("rgb", "lab", "hsv")


class Strategy(NamedTuple):
    """One way to group. Several differ in what they find.

    `scale` is how unlike two pixels of a first region may be (more, and
    regions are larger), `smallest` its least number of pixels, `measures`
    the similarities that are added.
    """

    space: str = "lab"
    scale: Number = 50.0
    smallest: int = 12
    measures: tuple[str, ...] = MEASURES


UNCOLOURED = ("texture", "size", "fill")
FAST = (
    Strategy("lab", 20.0, 8),
    Strategy("lab", 20.0, 8, UNCOLOURED),
    Strategy("hsv", 50.0, 12),
    Strategy("hsv", 50.0, 12, UNCOLOURED),
)
QUALITY = (
    Strategy("lab", 10.0, 6),
    Strategy("lab", 10.0, 6, UNCOLOURED),
    Strategy("lab", 10.0, 6, ("size",)),
    Strategy("hsv", 40.0, 8),
    Strategy("hsv", 40.0, 8, UNCOLOURED),
    Strategy("hsv", 40.0, 8, ("size",)),
)


class Regions(NamedTuple):
    """What similarity is computed from, a row for each region."""

    sizes: Float[np.ndarray, " n"]  # pixels
    boxes: Float[np.ndarray, "n 4"]
    colours: Float[np.ndarray, "n bins"]  # histograms with the sum 1
    textures: Float[np.ndarray, "n bins"]


def selective_search(
    image: Float[Tensor, "3 h w"],
    *,
    strategies: Sequence[Strategy] = FAST,
    most: int | None = None,
    least: Number = 4.0,
    seed: int = 0,
) -> Float[Tensor, "n 4"]:
    """Boxes of the regions of all strategies, likely ones first.

    Takes an image in 0…1; at 64 pixels a side `FAST` gives some hundred
    boxes and `QUALITY` some three hundred. Late regions of a hierarchy come
    first, with chance mixed in as in the paper: place in the hierarchy
    times a random number. Of equal boxes one stays; boxes with a side
    below `least` pixels are left out. Raises `ValueError` for an unknown
    colour space or measure, and values outside 0…1.
    """
    if most is not None and most < 1:
        raise ValueError(f"most = {most}: propose at least 1 box, or None")
    if not 0 <= image.min() <= image.max() <= 1:
        raise ValueError(
            f"image from {image.min():.3g} to {image.max():.3g}: give 0…1"
        )
    pixels = image.detach().cpu().double().permute(1, 2, 0).numpy()
    rng = np.random.default_rng(seed)
    boxes, ranks, known = [], [], {}
    for strategy in strategies:
        start = strategy[:3]  # the same first regions for many measures
        if start not in known:
            known[start] = first_regions(pixels, strategy)
        found = hierarchy(*known[start], strategy.measures)
        found = found[::-1]  # the whole image is the first
        boxes.append(found)
        ranks.append(np.arange(1, len(found) + 1) * rng.random(len(found)))
    boxes, ranks = np.concatenate(boxes), np.concatenate(ranks)
    boxes = boxes[np.argsort(ranks, kind="stable")]
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= least).all(1)]
    first = np.unique(boxes, axis=0, return_index=True)[1]
    boxes = boxes[np.sort(first)][:most]
    return torch.from_numpy(boxes).to(image)


def first_regions(
    pixels: Float[np.ndarray, "h w 3"],
    strategy: Strategy,
) -> tuple[Regions, Bool[np.ndarray, "n n"]]:
    """The small regions to begin with, and which of them are neighbours."""
    from skimage.segmentation import felzenszwalb

    pixels = _in_space(pixels, strategy.space)
    ids = felzenszwalb(
        pixels, strategy.scale, sigma=0.8, min_size=strategy.smallest
    )
    return describe(pixels, ids), neighbours(ids)


def describe(
    pixels: Float[np.ndarray, "h w 3"],
    ids: Int[np.ndarray, "h w"],
) -> Regions:
    """Size, box and histograms of the regions 0 … n - 1 of `ids`.

    Colour: 25 bins a channel. Texture: 10 bins of the slope in each of 8
    directions, negative slopes counting 0, in each channel.
    """
    n = int(ids.max()) + 1
    sizes = np.bincount(ids.ravel(), minlength=n).astype(float)
    pixels = pixels.astype(np.float32)
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    compass = np.stack([np.cos(angles), np.sin(angles)], dtype=np.float32)
    across, down = np.gradient(pixels, axis=(1, 0))
    slopes = np.stack([across, down], -1) @ compass  # h w 3 directions
    slopes = slopes.reshape(*ids.shape, -1)
    colours = _histograms(pixels, ids, n, COLOUR_BINS, 1.0)
    textures = _histograms(slopes, ids, n, TEXTURE_BINS, 0.5)
    return Regions(sizes, _boxes(ids, n), colours, textures)


def neighbours(ids: Int[np.ndarray, "h w"]) -> Bool[np.ndarray, "n n"]:
    """Which regions touch, sideways or up and down."""
    n = int(ids.max()) + 1
    touch = np.zeros((n, n), bool)
    touch[ids[1:], ids[:-1]] = True
    touch[ids[:, 1:], ids[:, :-1]] = True
    touch |= touch.T
    np.fill_diagonal(touch, False)
    return touch


def hierarchy(
    regions: Regions,
    touch: Bool[np.ndarray, "n n"],
    measures: Sequence[str] = MEASURES,
) -> Float[np.ndarray, "m 4"]:
    """Join the two most similar neighbours until one region is left.

    The boxes of the n regions, then those of the n - 1 joined ones in the
    order of joining. A joined region takes the row of its first part.
    """
    for measure in measures:
        if measure not in MEASURES:
            raise ValueError(f"measure {measure!r}: one of {MEASURES}")
    regions = Regions(*(part.copy() for part in regions))
    touch, n = touch.copy(), len(touch)
    area = regions.sizes.sum()
    similar = np.full((n, n), -np.inf)
    i, j = touch.nonzero()
    similar[i, j] = similarity(regions, i, j, area, measures)
    boxes = list(regions.boxes.copy())
    for _ in range(n - 1):
        i, j = divmod(int(similar.argmax()), n)
        if similar[i, j] == -np.inf:
            break  # what is left does not touch
        _join(regions, i, j)
        boxes.append(regions.boxes[i].copy())
        touch[i] |= touch[j]
        touch[i, [i, j]] = False
        touch[j] = touch[:, j] = False
        similar[[i, j]] = similar[:, [i, j]] = -np.inf
        to = np.flatnonzero(touch[i])
        touch[to, i] = True
        values = similarity(regions, i, to, area, measures)
        similar[i, to] = similar[to, i] = values
    return np.stack(boxes)


def similarity(
    regions: Regions,
    i: int | Int[np.ndarray, " m"],
    j: Int[np.ndarray, " m"],
    area: Number,
    measures: Sequence[str] = MEASURES,
) -> Float[np.ndarray, " m"]:
    """How similar regions i and j are: the sum of measures in 0…1.

    Equations 1, 3, 4 and 5 of the paper: shared colour, shared texture,
    being small, and filling each other's gaps.
    """
    total = np.zeros(len(j))
    sizes = regions.sizes[i] + regions.sizes[j]
    if "colour" in measures:
        c = regions.colours
        total += np.minimum(c[i], c[j]).sum(-1)
    if "texture" in measures:
        t = regions.textures
        total += np.minimum(t[i], t[j]).sum(-1)
    if "size" in measures:
        total += 1 - sizes / area
    if "fill" in measures:
        b = regions.boxes
        sides = np.maximum(b[i], b[j])[..., 2:]
        sides = sides - np.minimum(b[i], b[j])[..., :2]
        total += 1 - (sides.prod(-1) - sizes) / area
    return total


def random_windows(
    count: int,
    size: tuple[int, int],
    *,
    least: Number = 4.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "count 4"]:
    """Boxes by chance in an image of `size` (height, width): the baseline.

    Each side is uniform from `least` to the image's, then its place.
    """
    _check_windows(count, size, least)
    sides = torch.tensor([size[1], size[0]], dtype=torch.float32)
    chance = torch.rand(count, 2, 2, generator=generator)
    extent = least + chance[:, 0] * (sides - least)
    start = chance[:, 1] * (sides - extent)
    return torch.cat([start, start + extent], 1)


def sliding_windows(
    count: int,
    size: tuple[int, int],
    *,
    shares: Sequence[Number] = (0.2, 0.3, 0.45),
) -> Float[Tensor, "m 4"]:
    """At most `count` squares laid out evenly, the same number of each side,
    which is a share of the image's shorter one."""
    _check_windows(count, size, 0.0)
    for share in shares:
        check_share("share", share)
    per_side = max(int((count / len(shares)) ** 0.5), 1)
    steps = torch.linspace(0, 1, per_side) if per_side > 1 else [0.5]
    boxes = []
    for share in shares:
        side = share * min(size)
        for y in steps:
            for x in steps:
                left, top = x * (size[1] - side), y * (size[0] - side)
                boxes.append([left, top, left + side, top + side])
    return torch.tensor(boxes)[:count]


def recall(
    proposals: Sequence[Tensor],
    boxes: Sequence[Tensor],
    overlap: Number = 0.5,
    *,
    most: int | None = None,
) -> float:
    """The share of all objects that one of the first `most` proposals of
    their image overlaps by at least `overlap`; NaN without objects."""
    check_share("overlap", overlap)
    if len(proposals) != len(boxes):
        raise ValueError(
            f"{len(proposals)} lists of proposals for {len(boxes)} images"
        )
    hits, objects = 0, 0
    for proposed, there in zip(proposals, boxes, strict=True):
        check_boxes(proposed, "proposals")
        check_boxes(there)
        objects += len(there)
        if len(proposed) and len(there):
            best = box_iou(there, proposed[:most]).nan_to_num().amax(1)
            hits += int((best >= overlap).sum())
    return hits / objects if objects else float("nan")


def _join(regions: Regions, i: int, j: int) -> None:
    """Make region i of the regions i and j: histograms add by size."""
    sizes, boxes = regions.sizes, regions.boxes
    whole = sizes[i] + sizes[j]
    for part in (regions.colours, regions.textures):
        part[i] = (part[i] * sizes[i] + part[j] * sizes[j]) / whole
    boxes[i, :2] = np.minimum(boxes[i, :2], boxes[j, :2])
    boxes[i, 2:] = np.maximum(boxes[i, 2:], boxes[j, 2:])
    sizes[i] = whole


def _histograms(
    values: Float[np.ndarray, "h w c"],
    ids: Int[np.ndarray, "h w"],
    n: int,
    bins: int,
    top: Number,
) -> Float[np.ndarray, "n d"]:
    """Histograms of all channels from 0 to `top`, side by side, sum 1."""
    c = values.shape[2]
    bin = (values * np.float32(bins / top)).clip(0, bins - 1).astype(int)
    place = ids[..., None] * (c * bins) + np.arange(c) * bins + bin
    counts = np.bincount(place.ravel(), minlength=n * c * bins)
    counts = counts.reshape(n, c * bins)
    return counts / counts.sum(1, keepdims=True)


def _boxes(ids: Int[np.ndarray, "h w"], n: int) -> Float[np.ndarray, "n 4"]:
    """Tight boxes, at the edges of pixels."""
    h, w = ids.shape
    y, x = np.divmod(np.arange(h * w), w)
    boxes = np.tile([w, h, 0.0, 0.0], (n, 1))
    for column, place in enumerate((x, y)):
        np.minimum.at(boxes[:, column], ids.ravel(), place)
        np.maximum.at(boxes[:, column + 2], ids.ravel(), place + 1)
    return boxes


def _in_space(
    pixels: Float[np.ndarray, "h w 3"], space: str
) -> Float[np.ndarray, "h w 3"]:
    """The image in another colour space, all channels in 0…1, but for
    the b of a deep blue, which is a little below."""
    from skimage.color import rgb2hsv, rgb2lab

    if space not in SPACES:
        raise ValueError(f"space = {space!r}: it is one of {SPACES}")
    if space == "lab":
        return (rgb2lab(pixels) / 100 + [0, 1, 1]) / [1, 2, 2]
    return rgb2hsv(pixels) if space == "hsv" else pixels


def _check_windows(count: int, size: tuple[int, int], least: Number) -> None:
    if count < 1:
        raise ValueError(f"count = {count}: at least 1 window")
    if min(size) < max(least, 1):
        raise ValueError(f"size = {size}: windows have sides of {least}")
