"""Toy worlds whose modes are known: a ring, a grid and two parallel lines; who is covered is counted.

After the ring and the grid of Metz et al. 2017 (arXiv:1611.02163) and Srivastava et al. 2017 (arXiv:1705.07761).
"""

from collections.abc import Callable, Iterator
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.generative.autoencoders_vae.latent import distances
from helpers.generative.autoencoders_vae.networks import check_at_least_one

Points = Float[Tensor, "n 2"]


def ring(modes: int = 8, radius: float = 2.0) -> Float[Tensor, "k 2"]:
    """Centres evenly on a circle; the first lies to the right."""
    check_at_least_one(modes=modes)
    angle = torch.arange(modes) * (2 * pi / modes)
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


def grid(side: int = 5, spacing: float = 1.0) -> Float[Tensor, "k 2"]:
    """Centres of a square grid around the origin, `side` by `side`."""
    check_at_least_one(side=side)
    ticks = (torch.arange(side) - (side - 1) / 2) * spacing
    return torch.cartesian_prod(ticks, ticks)


def around(
    centres: Float[Tensor, "k 2"],
    n: int,
    std: float,
    generator: torch.Generator,
) -> Points:
    """Points of a mixture of round Gaussians in equal shares.

    Drawn on the generator's device, returned on that of the centres.
    """
    where = dict(generator=generator, device=generator.device)
    chosen = torch.randint(len(centres), (n,), **where).to(centres.device)
    noise = torch.randn(n, 2, **where).to(centres)
    return centres[chosen] + std * noise


def line(at: float, n: int, generator: torch.Generator) -> Points:
    """Points (at, u) with u uniform on [0, 1]: Arjovsky's example 1."""
    u = torch.rand(n, generator=generator, device=generator.device)
    return torch.stack([torch.full_like(u, at), u], 1)


def endless(draw: Callable[[], Tensor]) -> Iterator[tuple[Tensor]]:
    """A stream of fresh batches for `fit`."""
    while True:
        yield (draw(),)


def covered(
    samples: Points,
    centres: Float[Tensor, "k 2"],
    std: float,
    *,
    share: float = 0.1,
) -> tuple[int, float]:
    """Modes covered, and the share of good samples.

    A sample is good within 3 standard deviations of its nearest centre;
    a mode is covered when it gets at least `share` of the good samples
    that an even split of all samples would give it. Raises `ValueError`
    for a `std` or `share` that is not positive and for samples that are
    no numbers.
    """
    for name, number in (("std", std), ("share", share)):
        if not number > 0:
            raise ValueError(f"{name} = {number}: it is positive")
    distance, nearest = distances(samples, centres).min(1)
    good = distance <= 3 * std
    counts = torch.bincount(nearest[good], minlength=len(centres))
    enough = counts >= max(1.0, share * len(samples) / len(centres))
    return int(enough.sum()), float(good.float().mean())
