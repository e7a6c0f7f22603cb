"""Probabilistic PCA: the variational autoencoder that can be solved.

z ~ N(0, I), x | z ~ N(W z + μ, σ² I). Tipping & Bishop 1999; as the optimum
of a linear VAE, Lucas et al. 2019, arXiv:1911.02469.
"""

from dataclasses import dataclass
from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.generative.autoencoders_vae.bounds import (
    cholesky,
    kl_between_normals,
)
from helpers.generative.autoencoders_vae.networks import check_finite


@dataclass(frozen=True)
class LinearGaussian:
    """The model with weight W, offset μ and noise variance σ²."""

    weight: Float[Tensor, "d q"]
    offset: Float[Tensor, "d"]
    variance: Float[Tensor, ""]

    @classmethod
    def fit(cls, x: Float[Tensor, "n d"], dim: int) -> "LinearGaussian":
        """The maximum of the likelihood, in closed form.

        W = U (Λ - σ² I)^½ with the `dim` largest eigenvalues Λ of the
        covariance, σ² the mean of the others (Tipping & Bishop 1999,
        equations 7 and 8). Raises `ValueError` unless 0 < dim < d, and
        where the data vary in `dim` directions only: then the likelihood
        has no maximum.
        """
        check_finite(x=x)
        if not 0 < dim < x.shape[1]:
            raise ValueError(
                f"dim = {dim}: between 1 and {x.shape[1] - 1} for data of "
                f"{x.shape[1]} dimensions, one is left for the noise"
            )
        offset = x.mean(0)
        covariance = (x - offset).T @ (x - offset) / len(x)
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        variance = values[:-dim].mean()
        if variance <= 8 * len(values) * torch.finfo(x.dtype).eps * values[-1]:
            raise ValueError(
                f"dim = {dim}: {len(x)} points vary in no further direction, "
                "which leaves no noise; take fewer dimensions or more points"
            )
        scale = (values[-dim:] - variance).clamp(min=0).sqrt()
        weight = (vectors[:, -dim:] * scale).flip(1)
        return cls(weight, offset, variance)

    def covariance(self) -> Float[Tensor, "d d"]:
        """C = W Wᵀ + σ² I, of x."""
        W = self.weight
        return W @ W.T + self.variance * torch.eye(len(W)).to(W)

    def log_evidence(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(x) = log N(x; μ, C)."""
        root = cholesky(self.covariance(), "W Wᵀ + σ² I")
        white = torch.linalg.solve_triangular(
            root, (x - self.offset).T, upper=False
        )
        constant = x.shape[1] * log(2 * pi) / 2
        return -(white**2).sum(0) / 2 - root.diagonal().log().sum() - constant

    def posterior(
        self, x: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "n q"], Float[Tensor, "q q"]]:
        """Mean and covariance of p(z | x).

        M⁻¹ Wᵀ (x - μ) and σ² M⁻¹, where M = Wᵀ W + σ² I. The covariance
        is diagonal if the columns of W are orthogonal, as after `fit`.
        """
        W = self.weight
        M = W.T @ W + self.variance * torch.eye(W.shape[1]).to(W)
        inverse = torch.linalg.inv(M)
        return (x - self.offset) @ W @ inverse, self.variance * inverse

    def expected_log_likelihood(
        self,
        x: Float[Tensor, "n d"],
        mean: Float[Tensor, "n q"],
        covariance: Float[Tensor, "q q"],
    ) -> Float[Tensor, "n"]:
        """E log p(x | z) over z ~ N(mean, covariance), without sampling."""
        W = self.weight
        miss = x - self.offset - mean @ W.T
        spread = torch.trace(W @ covariance @ W.T)
        constant = x.shape[1] * (2 * pi * self.variance).log()
        square = (miss**2).sum(1) + spread
        return -(square / self.variance + constant) / 2

    def elbo(
        self,
        x: Float[Tensor, "n d"],
        mean: Float[Tensor, "n q"],
        covariance: Float[Tensor, "q q"],
    ) -> Float[Tensor, "n"]:
        """The bound for q = N(mean, covariance), exact."""
        identity = torch.eye(len(covariance)).to(covariance)
        kl = kl_between_normals(
            mean, covariance, torch.zeros_like(mean), identity
        )
        return self.expected_log_likelihood(x, mean, covariance) - kl

    def sample(
        self, n: int, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n d"]:
        """Draw n vectors x, on the generator's device."""
        d, q = self.weight.shape
        where = self.weight.device if generator is None else generator.device
        settings = dict(
            generator=generator, device=where, dtype=self.weight.dtype
        )
        z = torch.randn(n, q, **settings).to(self.weight.device)
        noise = torch.randn(n, d, **settings).to(self.weight.device)
        return z @ self.weight.T + self.offset + self.variance.sqrt() * noise
