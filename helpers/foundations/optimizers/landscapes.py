"""Surfaces over the plane on which optimizers are watched, and the walk over them."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

Surface = Callable[[Tensor], Tensor]


def bowl(
    x: Float[Tensor, "*points d"], curvature: Sequence[float] | Float[Tensor, " d"] = (1.0, 10.0)
) -> Float[Tensor, "*points"]:
    """½ Σ λᵢ xᵢ²: the quadratic in the coordinates of its eigenvectors, with eigenvalues `curvature`.

    Raises `ValueError` unless there is one for each coordinate.
    """
    values = torch.as_tensor(curvature).to(x)
    if values.shape != x.shape[-1:]:
        raise ValueError(f"{values.numel()} curvatures for points {list(x.shape)}: give one for each coordinate")
    return 0.5 * (values * x**2).sum(-1)


def saddle(x: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points"]:
    """½ x₀² - ½ x₁² + ¼ x₁⁴: a saddle at the origin, minima of height -¼ at (0, ±1)."""
    a, b = coordinates(x)
    return 0.5 * a**2 - 0.5 * b**2 + 0.25 * b**4


def rosenbrock(x: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points"]:
    """(1 - x₀)² + 100 (x₁ - x₀²)²: a bent valley with its minimum 0 at (1, 1) (Rosenbrock 1960)."""
    a, b = coordinates(x)
    return (1 - a) ** 2 + 100 * (b - a**2) ** 2


def beale(x: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points"]:
    """Σₖ (cₖ - x₀ (1 - x₁ᵏ))², c = 1.5, 2.25, 2.625: plateaus and cliffs, minimum 0 at (3, ½) (Beale 1958)."""
    a, b = coordinates(x)
    return sum((c - a * (1 - b**k)) ** 2 for k, c in enumerate((1.5, 2.25, 2.625), start=1))


def descend(
    f: Surface,
    start: Sequence[float] | Float[Tensor, " d"],
    optimizer: Callable[[list[Tensor]], Optimizer],
    steps: int,
) -> Float[Tensor, "points d"]:
    """The points that an optimizer visits on `f`: the start and where each step ends, in float64.

    `optimizer` makes one from a list of parameters, such as `partial(Momentum, lr=0.1)`. Raises `ValueError` for a
    surface whose height at a point is not one number.
    """
    x = torch.as_tensor(start, dtype=torch.float64).detach().clone().requires_grad_()
    method = optimizer([x])

    def closure() -> Tensor:
        method.zero_grad()
        loss = f(x)
        if loss.ndim:
            raise ValueError(f"f is of shape {list(loss.shape)} at {x.tolist()}: its value there is one number")
        loss.backward(retain_graph=True)  # Newton differentiates the same graph once more
        return loss

    path = [x.detach().clone()]
    for _ in range(steps):
        method.step(closure)
        path.append(x.detach().clone())
    return torch.stack(path)


def coordinates(x: Float[Tensor, "*points d"]) -> tuple[Float[Tensor, "*points"], Float[Tensor, "*points"]]:
    """The two coordinates of points in the plane; `ValueError` for other points."""
    if x.shape[-1:] != (2,):
        raise ValueError(f"points {list(x.shape)}: this surface lies over the plane, [... 2]")
    return x.unbind(-1)
