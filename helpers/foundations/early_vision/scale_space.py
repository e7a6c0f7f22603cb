"""Keypoints that come back: extrema of differences of Gaussians over place and scale (Lowe 1999, 2004, sections 3 and 4)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from helpers.foundations.early_vision.edges import is_maximum, smooth

STEPS = 3  # scales an octave, between a blur and twice the blur
BLUR = 1.6  # of the first scale of an octave, in its own pixels
CAMERA = 0.5  # the blur that a picture has from the camera
SMALLEST = 16  # pixels on a side below which there is no further octave


class Octave(NamedTuple):
    """Pictures of one size, each blurred more than the one before: blur i is 1.6 · 2^(i/3) of its pixels."""

    gaussians: Float[Tensor, "s h w"]
    pixel: float  # the width of one of its pixels in those of the picture


class Keypoints(NamedTuple):
    """Extrema: where, how large, in which octave and picture they were found."""

    places: Float[Tensor, "n 2"]  # (column, row) in the picture
    sigmas: Float[Tensor, " n"]  # blur of the scale, in pixels of the picture
    octave: Int[Tensor, " n"]
    step: Int[Tensor, " n"]  # the nearest of the octave's Gaussians


def gaussian_octaves(image: Float[Tensor, "h w"]) -> list[Octave]:
    """The scale space of a picture, which is first doubled in size.

    Blurs add up in squares: from blur a to blur b one more blur of
    √(b² - a²) is due. The picture of twice the first blur, every second
    pixel of it, begins the next octave. Raises `ValueError` for pictures
    of fewer than 16 pixels on a side.
    """
    if min(image.shape) < SMALLEST:
        raise ValueError(
            f"a picture of {image.shape[0]} x {image.shape[1]} pixels: "
            f"the scale space wants {SMALLEST} on a side or more"
        )
    doubled = F.interpolate(
        image[None, None], scale_factor=2, mode="bilinear"
    )[0, 0]
    now, pixel = smooth(doubled, math.sqrt(BLUR**2 - (2 * CAMERA) ** 2)), 0.5
    octaves = []
    while min(now.shape) >= SMALLEST:
        pictures = [now]
        for i in range(STEPS + 2):
            before, after = (BLUR * 2 ** (j / STEPS) for j in (i, i + 1))
            blur = math.sqrt(after**2 - before**2)
            pictures.append(smooth(pictures[-1], blur))
        octaves.append(Octave(torch.stack(pictures), pixel))
        now, pixel = pictures[STEPS][::2, ::2], 2 * pixel
    return octaves


def find_keypoints(
    octaves: list[Octave], contrast: float | int = 0.04, edge: float | int = 10.0
) -> Keypoints:
    """Extrema of the difference of Gaussians that are strong and no edges.

    A difference of Gaussians is nearly σ² times a Laplacian of Gaussian:
    it answers to blobs. Extrema among 26 neighbours are placed between
    the pixels by a quadratic. Left out are those below contrast / 3 and
    those along an edge, where one curvature of the picture is more than
    `edge` times the other.
    """
    found = []
    for number, octave in enumerate(octaves):
        d = octave.gaussians.diff(dim=0)
        strong = d.abs() > 0.5 * contrast / STEPS
        extreme = (is_maximum(d) | is_maximum(-d)) & strong
        at = extreme.nonzero()  # step, row, column
        at, offset, height, ratio = refine(d, at)
        kept = height.abs() > contrast / STEPS
        kept &= ratio < (edge + 1) ** 2 / edge
        at, offset = at[kept], offset[kept]
        step, row, column = (at + offset).unbind(1)
        # Pixel i of the doubled picture lies at i/2 - 1/4 of the picture.
        place = torch.stack([column, row], 1) * octave.pixel - 0.25
        sigma = BLUR * 2 ** (step / STEPS) * octave.pixel
        octave_of = torch.full_like(at[:, 0], number)
        nearest = step.round().long().clamp(0, STEPS + 2)
        found.append((place, sigma, octave_of, nearest))
    return Keypoints(*(torch.cat(part) for part in zip(*found)))


def refine(
    d: Float[Tensor, "s h w"], at: Int[Tensor, "n 3"]
) -> tuple[Int[Tensor, "m 3"], Float[Tensor, "m 3"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Fit a quadratic around each extremum; move to the neighbour where its top lies beyond half a pixel, up to five times.

    Gives the pixels, the offsets from them, the height of the quadratic's top, and trace² / determinant of the two
    spatial curvatures (negative determinants as infinite). Extrema that do not settle are left out.
    """
    limits = torch.tensor(d.shape) - 2
    at, offset = at.clone(), torch.zeros(len(at), 3, dtype=d.dtype)
    inside = torch.ones(len(at), dtype=torch.bool)
    settled = torch.zeros(len(at), dtype=torch.bool)
    for _ in range(5):
        gradient, hessian, _ = derivatives(d, at)
        flat = torch.linalg.det(hessian).abs() < 1e-20
        hessian = torch.where(flat[:, None, None], torch.eye(3, dtype=d.dtype), hessian)
        new = -torch.linalg.solve(hessian, gradient)
        offset = torch.where(settled[:, None], offset, new)
        settled |= (offset.abs() <= 0.5).all(1) & ~flat
        move = offset.clamp(-1, 1).round().long() * ~settled[:, None]
        target = at + move
        inside &= ((target >= 1) & (target <= limits)).all(1)
        at = torch.where(inside[:, None], target, at)
    kept = settled & inside
    at, offset = at[kept], offset[kept]
    gradient, hessian, value = derivatives(d, at)
    height = value + 0.5 * (gradient * offset).sum(1)
    a, b, c = hessian[:, 1, 1], hessian[:, 1, 2], hessian[:, 2, 2]
    determinant = a * c - b**2
    ratio = ((a + c) ** 2 / determinant).masked_fill(determinant <= 0, math.inf)
    return at, offset, height, ratio


def derivatives(
    d: Float[Tensor, "s h w"], at: Int[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3 3"], Float[Tensor, " n"]]:
    """Gradient, Hessian and value over (step, row, column) from the 27 neighbours, by central differences."""
    unit = torch.eye(3, dtype=torch.long)

    def value(shift: Tensor) -> Tensor:
        s, r, c = (at + shift).unbind(1)
        return d[s, r, c]

    middle = value(torch.zeros(3, dtype=torch.long))
    gradient = torch.stack([(value(e) - value(-e)) / 2 for e in unit], 1)
    rows = []
    for i in range(3):
        row = []
        for j in range(3):
            if i == j:
                row.append(value(unit[i]) + value(-unit[i]) - 2 * middle)
            else:
                p, q = unit[i] + unit[j], unit[i] - unit[j]
                row.append((value(p) + value(-p) - value(q) - value(-q)) / 4)
        rows.append(torch.stack(row, 1))
    return gradient, torch.stack(rows, 1), middle
