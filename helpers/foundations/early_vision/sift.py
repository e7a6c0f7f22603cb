"""SIFT: a description of a keypoint's surroundings that turns and grows with them (Lowe 1999, 2004, sections 5 to 7)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from helpers.foundations.early_vision.scale_space import (
    BLUR,
    STEPS,
    Keypoints,
    Octave,
    find_keypoints,
    gaussian_octaves,
)

BINS = 36  # directions of the orientation histogram, 10° each
CELLS, DIRECTIONS = 4, 8  # the descriptor: 4 x 4 cells of 8 directions
SAMPLES = 16  # gradients on a side that the descriptor reads
WIDTH = 3.0  # of a cell, in sigmas of the keypoint
CLIP = 0.2  # the largest entry of a descriptor before it is normalised again


class Features(NamedTuple):
    """Keypoints with an orientation and a description each."""

    places: Float[Tensor, "n 2"]  # (column, row), pixels
    sigmas: Float[Tensor, " n"]  # scale, pixels
    angles: Float[Tensor, " n"]  # radians, from the right towards below
    descriptors: Float[Tensor, "n 128"]  # unit vectors


def sift(
    image: Float[Tensor, "h w"], contrast: float | int = 0.04, edge: float | int = 10.0
) -> Features:
    """Detect and describe keypoints of a grey picture in 0 … 1.

    Scale space, extrema, orientations (a keypoint with two counts twice),
    descriptors. `contrast` and `edge` as in `find_keypoints`. Raises
    `ValueError` for small pictures and values beyond 0 … 1.
    """
    if not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(
            f"values from {image.min():.3g} to {image.max():.3g}: scale the "
            "picture into 0 … 1, which the contrast refers to"
        )
    octaves = gaussian_octaves(image)
    keypoints = find_keypoints(octaves, contrast, edge)
    which, angles = orientations(octaves, keypoints)
    keypoints = Keypoints(*(part[which] for part in keypoints))
    descriptors = describe(octaves, keypoints, angles)
    return Features(
        keypoints.places, keypoints.sigmas, angles, descriptors
    )


def orientations(
    octaves: list[Octave], keypoints: Keypoints
) -> tuple[Int[Tensor, " m"], Float[Tensor, " m"]]:
    """Directions in which the surroundings change most: which keypoint, and the angle.

    Gradients within 4.5 σ vote with their length times a Gaussian of
    1.5 σ into 36 bins, smoothed. Each peak that reaches 0.8 of the
    highest counts, placed between the bins by a parabola.
    """
    grid = 0.75 * (torch.arange(13, dtype=torch.float32) - 6)
    x, y = torch.meshgrid(grid, grid, indexing="xy")
    offsets = torch.stack([x, y], -1).reshape(-1, 2)  # in sigmas
    weight = torch.exp(-offsets.square().sum(1) / (2 * 1.5**2))
    weight = weight * (offsets.norm(dim=1) <= 4.5)
    flat = torch.zeros_like(keypoints.sigmas)
    right, down = gradients_around(octaves, keypoints, flat, offsets)
    length = weight * (right**2 + down**2).sqrt()
    angle = torch.atan2(down, right) % math.tau
    bins = (angle * BINS / math.tau).round().long() % BINS
    votes = torch.zeros(len(bins), BINS).scatter_add(1, bins, length)
    for _ in range(2):
        votes = (votes.roll(1, 1) + votes.roll(-1, 1) + 2 * votes) / 4
    before, after = votes.roll(1, 1), votes.roll(-1, 1)
    highest = votes.amax(1, keepdim=True)
    peak = (votes > before) & (votes >= after) & (votes >= 0.8 * highest)
    which, place = peak.nonzero(as_tuple=True)
    a, b, c = (part[which, place] for part in (before, votes, after))
    shift = 0.5 * (a - c) / (a - 2 * b + c)
    return which, (place + shift) * math.tau / BINS


def describe(
    octaves: list[Octave], keypoints: Keypoints, angles: Float[Tensor, " n"]
) -> Float[Tensor, "n 128"]:
    """Histograms of gradients in 4 x 4 cells, in the keypoint's own frame.

    16 x 16 gradients on a grid that is turned by the keypoint's angle and
    as wide as its scale. Their directions, less that angle, share their
    length between neighbouring cells and bins, under a Gaussian as wide
    as half the grid. The vector is cut off at 0.2: no single strong edge
    decides.
    """
    offsets, spatial = sampling_grid()
    right, down = gradients_around(octaves, keypoints, angles, offsets)
    length = (right**2 + down**2).sqrt()  # n samples
    angle = torch.atan2(down, right) - angles[:, None]
    place = (angle * DIRECTIONS / math.tau) % DIRECTIONS
    low = place.floor()
    part = place - low
    directions = torch.zeros(*length.shape, DIRECTIONS)
    low = low.long() % DIRECTIONS
    directions.scatter_(2, low[..., None], (length * (1 - part))[..., None])
    above = ((low + 1) % DIRECTIONS)[..., None]
    directions.scatter_(2, above, (length * part)[..., None])
    cells = torch.einsum("nsd,sc->ncd", directions, spatial).flatten(1)
    cells = F.normalize(cells, dim=1).clamp(max=CLIP)
    return F.normalize(cells, dim=1)


def sampling_grid() -> tuple[Float[Tensor, "samples 2"], Float[Tensor, "samples cells"]]:
    """Places of the samples (right, down) in sigmas, and how much each counts in each cell: bilinear, times the Gaussian."""
    at = (torch.arange(SAMPLES, dtype=torch.float32) + 0.5) / SAMPLES * CELLS - CELLS / 2  # in cells, from the middle
    middles = torch.arange(CELLS) + 0.5 - CELLS / 2
    share = (1 - (at[:, None] - middles).abs()).clamp(min=0)  # samples cells, along one axis
    gauss = torch.exp(-(at**2) / (2 * (CELLS / 2) ** 2))
    share = share * gauss[:, None]
    spatial = torch.einsum("yr,xc->yxrc", share, share).reshape(SAMPLES**2, CELLS**2)
    x, y = torch.meshgrid(at, at, indexing="xy")
    return WIDTH * torch.stack([x, y], -1).reshape(-1, 2), spatial


def gradients_around(
    octaves: list[Octave], keypoints: Keypoints, angles: Float[Tensor, " n"], offsets: Float[Tensor, "samples 2"]
) -> tuple[Float[Tensor, "n samples"], Float[Tensor, "n samples"]]:
    """Derivatives of the nearest Gaussian picture to the right and down, at offsets (in sigmas) turned by the angles."""
    c, s = angles.cos(), angles.sin()
    turn = torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2)  # rows: images of right and down
    places = keypoints.places[:, None] + keypoints.sigmas[:, None, None] * (offsets @ turn)
    right, down = torch.zeros(2, *places.shape[:2])
    for number, octave in enumerate(octaves):
        for step in range(STEPS + 3):
            chosen = (keypoints.octave == number) & (keypoints.step == step)
            if not chosen.any():
                continue
            picture = octave.gaussians[step].float()
            dy, dx = torch.gradient(picture)
            own = (places[chosen] + 0.25) / octave.pixel  # in the octave's pixels
            values = bilinear(torch.stack([dx, dy]), own)
            right[chosen], down[chosen] = values[0], values[1]
    return right, down


def bilinear(pictures: Float[Tensor, "c h w"], places: Float[Tensor, "n samples 2"]) -> Float[Tensor, "c n samples"]:
    """Values between the pixels, at places (column, row); 0 outside."""
    h, w = pictures.shape[1:]
    scaled = places * torch.tensor([2 / (w - 1), 2 / (h - 1)]) - 1
    return F.grid_sample(pictures[None], scaled[None], align_corners=True)[0]


def match(
    ours: Float[Tensor, "n d"], theirs: Float[Tensor, "m d"], ratio: float | int = 0.8
) -> Int[Tensor, "k 2"]:
    """Pairs whose distance is below `ratio` times that to the second best.

    A description that is nearly as close to another one is not used: it
    stands for something that looks alike in several places. Raises
    `ValueError` for a ratio outside 0 … 1 and fewer than two descriptions
    to choose from.
    """
    if not 0 < ratio <= 1 or len(theirs) < 2:
        raise ValueError(
            f"ratio = {ratio}, {len(theirs)} descriptions: the ratio lies "
            "between 0 and 1, and there are two or more to choose from"
        )
    two = torch.cdist(ours, theirs).topk(2, largest=False)
    near, far = two.values.unbind(1)
    clear = near < ratio * far
    return torch.stack([clear.nonzero()[:, 0], two.indices[clear, 0]], 1)


def raw_patches(image: Float[Tensor, "h w"], features: Features, turned: bool = False) -> Float[Tensor, "n 256"]:
    """16 x 16 grey values around each keypoint, at its scale, less their mean and of length 1; `turned` by its angle or not."""
    octaves = gaussian_octaves(image)
    offsets, _ = sampling_grid()
    angles = features.angles if turned else torch.zeros_like(features.angles)
    c, s = angles.cos(), angles.sin()
    turn = torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2)
    places = features.places[:, None] + features.sigmas[:, None, None] * (offsets @ turn)
    values = torch.zeros(places.shape[:2])
    level = (features.sigmas / BLUR).log2() + 1  # octave 0 begins at pixel 1/2
    for number, octave in enumerate(octaves):
        chosen = level.floor().clamp(0, len(octaves) - 1) == number
        if chosen.any():
            own = (places[chosen] + 0.25) / octave.pixel
            values[chosen] = bilinear(octave.gaussians[:1].float(), own)[0]
    return F.normalize(values - values.mean(1, keepdim=True), dim=1)
