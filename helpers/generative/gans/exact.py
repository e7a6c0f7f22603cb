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
    """Density at `x` of normal distributions in equal shares.

    Raises `ValueError` unless each mean has its own std.
    """
    if len(means) != len(stds):
        raise ValueError(
            f"{len(means)} means and {len(stds)} stds: as many of both"
        )
    mean, std = x.new_tensor(means), x.new_tensor(stds)
    parts = torch.distributions.Normal(mean, std)
    return parts.log_prob(x[:, None]).exp().mean(1)


def optimal_discriminator(p: Density, q: Density) -> Density:
    """D*(x) = p / (p + q), the probability that x is real; else ½."""
    return torch.where(p + q == 0, 0.5, p / (p + q))


def optimal_squares(
    p: Density, q: Density, *, a: float = -1.0, b: float = 1.0
) -> Density:
    """D*(x) = (b p + a q) / (p + q), what least squares regresses to."""
    real = optimal_discriminator(p, q)
    return b * real + a * (1 - real)


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
    gap = (p - q) / q
    near = gap.abs() < 0.5  # there the two logarithms would cancel
    log_ratio = torch.where(near, gap.log1p(), p.log() - q.log())
    return torch.where(p == 0, 0, p * log_ratio).sum() * dx


def jensen_shannon(p: Density, q: Density, dx: float) -> Scalar:
    """½ KL(p, m) + ½ KL(q, m) with m = (p + q) / 2: 0 to ln 2.

    Point by point, with p = m (1 + r) and q = m (1 - r): what the two
    terms have in common cancels before anything is added up.
    """
    m = (p + q) / 2
    r = torch.where(m == 0, 0, (p - q) / (2 * m))
    xlog1py = torch.special.xlog1py
    return (m * (xlog1py(1 + r, r) + xlog1py(1 - r, -r))).sum() * dx / 2


def value_at_optimum(p: Density, q: Density, dx: float) -> Scalar:
    """V(D*) = -ln 4 + 2 JSD(p, q)."""
    return 2 * jensen_shannon(p, q, dx) - log(4)


def pearson_chi2(p: Density, q: Density, dx: float) -> Scalar:
    """Pearson χ² of p + q against 2q: ∫ (2q - (p + q))² / (p + q)."""
    share = torch.where(p + q == 0, 0, (q - p) / (p + q))
    return (share * (q - p)).sum() * dx


def wasserstein_density(p: Density, q: Density, dx: float) -> Scalar:
    """W₁ on a line: the area between the distribution functions."""
    return ((p - q).cumsum(0) * dx).abs().sum() * dx


def wasserstein_samples(
    x: Float[Tensor, "n"], y: Float[Tensor, "m"]
) -> Scalar:
    """W₁ of two samples on a line: the mean distance once sorted.

    Sorting pairs the smallest with the smallest, which no other plan
    beats. Raises `ValueError` for samples of two sizes and for none.
    """
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"{len(x)} against {len(y)} samples: take as many of both"
        )
    return (x.sort().values - y.sort().values).abs().mean()
