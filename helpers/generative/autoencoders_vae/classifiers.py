"""Classifiers that model p(x, y): a Gaussian for each class, Bayes' rule.

Ng & Jordan 2002. Linear discriminant analysis, quadratic discriminant
analysis and Gaussian naive Bayes differ by the covariance alone.
"""

from dataclasses import dataclass
from math import log, pi

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from helpers.generative.autoencoders_vae.networks import (
    check_classes,
    check_finite,
    one_hot,
    wide,
)

KINDS = ("shared", "own", "own diagonal")  # covariances


@dataclass(frozen=True)
class GaussianClassifier:
    """p(x, y) = prior[y] N(x; means[y], covariances[y])."""

    prior: Float[Tensor, "k"]
    means: Float[Tensor, "k d"]
    covariances: Float[Tensor, "k d d"]
    kind: str

    @classmethod
    def fit(
        cls,
        x: Float[Tensor, "n d"],
        y: Int64[Tensor, "n"],
        *,
        classes: int,
        covariance: str = "shared",
        ridge: float = 0.0,
    ) -> "GaussianClassifier":
        """The maximum of the likelihood: counts, means, mean squares.

        `covariance` is "shared" by all classes (linear discriminant
        analysis), each class's "own" (quadratic), or its "own diagonal"
        (naive Bayes). `ridge` is added to every variance. Raises
        `ValueError` for a class without an example and for a covariance
        that is singular.
        """
        if covariance not in KINDS:
            known = ", ".join(map(repr, KINDS))
            raise ValueError(f"covariance = {covariance!r}: one of {known}")
        check_finite(x=x)
        x = wide(x)
        of = one_hot(y, classes, len(x), x.dtype)  # n k
        check_classes(y, classes)
        counts = of.sum(0).long()
        if (counts == 0).any():
            empty = counts.eq(0).nonzero().flatten().tolist()
            raise ValueError(f"no example of the classes {empty}")
        means = of.T @ x / counts[:, None]
        centred = x - means[y]
        if covariance == "shared":
            one = centred.T @ centred / len(x)
            found = one.expand(classes, -1, -1)
        else:
            found = torch.einsum("nk,ni,nj->kij", of, centred, centred)
            found = found / counts[:, None, None]
            if covariance == "own diagonal":
                found = torch.diag_embed(found.diagonal(dim1=1, dim2=2))
        found = found + ridge * torch.eye(x.shape[1]).to(x)
        if (torch.linalg.cholesky_ex(found).info > 0).any():
            raise ValueError(
                f"ridge = {ridge}: a covariance is singular, for lack of "
                "examples or of variance; raise the ridge"
            )
        return cls(counts.to(x) / len(y), means, found, covariance)

    def log_joint(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """log p(x, y) of every class: a density as well as a classifier."""
        root = torch.linalg.cholesky(self.covariances)  # k d d
        gap = (x[None] - self.means[:, None]).mT  # k d n
        white = torch.linalg.solve_triangular(root, gap, upper=False)
        square = (white**2).sum(1)  # k n
        logdet = 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = logdet + x.shape[1] * log(2 * pi)
        return self.prior.log() - (square + constant[:, None]).T / 2

    def posterior(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """p(y | x), by Bayes' rule."""
        return self.log_joint(x).softmax(1)

    def logistic(self) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k"]]:
        """W and b with softmax(W x + b) = p(y | x), for all x.

        The quadratic terms of the classes are equal, so they cancel:
        W = Σ⁻¹ means, b = log prior - ½ meansᵀ Σ⁻¹ means. Raises
        `ValueError` where the covariance is not shared.
        """
        if self.kind != "shared":
            raise ValueError(
                f"covariance = {self.kind!r}: the posterior is logistic in "
                "x only if all classes share one"
            )
        weight = torch.linalg.solve(self.covariances[0], self.means.T).T
        bias = self.prior.log() - (weight * self.means).sum(1) / 2
        return weight, bias

    def sample(
        self,
        y: Int64[Tensor, "n"],
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n d"]:
        """Draw x of the classes y, which no discriminative model can."""
        check_classes(y, len(self.means))
        root = torch.linalg.cholesky(self.covariances)[y]
        where = self.means.device if generator is None else generator.device
        noise = torch.randn(
            len(y), self.means.shape[1], generator=generator,
            dtype=self.means.dtype, device=where,
        ).to(self.means.device)
        return self.means[y] + (root @ noise[..., None])[..., 0]
