"""What the page runs: random sets that a plane separates, digits in pairs, XOR by networks, functions by width."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from helpers.data import ImageSet
from helpers.foundations.perceptrons.functions import piecewise_linear
from helpers.foundations.perceptrons.rule import perceptron_rule
from helpers.foundations.perceptrons.two_layers import forward, gradients, train_two_layers


class Samples(NamedTuple):
    """Inputs, the last of which is always 1, and labels +1 or -1."""

    x: Float[np.ndarray, "n d"]
    y: Shaped[np.ndarray, " n"]


# -- the rule ----------------------------------------------------------------------------------------------------------


def separable(n: int, d: int, gap: float | int, seed: int) -> Samples:
    """`n` random inputs of `d` numbers and a 1; a random plane separates them, and none lies nearer than `gap` to it."""
    noise = np.random.default_rng(seed)
    u = noise.standard_normal(d)
    u /= np.linalg.norm(u)
    shift = 0.5 * noise.standard_normal()
    x, y = [], []
    while len(x) < n:
        point = noise.standard_normal(d)
        height = point @ u + shift
        if abs(height) >= gap:
            x.append([*point, 1.0])
            y.append(np.sign(height))
    return Samples(np.array(x), np.array(y))


def pair(data: ImageSet, first: int, second: int, n: int) -> Samples:
    """The first `n` images of each of two digits as vectors of pixels and a 1, in turns; `first` is +1."""
    rows = [data.images[data.labels == k][:n].flatten(1).double().numpy() for k in (first, second)]
    x = np.stack(rows, 1).reshape(2 * n, -1)
    return Samples(np.column_stack([x, np.ones(2 * n)]), np.tile([1.0, -1.0], n))


def xor() -> Samples:
    """The four corners of a square and a 1; the two on one diagonal are +1."""
    x = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    return Samples(x, np.array([-1.0, 1, 1, -1]))


def pass_map(x: Float[np.ndarray, "n d"], rate: float | int = 1.0) -> Float[np.ndarray, "d d"]:
    """What one pass of the delta rule multiplies an error of the weights with: the product of all I - rate x xᵀ."""
    M = np.eye(x.shape[1])
    for x_i in x:
        M = (np.eye(len(M)) - rate * np.outer(x_i, x_i)) @ M
    return M


def radius(M: Float[np.ndarray, "d d"]) -> float:
    """The largest modulus of the eigenvalues."""
    return float(abs(np.linalg.eigvals(M)).max())


# -- a hidden layer ----------------------------------------------------------------------------------------------------


class XorRun(NamedTuple):
    """How a network of two layers ends: right at all four corners or not, its loss, and the length of the loss's gradient."""

    solved: bool
    loss: float
    slope: float


def xor_run(hidden: int, seed: int, *, rate: float | int = 0.3, steps: int = 2000) -> XorRun:
    """Train a network of two layers on the four corners, from weights four times the usual size."""
    samples = xor()
    x, y = samples.x[:, :2], samples.y[:, None]
    weights, _ = train_two_layers(x, y, hidden=hidden, rate=rate, steps=steps, seed=seed, size=4.0)
    loss, slopes = gradients(weights, x, y)
    length = math.sqrt(sum(float(np.square(part).sum()) for part in slopes))
    return XorRun(bool((np.sign(forward(weights, x)[1]) == y).all()), float(loss), length)


def one_hot(labels: Shaped[np.ndarray, " n"], k: int) -> Float[np.ndarray, "n k"]:
    """A row of zeros for each label, with a 1 at its place."""
    return np.eye(k)[labels]


# -- functions ---------------------------------------------------------------------------------------------------------


def wave(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The function that the page approximates on [0, 1]."""
    return torch.sin(2 * torch.pi * x) + 0.4 * torch.sin(7 * torch.pi * x)


def gap_by_hand(function: Callable, units: int, grid: int = 4001) -> float:
    """The largest error on [0, 1] of the ReLU layer by hand through units + 1 evenly spaced points."""
    knots = torch.linspace(0, 1, units + 1, dtype=torch.float64)
    network = piecewise_linear(knots, function(knots))
    x = torch.linspace(0, 1, grid, dtype=torch.float64)
    with torch.no_grad():
        return (network(x[:, None])[:, 0] - function(x)).abs().max().item()


def gaps_trained(
    function: Callable, units: int, seeds: Sequence[int], *, steps: int = 1500, rate: float | int = 0.01
) -> Float[Tensor, " seeds"]:
    """The largest error on [0, 1] of ReLU networks of one hidden layer, trained by Adam on 256 points; all seeds at once.

    The bends begin evenly spread at random over [0, 1], half of them to either side; the learning rate falls along a cosine.
    """
    first, last = [], []
    for seed in seeds:
        noise = torch.Generator().manual_seed(seed)
        side = torch.where(torch.rand(units, generator=noise) < 0.5, -1.0, 1.0)
        slope = side * (1 + torch.rand(units, generator=noise)) * 3
        first.append(torch.stack([slope, -slope * torch.rand(units, generator=noise)]))
        last.append(torch.cat([torch.randn(units, generator=noise) / units**0.5, torch.zeros(1)]))
    first, last = (torch.stack(part).double().requires_grad_() for part in (first, last))
    x = torch.linspace(0, 1, 256, dtype=torch.float64)
    method = torch.optim.Adam([first, last], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(method, steps)

    def networks(x: Tensor) -> Tensor:
        h = (x[:, None] * first[:, None, 0] + first[:, None, 1]).relu()  # [seeds points units]
        return (h @ last[:, :-1, None])[..., 0] + last[:, None, -1]

    for _ in range(steps):
        method.zero_grad()
        (networks(x) - function(x)).square().mean(1).sum().backward()
        method.step()
        schedule.step()
    fine = torch.linspace(0, 1, 4001, dtype=torch.float64)
    with torch.no_grad():
        return (networks(fine) - function(fine)).abs().amax(1)


def mistakes_and_bounds(
    sets: Sequence[Samples], bound: Callable
) -> tuple[Float[np.ndarray, " sets"], Float[np.ndarray, " sets"]]:
    """For each set the mistakes of the rule until it ends, and the bound."""
    runs = [perceptron_rule(*samples, passes=100_000) for samples in sets]
    assert all(run.converged for run in runs)
    return np.array([float(sum(run.mistakes)) for run in runs]), np.array([bound(*samples) for samples in sets])
