"""What the page runs: walks over landscapes, momentum's factors, random bowls, saddles, noise, and a small network."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from helpers.data import batches
from helpers.foundations.optimizers.curvature import LBFGS
from helpers.foundations.optimizers.first_order import SGD, Adam, Method, Momentum
from helpers.foundations.optimizers.landscapes import Surface, beale, bowl, descend, rosenbrock, saddle
from helpers.training import Batch, fit, gradient_update

Number = float | int
STRONG_WOLFE = {"max_iter": 1, "max_eval": 25, "line_search_fn": "strong_wolfe"}
EXACT = {"max_iter": 1, "max_eval": 25, "line_search_fn": "exact"}


# -- landscapes --------------------------------------------------------------------------------------------------------


class Landscape(NamedTuple):
    """A surface over the plane, where walks on it begin, and the window in which it is drawn."""

    height: Surface
    start: tuple[float, float]
    xlim: tuple[float, float]
    ylim: tuple[float, float]


LANDSCAPES = {
    "bowl": Landscape(bowl, (-2.0, 0.9), (-2.3, 0.8), (-1.2, 1.2)),
    "saddle": Landscape(saddle, (0.9, 1e-3), (-1.1, 1.1), (-1.4, 1.4)),
    "Rosenbrock": Landscape(rosenbrock, (-1.2, 1.0), (-1.6, 1.5), (-0.6, 1.8)),
    "Beale": Landscape(beale, (1.0, 1.0), (0.5, 3.7), (-1.0, 1.3)),
}


def best_walk(
    landscape: Landscape, method: type[Method], steps: int = 60, **settings: Any
) -> Float[Tensor, "points 2"]:
    """The walk with the lowest mean height among those with eleven learning rates from 1e-4 to 10."""
    walks = []
    for lr in np.geomspace(1e-4, 10, 11):
        walks.append(descend(landscape.height, landscape.start, partial(method, lr=lr, **settings), steps))
    heights = [landscape.height(walk).nan_to_num(1e9).mean().item() for walk in walks]
    return walks[int(np.argmin(heights))]


def landscape_walks(steps: int = 60) -> dict[str, dict[str, Float[Tensor, "points 2"]]]:
    """For each landscape the best walk of three methods, and that of L-BFGS, which searches along each step's line."""
    walks = {}
    for name, landscape in LANDSCAPES.items():
        walks[name] = {
            "SGD": best_walk(landscape, SGD, steps),
            "Momentum": best_walk(landscape, Momentum, steps),
            "Adam": best_walk(landscape, Adam, steps),
            "L-BFGS": descend(landscape.height, landscape.start, partial(LBFGS, **STRONG_WOLFE), steps),
        }
    return walks


# -- quadratics --------------------------------------------------------------------------------------------------------


def plane(x: Float[Tensor, "*points d"], slope: Number = 1.0) -> Float[Tensor, "*points"]:
    """A surface without curvature: the gradient is `slope` in every coordinate, everywhere."""
    return slope * x.sum(-1)


def factor_per_step(
    lr: Float[Tensor, "..."],
    rho: Float[Tensor, "..."],
    curvature: Sequence[Number] | Float[Tensor, " d"] = (1.0, 10.0),
    steps: int = 600,
) -> Float[Tensor, "..."]:
    """The factor by which a step of momentum shrinks the slowest direction of a bowl, measured by running it.

    All settings `lr` and `rho`, of one shape, walk at once. The factor is the mean one of the second half of `steps`.
    """
    values = torch.as_tensor(curvature, dtype=torch.float64).view(-1, *[1] * lr.ndim)
    x, v = torch.ones(len(values), *lr.shape, dtype=torch.float64), 0.0
    sizes = []
    for _ in range(steps):
        v = rho * v + values * x
        x = x - lr * v
        sizes.append(torch.hypot(x, lr * v).amax(0))
    half = steps // 2
    return (sizes[-1] / sizes[half - 1]) ** (1 / (steps - half))


def changes_sign(
    lr_curvature: Float[Tensor, "..."], rho: Float[Tensor, "..."], steps: int = 600
) -> Shaped[Tensor, "..."]:
    """Whether a walk with momentum along one direction, from rest, ever lands beyond the minimum.

    `lr_curvature` is the learning rate times the direction's curvature.
    """
    x, v = torch.ones_like(lr_curvature), torch.zeros_like(lr_curvature)
    crossed = torch.zeros_like(lr_curvature, dtype=torch.bool)
    for _ in range(steps):
        v = rho * v + x
        x = x - lr_curvature * v
        crossed |= x < -1e-250  # not what rounding leaves of a walk that has arrived
    return crossed


