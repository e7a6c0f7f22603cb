"""Walks through a latent space, and what to measure there."""

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.generative.autoencoders_vae.networks import check_at_least_one


def manifold_grid(side: int, *, tail: float = 0.02) -> Float[Tensor, "n 2"]:
    """Codes of a picture of `side` times `side` images, row by row.

    Equal shares of the standard normal lie between neighbours, as in
    Kingma & Welling 2014, figure 4; `tail` of it lies beyond each edge.
    The first row has the largest second coordinate.
    """
    check_at_least_one(side=side)
    line = torch.special.ndtri(torch.linspace(tail, 1 - tail, side))
    second, first = torch.meshgrid(line.flip(0), line, indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], dim=1)


def interpolate(
    a: Float[Tensor, "*n d"], b: Float[Tensor, "*n d"], steps: int
) -> Float[Tensor, "steps *n d"]:
    """Codes on the straight line from a to b, both ends included."""
    check_at_least_one(steps=steps)
    share = torch.linspace(0, 1, steps).to(a)
    return torch.lerp(a, b, share.view(-1, *[1] * a.ndim))


def active_dimensions(
    mean: Float[Tensor, "n d"], *, threshold: float = 0.01
) -> int:
    """How many dimensions of the code depend on x at all.

    Those whose posterior mean varies over the data by more than
    `threshold` (Burda et al. 2016, section 5.2).
    """
    return int((mean.var(0) > threshold).sum())


def power_spectrum(
    images: Float[Tensor, "n c h w"],
) -> Float[Tensor, "r"]:
    """Mean energy of the images at each spatial frequency, from 0.

    Index r holds the frequencies of r to r + 1 waves an image, rounded;
    the sum of all is the mean of the sum of squares (Parseval), up to
    the corners of the spectrum, which the last index takes in.
    """
    h, w = images.shape[-2:]
    energy = torch.fft.fft2(images, norm="ortho").abs() ** 2
    energy = energy.sum(1).mean(0)  # h w
    y = torch.fft.fftfreq(h, 1 / h).to(images)
    x = torch.fft.fftfreq(w, 1 / w).to(images)
    radius = torch.hypot(y[:, None], x[None]).round().long()
    radius = radius.clamp(max=min(h, w) // 2)
    found = energy.new_zeros(min(h, w) // 2 + 1)
    return found.index_add(0, radius.flatten(), energy.flatten())


def nearest_distance(
    x: Float[Tensor, "n *item"], references: Float[Tensor, "m *item"]
) -> Float[Tensor, "n"]:
    """The Euclidean distance of each x to the closest of `references`."""
    flat = torch.cdist(x.flatten(1), references.flatten(1))
    return flat.min(1).values
