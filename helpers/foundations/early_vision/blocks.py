"""A block world: boxes and balls on a floor, a pinhole camera, and the depth, normals and line drawing that it sees.

World: x to the right, y away from us, z up; the floor is z = 0. Camera: x to the right, y up, z towards us, so that what
it sees has a negative z; its depth is -z. Pictures: (column, row) in pixels, rows downwards.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from helpers.foundations.early_vision.labelling import Drawing

FLOOR = 0  # the body of the floor; those of the scene count from 1


@dataclass(frozen=True)
class Camera:
    """A pinhole at `height` above the floor that looks along y, `pitch` radians downwards; `focal` and `size` in pixels."""

    height: float | int = 6.0
    pitch: float | int = 0.6
    focal: float | int = 300.0
    size: tuple[int, int] = (128, 128)

    def __post_init__(self) -> None:
        if not (self.height > 0 and self.focal > 0 and 0 < self.pitch < math.pi / 2):
            raise ValueError(
                f"camera of height {self.height}, focal {self.focal}, pitch {self.pitch}: height and focal length are "
                "positive, the pitch lies between 0 and π/2"
            )

    @property
    def axes(self) -> Float[Tensor, "3 3"]:
        """The camera's x, y and z in world coordinates, one a row."""
        c, s = math.cos(self.pitch), math.sin(self.pitch)
        return torch.tensor([[1, 0, 0], [0, s, c], [0, -c, s]], dtype=torch.float64)

    @property
    def position(self) -> Float[Tensor, " 3"]:
        return torch.tensor([0, 0, self.height], dtype=torch.float64)

    @property
    def middle(self) -> Float[Tensor, " 2"]:
        rows, columns = self.size
        return torch.tensor([(columns - 1) / 2, (rows - 1) / 2], dtype=torch.float64)

    def project(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 2"]:
        """World points to (column, row): focal length times x over depth, and y over depth."""
        x, y, z = ((points - self.position.to(points)) @ self.axes.to(points).T).unbind(-1)
        return self.middle.to(points) + self.focal * torch.stack([x, -y], -1) / -z[..., None]

    def rays(self, pixels: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 3"]:
        """Directions in camera coordinates, of depth 1, through these places (column, row)."""
        x, y = ((pixels - self.middle) / self.focal).unbind(-1)
        return torch.stack([x, -y, -torch.ones_like(x)], -1)

    def pixels(self) -> Float[Tensor, "h w 2"]:
        rows, columns = (torch.arange(n, dtype=torch.float64) for n in self.size)
        return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)


@dataclass(frozen=True)
class Box:
    """A box that stands on the floor: its middle, its turn about the vertical in radians, width, depth and height."""

    x: float | int = 0.0
    y: float | int = 9.0
    yaw: float | int = 0.6
    width: float | int = 2.0
    depth: float | int = 1.5
    height: float | int = 1.2

    def __post_init__(self) -> None:
        if not min(self.width, self.depth, self.height) > 0:
            raise ValueError(f"box of {self.width} x {self.depth} x {self.height}: sides are positive")

    def numbers(self) -> Float[Tensor, " 6"]:
        return torch.tensor([self.x, self.y, self.yaw, self.width, self.depth, self.height], dtype=torch.float64)

    def hit(
        self, start: Float[Tensor, " 3"], rays: Float[Tensor, "*b 3"]
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b 3"]]:
        """How far along each ray (world) the box begins, infinite for a miss, and the normal there.

        A box is what lies behind six planes: a ray enters it at the last of the planes that face it and leaves at the first
        of the others.
        """
        normals, offsets = self.planes()
        speed = rays @ normals.T  # negative: the plane faces the eye
        t = (offsets - normals @ start) / speed
        entry, face = t.masked_fill(speed >= 0, -math.inf).max(-1)
        leave = t.masked_fill(speed <= 0, math.inf).amin(-1)
        seen = (entry < leave) & (entry > 0)
        return entry.masked_fill(~seen, math.inf), normals[face]

    def planes(self) -> tuple[Float[Tensor, "6 3"], Float[Tensor, " 6"]]:
        """Outward normals n and offsets of the sides: inside is n · p ≤ offset. In pairs: width, depth, height."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        axes = torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=torch.float64)
        middle = torch.tensor([self.x, self.y, self.height / 2], dtype=torch.float64)
        half = torch.tensor([self.width, self.depth, self.height], dtype=torch.float64) / 2
        normals = torch.stack([axes, -axes], 1).flatten(0, 1)
        return normals, normals @ middle + half.repeat_interleave(2)


@dataclass(frozen=True)
class Ball:
    """A ball that lies on the floor."""

    x: float | int = 0.0
    y: float | int = 9.0
    radius: float | int = 0.7

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius = {self.radius}: it is positive")

    def hit(
        self, start: Float[Tensor, " 3"], rays: Float[Tensor, "*b 3"]
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b 3"]]:
        """As for a box: the nearer root of a quadratic, (start + t ray - middle)² = radius²."""
        middle = torch.tensor([self.x, self.y, self.radius], dtype=torch.float64)
        away = start - middle
        a, b, c = rays.square().sum(-1), rays @ away, away @ away - self.radius**2
        root = b**2 - a * c
        t = (-b - root.clamp(min=0).sqrt()) / a
        seen = (root > 0) & (t > 0)
        return t.masked_fill(~seen, math.inf), (start + t[..., None] * rays - middle) / self.radius


class View(NamedTuple):
    """What the camera sees at each pixel: depth, the surface's normal in camera coordinates, the body, the point in the world."""

    depth: Float[Tensor, "h w"]
    normals: Float[Tensor, "h w 3"]
    body: Int[Tensor, "h w"]
    points: Float[Tensor, "h w 3"]


def render(bodies: list[Box | Ball], camera: Camera, pixels: Float[Tensor, "h w 2"] | None = None) -> View:
    """Cast a ray through each pixel (or through the places `pixels`); of what it meets, the nearest is seen.

    Raises `ValueError` where a ray meets nothing: above the horizon.
    """
    rays = camera.rays(camera.pixels() if pixels is None else pixels) @ camera.axes  # in the world
    down = rays[..., 2]
    if not (down < 0).all():
        raise ValueError(f"pitch = {camera.pitch}: some rays meet no floor; look farther down or take a smaller picture")
    up = torch.tensor([0, 0, 1], dtype=torch.float64).expand_as(rays)
    meets = [(-camera.height / down, up), *(body.hit(camera.position, rays) for body in bodies)]
    depth, body = torch.stack([t for t, _ in meets]).min(0)  # the z-buffer
    normals = torch.stack([n for _, n in meets]).gather(0, body[None, ..., None].expand(1, *rays.shape))[0]
    return View(depth, normals @ camera.axes.T, body, camera.position + depth[..., None] * rays)


def box_corners(numbers: Float[Tensor, " 6"]) -> Float[Tensor, "8 3"]:
    """Corners of the box with these numbers (x, y, yaw, width, depth, height), differentiable.

    Corner i has the sides of the bits of i: 1 right, 2 far, 4 top.
    """
    x, y, yaw, *sides = numbers.unbind()
    bits = torch.tensor([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]).to(numbers)
    a, b, z = ((bits - bits.new_tensor([0.5, 0.5, 0])) * torch.stack(sides)).unbind(1)
    c, s = yaw.cos(), yaw.sin()
    return torch.stack([x + c * a - s * b, y + s * a + c * b, z], 1)


def line_drawing(box: Box, camera: Camera) -> tuple[Drawing, list[int]]:
    """The visible edges of a box as a drawing (y up), and which corner each of its points is.

    An edge of a convex body is seen if one of its two sides faces the camera.
    """
    normals, offsets = box.planes()
    faces_us = (normals @ camera.position > offsets).tolist()
    # Side 2i is where coordinate i has its bit set, side 2i + 1 where it has not.
    edges = []
    for axis in range(3):
        first, second = (other for other in range(3) if other != axis)
        for p in (0, 1):
            for q in (0, 1):
                if faces_us[2 * first + 1 - p] or faces_us[2 * second + 1 - q]:
                    corner = p << first | q << second
                    edges.append((corner, corner | 1 << axis))
    seen = sorted({corner for edge in edges for corner in edge})
    places = camera.project(box_corners(box.numbers()))[seen] * torch.tensor([1.0, -1.0], dtype=torch.float64)
    lines = tuple((seen.index(a), seen.index(b)) for a, b in edges)
    return Drawing(tuple(map(tuple, places.tolist())), lines), seen


def shade(
    normals: Float[Tensor, "h w 3"], light: Float[Tensor, " 3"], albedo: Float[Tensor, "h w"] | float | int = 1.0
) -> Float[Tensor, "h w"]:
    """A matt surface in the light of a distant lamp (Lambert): albedo times the cosine to the lamp, no cast shadows."""
    return albedo * (normals @ light).clamp(min=0)