def steps_to(walk: Float[Tensor, "points d"], share: float = 1e-6) -> int:
    """The number of steps after which a walk stays within `share` of its first distance from the origin."""
    far = walk.norm(dim=1) > share * walk[0].norm()
    return int(far.nonzero().max()) + 1


def polyak(kappa: Number, smallest: Number = 1.0) -> tuple[float, float]:
    """The learning rate and the momentum with which momentum is fastest on curvatures from `smallest` to κ times it."""
    root = kappa**0.5
    return (2 / (root + 1)) ** 2 / smallest, ((root - 1) / (root + 1)) ** 2


def steps_walked(kappa: Number) -> tuple[int, int]:
    """Steps to a millionth of the distance on a bowl of condition `kappa`: gradient descent and momentum, each tuned."""
    surface, start = partial(bowl, curvature=(1.0, float(kappa))), (1.0, 1.0)
    lr, rho = polyak(kappa)
    plain = descend(surface, start, partial(SGD, lr=2 / (kappa + 1)), int(8 * kappa))
    heavy = descend(surface, start, partial(Momentum, lr=lr, momentum=rho), int(8 * kappa))
    return steps_to(plain), steps_to(heavy)


def steps_by_formula(kappa: Number) -> tuple[int, int]:
    """The same two numbers from the eigenvalues: a factor for each step, and a double one for momentum."""
    t = np.arange(100_000)
    factor = (kappa - 1) / (kappa + 1)
    s = (kappa**0.5 - 1) / (kappa**0.5 + 1)
    plain = factor**t
    heavy = s**t * np.hypot(1 + (1 - s) * t, 1 + (1 + s) * t) / 2**0.5
    return int((plain > 1e-6).sum()), int((heavy > 1e-6).sum())


def random_bowl(n: int, condition: Number, seed: int) -> Surface:
    """½ xᵀ A x in n dimensions, turned at random; A's eigenvalues lie evenly, on a log scale, from 1 to `condition`."""
    noise = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(n, n, generator=noise).double())[0]
    values = torch.logspace(0, np.log10(condition), n, dtype=torch.float64)
    A = Q @ torch.diag(values) @ Q.T
    return lambda x: 0.5 * x @ A @ x


def noise_floor(lr: float, rho: float, seed: int, walkers: int = 4_000, steps: int = 400) -> float:
    """The variance of x that momentum keeps on ½ x² when each gradient carries noise of variance 1.

    That of `walkers` walks from the minimum, after `steps`.
    """
    noise = torch.Generator().manual_seed(seed)
    x = v = torch.zeros(walkers, dtype=torch.float64)
    for _ in range(steps):
        g = x + torch.randn(walkers, generator=noise, dtype=torch.float64)
        v = rho * v + g
        x = x - lr * v
    return x.var().item()


def numbers_kept(method: type[Method], n: int, **settings: Any) -> int:
    """How many numbers a method remembers of `n` parameters after one step on Σ x⁴."""
    x = torch.linspace(1, 2, n, dtype=torch.float64).requires_grad_()
    optimizer = method([x], lr=1e-3, **settings)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (x**4).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return _count(list(optimizer.state[x].values()))


def in_bytes(numbers: Number) -> str:
    """The memory of so many numbers at four bytes each, as `102 MB`."""
    size = 4 * numbers
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} EB"


def _count(value: Any) -> int:
    """The numbers in the tensors of a nested list."""
    if isinstance(value, list | tuple):
        return sum(_count(item) for item in value)
    return value.numel() if isinstance(value, Tensor) else 0


# -- saddles -----------------------------------------------------------------------------------------------------------


