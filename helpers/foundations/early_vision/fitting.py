"""Nonlinear least squares: Gauss-Newton steps with Marquardt's damping, and what early vision fits with it.

Roberts 1963 fits blocks to corners. Superquadrics: Barr 1981; their fit: Solina & Bajcsy 1990, here with the radial
distance of Gross & Boult 1988.
"""

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.foundations.early_vision.blocks import Camera, box_corners


class Fit(NamedTuple):
    """Fitted numbers, and the sum of squared residuals that they leave."""

    numbers: Float[Tensor, " k"]
    loss: float


def least_squares(
    residuals: Callable[[Tensor], Tensor],
    start: Float[Tensor, " k"],
    steps: int = 60,
) -> Fit:
    """Lower the sum of squares of `residuals(numbers)`, from `start`.

    Each step solves (JᵀJ + damping diag(JᵀJ)) step = -Jᵀr, where J are the
    derivatives of the residuals. A step that helps lowers the damping,
    one that does not is not taken and raises it (Marquardt 1963).
    """
    numbers, damping = start, 1e-3
    r = residuals(numbers)
    loss = r.square().sum()
    for _ in range(steps):
        jacobian = torch.func.jacrev(residuals)(numbers)
        normal = jacobian.T @ jacobian
        diagonal = normal.diagonal().clamp(min=1e-12).diag()
        step = -torch.linalg.solve(
            normal + damping * diagonal, jacobian.T @ r
        )
        trial = residuals(numbers + step)
        if trial.isfinite().all() and trial.square().sum() < loss:
            numbers, r, damping = numbers + step, trial, damping / 10
            before, loss = loss, r.square().sum()
            if before - loss < 1e-9 * before or loss < 1e-24:
                break
        else:
            damping *= 10
        if damping > 1e12:
            break
    return Fit(numbers, loss.item())


def fit_box(
    seen: Float[Tensor, "n 2"], corners: list[int], camera: Camera
) -> Fit:
    """Place and size of a box on the floor from its projected corners.

    `seen` holds (column, row) of the corners numbered `corners`, as in
    `box_corners`. The answer is (x, y, yaw, width, depth, height). Tried
    from several turns, since a wrong turn can be a local minimum. Raises
    `ValueError` for fewer than three corners: six numbers want six
    equations.
    """
    if len(corners) < 3 or len(corners) != len(seen):
        raise ValueError(
            f"{len(seen)} places for {len(corners)} corners: give a place "
            "for each of at least 3 corners"
        )

    def residuals(numbers: Tensor) -> Tensor:
        places = camera.project(box_corners(numbers)[corners])
        return (places - seen).flatten()

    x, y = floor_point(seen.mean(0), camera)
    fits = []
    for yaw in torch.linspace(-1.2, 1.2, 4).tolist():
        start = torch.tensor([x, y, yaw, 1, 1, 1], dtype=torch.float64)
        fits.append(least_squares(residuals, start))
    upright = [fit for fit in fits if (fit.numbers[3:] > 0).all()] or fits
    return min(upright, key=lambda fit: fit.loss)


def floor_point(pixel: Float[Tensor, " 2"], camera: Camera) -> tuple[float, float]:
    """Where on the floor the ray through a pixel ends: x, y."""
    ray = camera.rays(pixel.double()) @ camera.axes
    x, y, _ = (camera.position - ray * camera.height / ray[2]).tolist()
    return x, y


def free_box_jacobian(numbers: Float[Tensor, " 6"], corners: list[int], camera: Camera) -> Float[Tensor, "n 7"]:
    """Derivatives of projected corners when the box may also float: the seventh number lifts it off the floor."""

    def places(free: Tensor) -> Tensor:
        lift = torch.stack([free[6] * 0, free[6] * 0, free[6]])
        return camera.project(box_corners(free[:6])[corners] + lift).flatten()

    return torch.func.jacrev(places)(torch.cat([numbers, numbers.new_zeros(1)]))


