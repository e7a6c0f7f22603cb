"""Walks through a latent space, and what to measure there."""

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.generative.autoencoders_vae.networks import check_finite, wide


def manifold_grid(side: int, *, tail: float = 0.02) -> Float[Tensor, "n 2"]:
    """Codes of a picture of `side` times `side` images, row by row.

    Equal shares of the standard normal lie between neighbours, as in
    Kingma & Welling 2014, figure 4; `tail` of it lies beyond each edge.
    The first row has the largest second coordinate. Raises `ValueError`
    unless side > 1 and 0 < tail < 0.5.
    """
    check_at_least_two(side=side)
    if not 0 < tail < 0.5:
        raise ValueError(f"tail = {tail}: between 0 and 0.5, like 0.02")
    line = torch.special.ndtri(torch.linspace(tail, 1 - tail, side))
    second, first = torch.meshgrid(line.flip(0), line, indexing="ij")
    return torch.stack([first.flatten(), second.flatten()], dim=1)


def interpolate(
    a: Float[Tensor, "*n d"], b: Float[Tensor, "*n d"], steps: int
) -> Float[Tensor, "steps *n d"]:
    """Codes on the straight line from a to b, both ends included.

    Raises `ValueError` for one step, which has no two ends, and for
    codes of two shapes.
    """
    check_at_least_two(steps=steps)
    if a.shape != b.shape:
        raise ValueError(
            f"from a code of shape {list(a.shape)} to one of shape "
            f"{list(b.shape)}: one shape for both"
        )
    share = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)
    return torch.lerp(a, b, share.view(-1, *[1] * a.ndim))


def active_dimensions(
    mean: Float[Tensor, "n d"], *, threshold: float = 0.01
) -> int:
    """How many dimensions of the code depend on x at all.

    Those whose posterior mean varies over the data by more than
    `threshold` (Burda et al. 2016, section 5.2). Raises `ValueError` for
    fewer than two codes and for codes that are no numbers.
    """
    check_at_least_two(n=len(mean))
    check_finite(mean=mean)
    return int((mean.var(0) > threshold).sum())


def power_spectrum(
    images: Float[Tensor, "n c h w"],
) -> Float[Tensor, "r"]:
    """Mean energy of the images at each spatial frequency, from 0.

    Index r holds the frequencies that round to r waves an image; the sum
    of all is the mean of the sum of squares (Parseval), as the last index
    takes in the corners of the spectrum.
    """
    images = wide(images)
    h, w = images.shape[-2:]
    energy = torch.fft.fft2(images, norm="ortho").abs() ** 2
    energy = energy.sum(1).mean(0)  # h w
    y = torch.fft.fftfreq(h, 1 / h).to(images)
    x = torch.fft.fftfreq(w, 1 / w).to(images)
    radius = torch.hypot(y[:, None], x[None]).round().long()
    radius = radius.clamp(max=min(h, w) // 2)
    found = energy.new_zeros(min(h, w) // 2 + 1)
    return found.index_add(0, radius.flatten(), energy.flatten())


def distances(
    x: Float[Tensor, "n *item"], references: Float[Tensor, "m *item"]
) -> Float[Tensor, "n m"]:
    """Euclidean distances, each from the differences themselves.

    Never as |x|² - 2 x·y + |y|², which leaves a copy at some hundredths
    instead of 0. Raises `ValueError` for items of two shapes, for none at
    all, and for values that are no numbers.
    """
    if x.shape[1:] != references.shape[1:]:
        raise ValueError(
            f"items of shape {list(x.shape[1:])} against references of shape "
            f"{list(references.shape[1:])}: one shape for both"
        )
    if min(len(x), len(references)) == 0:
        raise ValueError(
            f"{len(x)} items and {len(references)} references: at least 1"
        )
    check_finite(x=x, references=references)
    return torch.cdist(
        wide(x).flatten(1),
        wide(references).flatten(1),
        compute_mode="donot_use_mm_for_euclid_dist",
    )


def nearest_distance(
    x: Float[Tensor, "n *item"], references: Float[Tensor, "m *item"]
) -> Float[Tensor, "n"]:
    """The Euclidean distance of each x to the closest of `references`."""
    return distances(x, references).amin(1)


def check_at_least_two(**numbers: int) -> None:
    """Refuse a number below 2, by name."""
    for name, number in numbers.items():
        if number < 2:
            raise ValueError(f"{name} = {number}: at least 2")
