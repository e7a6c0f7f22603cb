"""How far samples are from data: Fréchet distance (Heusel et al. 2017), precision and recall (Kynkäänniemi et al. 2019).

Both look at features, not pixels: here those of the book's own classifier.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

Features = Float[Tensor, "n d"]


class Classifier(nn.Module):
    """A small convolutional classifier of images.

    `features` is what its last layer sees: `dim` numbers an image.
    """

    def __init__(
        self, *, classes: int, channels: int = 1, hidden: int = 16, dim: int = 32
    ):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, 2 * hidden, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(32 * hidden, dim),
            nn.ReLU(),
        )
        self.head = nn.Linear(dim, classes)

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        return self.body(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        return self.head(self.features(x))


def frechet_distance(a: Features, b: Float[Tensor, "m d"]) -> float:
    """‖μ₁ - μ₂‖² + tr(C₁ + C₂ - 2 (C₁ C₂)^½), in float64.

    The squared 2-Wasserstein distance of the normal distributions with
    the means and covariances of the two sets of features. The trace of
    the root is that of (C₁^½ C₂ C₁^½)^½, which is symmetric. Raises
    `ValueError` for fewer than two samples.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"{len(a)} and {len(b)} samples: a covariance needs two or more"
        )
    a, b = a.double(), b.double()
    c1, c2 = a.T.cov(), b.T.cov()
    root = matrix_root(c1)
    both = torch.linalg.eigvalsh(root @ c2 @ root).clamp(min=0).sqrt().sum()
    shift = (a.mean(0) - b.mean(0)).square().sum()
    return (shift + c1.trace() + c2.trace() - 2 * both).item()


def matrix_root(c: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The symmetric root of a covariance."""
    values, vectors = torch.linalg.eigh(c)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def inside_manifold(
    points: Features, of: Float[Tensor, "m d"], *, k: int = 3
) -> Bool[Tensor, "n"]:
    """Which points lie in a ball around a member of `of`.

    The radius of a ball is the distance to its k-th nearest neighbour
    in the same set, itself not counted.
    """
    if not 1 <= k < len(of):
        raise ValueError(
            f"k = {k}: {len(of)} samples have 1 to {len(of) - 1} neighbours"
        )
    radius = torch.cdist(of, of).kthvalue(k + 1, dim=1).values
    return (torch.cdist(points, of) <= radius).any(1)


def precision_recall(
    real: Features, fake: Float[Tensor, "m d"], *, k: int = 3
) -> tuple[float, float]:
    """Share of fakes that could be real, and of reals that are reached."""
    precision = inside_manifold(fake, real, k=k).float().mean()
    recall = inside_manifold(real, fake, k=k).float().mean()
    return precision.item(), recall.item()


def nearest(
    images: Float[Tensor, "n *shape"], among: Float[Tensor, "m *shape"]
) -> tuple[Float[Tensor, "n"], Int64[Tensor, "n"]]:
    """Distance in pixels' values to the nearest of `among`, and which."""
    distance, which = torch.cdist(images.flatten(1), among.flatten(1)).min(1)
    return distance, which


def latent_arithmetic(
    plus: Float[Tensor, "n latent"],
    minus: Float[Tensor, "m latent"],
    base: Float[Tensor, "k latent"],
) -> Float[Tensor, "latent"]:
    """mean(plus) - mean(minus) + mean(base): Radford et al. 2016.

    "Smiling woman" minus "neutral woman" plus "neutral man". Averages,
    since single latents proved unstable.
    """
    return plus.mean(0) - minus.mean(0) + base.mean(0)