def superquadric_distance(
    numbers: Float[Tensor, " 11"], points: Float[Tensor, "n 3"]
) -> Float[Tensor, " n"]:
    """How far points lie outside a superquadric, along rays from its middle.

    Its numbers: logarithms of the half-axes (3), exponents e1 (along) and
    e2 (around), a rotation vector (3), the middle (3). On its surface
    F = (|x/a|^(2/e2) + |y/b|^(2/e2))^(e2/e1) + |z/c|^(2/e1) is one, with
    x, y, z in its own axes. Exponents near 0: a box; 1: an ellipsoid.
    """
    sizes, e1, e2 = numbers[:3].exp(), numbers[3], numbers[4]
    local = (points - numbers[8:]) @ rotation(numbers[5:8])
    x, y, z = ((local / sizes).square() + 1e-20).unbind(1)
    around = (x ** (1 / e2) + y ** (1 / e2)) ** (e2 / e1)
    inside_outside = around + z ** (1 / e1)
    return local.norm(dim=1) * (1 - inside_outside ** (-e1 / 2))


def rotation(vector: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """The matrix that turns by |vector| radians about the vector; its columns are the turned axes."""
    x, y, z = vector.unbind()
    o = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack([o, -z, y, z, o, -x, -y, x, o]).reshape(3, 3))


def superquadric_points(
    numbers: Float[Tensor, " 11"], n: int, generator: torch.Generator
) -> Float[Tensor, "n 3"]:
    """Points of the surface: random directions, each as far out as the surface is."""
    directions = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    at = directions + numbers[8:]
    scale = 1 - superquadric_distance(numbers, at)  # |d| F^(-e1/2), and |d| = 1
    return directions * scale[:, None] + numbers[8:]


def fit_superquadric(points: Float[Tensor, "n 3"]) -> Fit:
    """The superquadric nearest to points, in `superquadric_distance`'s numbers.

    Starts from the points' principal axes, with each of the three as the
    special axis z, and the other two as they are or turned by 45°, since
    exponents below and above 1 can take each other's place. Raises `ValueError` for fewer than 11 points.
    """
    if len(points) < 11:
        raise ValueError(
            f"{len(points)} points: a superquadric has 11 numbers, give 11 "
            "points or more"
        )
    middle = points.mean(0)
    _, spread, axes = torch.linalg.svd(points - middle, full_matrices=False)
    fits = []
    for turn, twist in product(range(3), (0.0, math.pi / 4)):
        frame = axes.roll(turn, 0).T
        frame = frame * torch.linalg.det(frame).sign()
        about_z = torch.tensor([0, 0, twist], dtype=points.dtype)
        frame = frame @ rotation(about_z)
        sizes = 1.5 * spread.roll(turn) / math.sqrt(len(points))
        exponents = points.new_tensor([0.6, 0.6])
        free_exponents = torch.logit((exponents - 0.1) / 1.8)
        vector = rotation_vector(frame)
        start = torch.cat([sizes.log(), free_exponents, vector, middle])

        def residuals(free: Tensor) -> Tensor:
            return superquadric_distance(bounded(free), points)

        fit = least_squares(residuals, start)
        fits.append(Fit(bounded(fit.numbers), fit.loss))
        if fit.loss < 1e-18 * len(points):
            break  # exact
    return min(fits, key=lambda fit: fit.loss)


def bounded(free: Float[Tensor, " 11"]) -> Float[Tensor, " 11"]:
    """Numbers whose exponents are squeezed from all reals into 0.1 … 1.9."""
    return torch.cat([free[:3], 0.1 + 1.8 * free[3:5].sigmoid(), free[5:]])


def rotation_vector(matrix: Float[Tensor, "3 3"]) -> Float[Tensor, " 3"]:
    """The vector that `rotation` turns into this matrix."""
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.from_matrix(matrix.numpy()).as_rotvec())
