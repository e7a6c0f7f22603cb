"""The 2½-D sketch: normals from shading under several lamps (Woodham 1980), edges of depth and of orientation (Marr 1982)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.foundations.early_vision.blocks import Camera


def photometric_stereo(
    images: Float[Tensor, "k h w"], lights: Float[Tensor, "k 3"]
) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"]]:
    """Normals and albedo of a matt surface from pictures under k lamps.

    Each pixel's values are lights @ (albedo * normal): least squares, from
    the lamps that reach it (value above 0). `lights` are unit vectors
    towards the lamps. Where fewer than three lamps reach a pixel the
    normal is nan. Raises `ValueError` for lamps in one plane.
    """
    rank = int(torch.linalg.matrix_rank(lights, rtol=1e-6))
    if len(lights) < 3 or rank < 3:
        raise ValueError(
            f"{len(lights)} lamps in {rank} independent directions: take "
            "three or more that do not lie in one plane"
        )
    values = images.flatten(1).T  # pixels lamps
    lit = (values > 0).to(values)
    normal_equations = torch.einsum("pk,ki,kj->pij", lit, lights, lights)
    right = torch.einsum("pk,ki->pi", values * lit, lights)
    enough = torch.linalg.matrix_rank(normal_equations, rtol=1e-6) == 3
    scaled = torch.full_like(right, math.nan)
    scaled[enough] = torch.linalg.solve(
        normal_equations[enough], right[enough]
    )
    albedo = scaled.norm(dim=1)
    normals = scaled / albedo[:, None]
    shape = images.shape[1:]
    return normals.reshape(*shape, 3), albedo.reshape(shape)


class Sketch(NamedTuple):
    """Between each pixel and the next, to the right and downwards: is there an edge of depth, or of orientation alone?"""

    depth: tuple[Bool[Tensor, "h v"], Bool[Tensor, "u w"]]
    orientation: tuple[Bool[Tensor, "h v"], Bool[Tensor, "u w"]]


def edges_of_surfaces(
    depth: Float[Tensor, "h w"],
    normals: Float[Tensor, "h w 3"],
    camera: Camera,
    *,
    jump: float | int = 0.01,
    turn: float | int = 30.0,
) -> Sketch:
    """Where the surface breaks off, and where it only bends.

    From each pixel the tangent plane says how deep the next pixel should
    be. If both pixels err about each other by more than the share `jump`
    of the depth, one surface hides another. Otherwise, where the normals
    differ by more than `turn` degrees, one surface has a crease. (At the
    rim of a ball of R pixels neighbours differ by up to √(2/R) radians.)
    """
    rays = camera.rays(camera.pixels())
    broken, creased = [], []
    for axis in (1, 0):
        n = depth.shape[axis] - 1
        here, there = (
            tuple(x.narrow(axis, i, n) for x in (depth, normals, rays))
            for i in (0, 1)
        )
        error = torch.minimum(misses(here, there), misses(there, here))
        cosine = (here[1] * there[1]).sum(-1)
        broken.append(error > jump * here[0])
        bend = cosine < math.cos(math.radians(turn))
        creased.append(bend & ~broken[-1])
    return Sketch(tuple(broken), tuple(creased))


def misses(here: tuple[Tensor, Tensor, Tensor], there: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """How far the depth there is from where the tangent plane here, n · (depth ray) = constant, meets the ray there."""
    depth, normal, ray = here
    other_depth, _, other_ray = there
    expected = depth * (normal * ray).sum(-1) / (normal * other_ray).sum(-1)
    return (expected - other_depth).abs().masked_fill(expected <= 0, math.inf)


def marked(between: tuple[Bool[Tensor, "h v"], Bool[Tensor, "u w"]]) -> Bool[Tensor, "h w"]:
    """Edges between pixels as a picture: the left or upper pixel of each pair that has one."""
    right, down = between
    h, w = right.shape[0], down.shape[1]
    result = torch.zeros(h, w, dtype=torch.bool)
    result[:, :-1] |= right
    result[:-1] |= down
    return result


def agreement(
    found: tuple[Bool[Tensor, "h v"], Bool[Tensor, "u w"]], true: tuple[Bool[Tensor, "h v"], Bool[Tensor, "u w"]]
) -> dict[str, float]:
    """Precision and recall over pairs of neighbours."""
    found, true = (torch.cat([part.flatten() for part in parts]) for parts in (found, true))
    both = int((found & true).sum())
    return {"precision": both / max(int(found.sum()), 1), "recall": both / max(int(true.sum()), 1)}


def light(azimuth: float | int, elevation: float | int) -> Float[Tensor, " 3"]:
    """The direction to a lamp in camera coordinates: degrees around the line of sight, and above the plane of the picture."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return torch.tensor([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)], dtype=torch.float64)


def body_changes(body: Int[Tensor, "h w"]) -> tuple[Bool[Tensor, "h v"], Bool[Tensor, "u w"]]:
    """Pairs of neighbours that belong to different bodies."""
    return body[:, 1:] != body[:, :-1], body[1:] != body[:-1]
