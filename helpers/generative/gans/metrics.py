"""How far samples are from data: Fréchet distance (Heusel et al. 2017), precision and recall (Kynkäänniemi et al. 2019).

Both look at features, not pixels: here those of the book's own classifier.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.generative.autoencoders_vae.latent import distances
from helpers.generative.autoencoders_vae.networks import check_finite

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
    the means and covariances of the two sets of features. With roots
    C = RᵀR the trace is the least ‖R₁ - Q R₂‖² over all rotations Q
    (Procrustes): a sum of squares, never below 0, and 0 for copies. Raises
    `ValueError` for fewer than two samples, for features of two widths
    and for values that are no numbers.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"{len(a)} and {len(b)} samples: a covariance needs two or more"
        )
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{a.shape[1]} against {b.shape[1]} features: as many of both"
        )
    check_finite(a=a, b=b)
    a, b = a.double(), b.double()
    r1, r2 = covariance_root(a), covariance_root(b)
    u, _, vt = torch.linalg.svd(r1 @ r2.T)
    shift = (a.mean(0) - b.mean(0)).square().sum()
    return (shift + (r1 - u @ vt @ r2).square().sum()).item()


def covariance_root(x: Features) -> Float[Tensor, "d d"]:
    """R with RᵀR = the covariance of x, without forming it."""
    r = torch.linalg.qr(x - x.mean(0), mode="r").R / (len(x) - 1) ** 0.5
    return F.pad(r, (0, 0, 0, x.shape[1] - len(r)))


def inside_manifold(
    points: Features, of: Float[Tensor, "m d"], *, k: int = 3
) -> Bool[Tensor, "n"]:
    """Which points lie in a ball around a member of `of`.

    The radius of a ball is the distance to its k-th nearest neighbour
    in the same set, itself not counted. Raises `ValueError` for a k that
    the set has no neighbours for.
    """
    if not 1 <= k < len(of):
        raise ValueError(
            f"k = {k}: {len(of)} samples have 1 to {len(of) - 1} neighbours"
        )
    radius = distances(of, of).kthvalue(k + 1, dim=1).values
    return (distances(points, of) <= radius).any(1)


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
    distance, which = distances(images, among).min(1)
    return distance, which


def latent_arithmetic(
    plus: Float[Tensor, "n latent"],
    minus: Float[Tensor, "m latent"],
    base: Float[Tensor, "k latent"],
) -> Float[Tensor, "latent"]:
    """mean(plus) - mean(minus) + mean(base): Radford et al. 2016.

    "Smiling woman" minus "neutral woman" plus "neutral man". Averages,
    since single latents proved unstable. Raises `ValueError` for an empty
    set.
    """
    for name, z in (("plus", plus), ("minus", minus), ("base", base)):
        if len(z) == 0:
            raise ValueError(f"{name} has no latent: an average needs one")
    return plus.mean(0) - minus.mean(0) + base.mean(0)
