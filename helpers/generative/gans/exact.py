"""What the games converge to, where it is known: densities on a line (Goodfellow 2014, Mao 2017, Arjovsky 2017).

`p` is the density of the data and `q` that of the generator, on a grid of spacing `dx`: integrals are sums.
"""

from math import log

import torch
from jaxtyping import Float
from torch import Tensor

Density = Float[Tensor, "n"]
Scalar = Float[Tensor, ""]


def normal_mixture(
    x: Density,
    means: list[float],
    stds: list[float],
) -> Density:
    """Density at `x` of normal distributions in equal shares."""
    mean, std = x.new_tensor(means), x.new_tensor(stds)
    parts = torch.distributions.Normal(mean, std)
    return parts.log_prob(x[:, None]).exp().mean(1)


def optimal_discriminator(p: Density, q: Density) -> Density:
    """D*(x) = p / (p + q), the probability that x is real."""
    return p / (p + q)


def optimal_squares(
    p: Density, q: Density, *, a: float = -1.0, b: float = 1.0
) -> Density:
    """D*(x) = (b p + a q) / (p + q), what least squares regresses to."""
    return (b * p + a * q) / (p + q)


def game_value(logit: Density, p: Density, q: Density, dx: float) -> Scalar:
    """V(D) = E_p log D + E_q log(1 - D) for D = σ(logit)."""
    log_d = torch.nn.functional.logsigmoid(logit)
    log_not = torch.nn.functional.logsigmoid(-logit)
    return (p * log_d + q * log_not).sum() * dx


def squares_value(
    d: Density, p: Density, q: Density, dx: float, *, c: float = 0.0
) -> Scalar:
    """½ E_p (D - c)² + ½ E_q (D - c)², the generator's objective.

    The first term does not depend on the generator; with it the value
    at D* is a divergence.
    """
    return ((p + q) * (d - c) ** 2).sum() * dx / 2


def kl(p: Density, q: Density, dx: float) -> Scalar:
    """KL(p, q) in nats; where p = 0 nothing is added."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum() * dx


def jensen_shannon(p: Density, q: Density, dx: float) -> Scalar:
    """½ KL(p, m) + ½ KL(q, m) with m = (p + q) / 2: 0 to ln 2."""
    m = (p + q) / 2
    return (kl(p, m, dx) + kl(q, m, dx)) / 2


def value_at_optimum(p: Density, q: Density, dx: float) -> Scalar:
    """V(D*) = -ln 4 + 2 JSD(p, q)."""
    return 2 * jensen_shannon(p, q, dx) - log(4)


def pearson_chi2(p: Density, q: Density, dx: float) -> Scalar:
    """Pearson χ² of p + q against 2q: ∫ (2q - (p + q))² / (p + q)."""
    return ((q - p) ** 2 / (p + q)).sum() * dx


def wasserstein_density(p: Density, q: Density, dx: float) -> Scalar:
    """W₁ on a line: the area between the distribution functions."""
    return ((p - q).cumsum(0) * dx).abs().sum() * dx


def wasserstein_samples(
    x: Float[Tensor, "n"], y: Float[Tensor, "m"]
) -> Scalar:
    """W₁ of two samples on a line: the mean distance once sorted.

    Sorting pairs the smallest with the smallest, which no other plan
    beats. Raises `ValueError` for samples of two sizes.
    """
    if len(x) != len(y):
        raise ValueError(
            f"{len(x)} against {len(y)} samples: take as many of both"
        )
    return (x.sort().values - y.sort().values).abs().mean()
