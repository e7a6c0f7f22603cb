"""Whole pictures as vectors: histograms of colours, and of visual words (Fei-Fei & Perona 2005; Csurka et al. 2004)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from helpers.foundations.early_vision.hog import cell_histograms


def colour_histogram(
    images: Float[Tensor, "b 3 h w"], bins: int = 4
) -> Float[Tensor, "b d"]:
    """The share of pixels in each of bins³ boxes of red, green and blue.

    Values lie in 0 … 1. Where things are does not matter. Raises
    `ValueError` for other values and for fewer than one bin.
    """
    if bins < 1 or not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"bins = {bins}, values from {images.min():.3g} to "
            f"{images.max():.3g}: one bin or more, values in 0 … 1"
        )
    place = (images * bins).long().clamp(max=bins - 1)
    red, green, blue = place.flatten(2).unbind(1)
    box = (red * bins + green) * bins + blue  # b pixels
    votes = torch.ones_like(box, dtype=images.dtype)
    counts = images.new_zeros(len(images), bins**3)
    return counts.scatter_add(1, box, votes) / box.shape[1]


def dense_descriptors(
    images: Float[Tensor, "b c h w"], cell: int = 2, directions: int = 8
) -> Float[Tensor, "b n d"]:
    """Descriptors as SIFT's, upright, of all windows of 4 x 4 cells on a grid a cell wide.

    Cells hold histograms of undirected gradients, as in `hog`; a window is normalised, cut off at 0.2 and normalised again.
    """
    cells = cell_histograms(images, directions, (cell, cell))
    if min(cells.shape[1:3]) < 4:
        raise ValueError(f"pictures of {images.shape[2]} x {images.shape[3]} pixels: 4 cells of {cell} want {4 * cell}")
    windows = cells.unfold(1, 4, 1).unfold(2, 4, 1).flatten(3).flatten(1, 2)
    return F.normalize(F.normalize(windows, dim=-1).clamp(max=0.2), dim=-1)


class VisualWords:
    """A vocabulary of typical descriptors: k-means centres, learned without labels."""

    def __init__(self, words: int = 64, seed: int = 0) -> None:
        if words < 2:
            raise ValueError(f"words = {words}: a vocabulary has two words or more")
        self.words, self.seed = words, seed

    def fit(self, images: Float[Tensor, "b c h w"], most: int = 20_000) -> "VisualWords":
        """Find the words in (at most `most`, evenly picked) descriptors of these pictures; those of flat windows do not count."""
        from sklearn.cluster import KMeans

        found = dense_descriptors(images).flatten(0, 1)
        found = found[found.norm(dim=1) > 0.5]
        if len(found) < self.words:
            raise ValueError(f"{len(found)} descriptors for {self.words} words: give more pictures or fewer words")
        found = found[:: max(1, len(found) // most)]
        means = KMeans(self.words, n_init=1, random_state=self.seed, max_iter=50).fit(found.double().numpy())
        self.centres = torch.from_numpy(means.cluster_centers_).to(images)
        return self

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """How often each word occurs: each descriptor counts for the nearest word."""
        found = dense_descriptors(images)
        nearest = torch.cdist(found.flatten(0, 1), self.centres).argmin(1)
        counts = F.one_hot(nearest.reshape(found.shape[:2]), self.words)
        return counts.to(images).mean(1)