def critical_points(n: int, seed: int, waves: int = 50, starts: int = 400) -> Float[Tensor, "found n"]:
    """Eigenvalues of the Hessian, ascending, where Newton's method finds a sum of random waves in n dimensions flat."""
    noise = torch.Generator().manual_seed(seed)
    w = torch.randn(waves, n, generator=noise).double()
    phase = 6.3 * torch.rand(waves, generator=noise).double()
    x = 20 * torch.rand(starts, n, generator=noise).double()
    for _ in range(41):  # f(x) = Σ cos(w x + phase)
        angle = x @ w.T + phase
        g = -angle.sin() @ w
        H = -torch.einsum("pk,ki,kj->pij", angle.cos(), w, w)
        flat = g.norm(dim=1) < 1e-8
        step = torch.linalg.solve(H, g)
        x = x - step / step.norm(dim=1, keepdim=True).clamp(min=1)
    return torch.linalg.eigvalsh(H[flat])


def saddle_share(n: int, seed: int) -> float:
    """The share of saddles, with curvatures of both signs, among the critical points of random waves."""
    values = critical_points(n, seed)
    return ((values[:, 0] < 0) & (values[:, -1] > 0)).double().mean().item()


def steps_out(method: type[Method], seed: int, lr: float = 0.1) -> int:
    """Steps until a walk that passes the saddle at a distance of about 1e-4 is half way to a minimum."""
    noise = torch.Generator().manual_seed(seed)
    start = torch.tensor([1.0, 0]) + 1e-4 * torch.randn(2, generator=noise)
    walk = descend(saddle, start, partial(method, lr=lr), 400)
    return int((walk[:, 1].abs() > 0.5).nonzero().min())


# -- a network ---------------------------------------------------------------------------------------------------------


def network(images: Float[Tensor, "n c h w"], hidden: int, seed: int) -> nn.Sequential:
    """One hidden layer of `hidden` units between the pixels of `images` and ten classes, on their device."""
    torch.manual_seed(seed)
    pixels = images[0].numel()
    layers = [nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 10)]
    return nn.Sequential(nn.Flatten(), *layers).to(images.device)


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """The mean cross-entropy of a batch of images and labels."""
    x, y = batch
    return F.cross_entropy(model(x), y)


def train(
    method: type[Method],
    lr: float,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    *,
    hidden: int,
    steps: int,
    seed: int,
    batch_size: int = 64,
) -> tuple[nn.Sequential, Float[Tensor, " steps"]]:
    """A network after `steps` of a method, and the loss of each batch; a run that diverges goes on to its end."""
    model = network(images, hidden, seed)
    order = torch.Generator().manual_seed(seed)
    stream = batches(images, labels, batch_size=batch_size, generator=order)
    update = gradient_update(model, method(model.parameters(), lr), loss)
    history = fit(update, stream, steps, progress=False, finite=False)
    return model, torch.from_numpy(history["loss"])


def race(
    model: nn.Module,
    method: type[Method],
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    *,
    batch_size: int,
    budget: int,
    seed: int,
    **settings: Any,
) -> float:
    """The loss on the whole set after `budget` gradients, and those with which the last step ends."""
    optimizer = method(model.parameters(), **settings)
    order = torch.Generator().manual_seed(seed)
    stream = batches(images, labels, batch_size=batch_size, generator=order)
    used = 0
    while used < budget:
        batch = next(stream)

        def closure() -> Tensor:
            nonlocal used
            used += 1
            optimizer.zero_grad()
            value = loss(model, batch)  # noqa: B023 (a step ends before the next batch comes)
            value.backward()
            return value

        optimizer.step(closure)
    with torch.no_grad():
        return loss(model, (images, labels)).item()


def sample_gradients(
    model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n parameters"]:
    """The gradient of each sample's own loss."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def one(weights, x, y):
        return F.cross_entropy(functional_call(model, weights, x[None]), y[None])

    parts = vmap(grad(one), (None, 0, 0))(weights, images, labels)
    return torch.cat([part.flatten(1) for part in parts.values()], dim=1)


def weights_left(
    method: type[Method], seed: int, *, weight_decay: float = 0.3, steps: int = 1000, lr: float = 1e-3
) -> Float[Tensor, "2"]:
    """What is left of weights 1 whose gradients are pure noise of size 0.1 and of size 10: a mean over 500 of each."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.ones(2, 500, dtype=torch.float64, requires_grad=True)
    optimizer = method([x], lr=lr, weight_decay=weight_decay)
    sizes = torch.tensor([[0.1], [10.0]], dtype=torch.float64)
    for _ in range(steps):
        x.grad = sizes * torch.randn(2, 500, generator=noise).double()
        optimizer.step()
    return x.detach().mean(1)
