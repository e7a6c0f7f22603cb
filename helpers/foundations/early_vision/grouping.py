"""The normalised cut: figure and ground from the second eigenvector of a graph of pixels (Shi & Malik 2000)."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Cut(NamedTuple):
    """The second eigenvector over the picture, the part where it is above the best threshold, and that cut's value."""

    vector: Float[Tensor, "h w"]
    part: Bool[Tensor, "h w"]
    value: float


def affinities(image: Float[Tensor, "c h w"], radius: float | int = 4.0, colour: float | int = 0.1, space: float | int = 4.0):
    """How much each two pixels within `radius` belong together: a sparse symmetric matrix [h·w h·w].

    exp(-|difference of colour|² / colour²) · exp(-distance² / space²): Shi & Malik 2000, equation 11. A pixel is alike itself.
    """
    from scipy.sparse import coo_matrix, eye_array

    if not min(radius, colour, space) > 0 or radius < 1:
        raise ValueError(f"radius = {radius}, colour = {colour}, space = {space}: positive, the radius 1 or more")
    h, w = image.shape[1:]
    place = np.arange(h * w).reshape(h, w)
    pixels = image.permute(1, 2, 0).double().numpy()
    rows, columns, values = [], [], []
    reach = int(radius)
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            if dy * dy + dx * dx > radius**2 or (dy, dx) <= (0, 0):
                continue
            here = slice(0, h - dy), slice(max(0, -dx), w - max(0, dx))
            there = slice(dy, h), slice(max(0, dx), w + min(0, dx))
            apart = np.square(pixels[here] - pixels[there]).sum(-1)
            like = np.exp(-apart / colour**2 - (dy * dy + dx * dx) / space**2)
            rows.append(place[here].ravel())
            columns.append(place[there].ravel())
            values.append(like.ravel())
    rows, columns, values = (np.concatenate(x) for x in (rows, columns, values))
    half = coo_matrix((values, (rows, columns)), shape=(h * w, h * w)).tocsr()
    return half + half.T + eye_array(h * w, format="csr")


def second_eigenvector(weights) -> Float[Tensor, " n"]:
    """The solution of (D - W) y = λ D y with the second smallest λ.

    D holds the sums of W's rows. With z = D^½ y this is an ordinary
    problem for D^-½ W D^-½, whose eigenvalues are 1 - λ: the second
    largest is wanted. The first vector, D^½ 1, is known and taken out,
    for a graph of two parts without any edge between them has the
    eigenvalue 1 twice. Of the two signs the one whose largest entry is
    positive. Raises `ValueError` for a matrix that is not symmetric or
    has negative entries.
    """
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import LinearOperator, eigsh

    weights = csr_array(weights)
    if weights.min() < 0 or abs(weights - weights.T).max() > 1e-10:
        raise ValueError(
            "weights: affinities are not negative, and those of i and j are "
            "those of j and i"
        )
    root = np.sqrt(weights.sum(1))
    scaled = diags_array(1 / root) @ weights @ diags_array(1 / root)
    first = root / np.linalg.norm(root)  # its eigenvalue is 1: taken out
    n = len(root)

    def rest(x: np.ndarray) -> np.ndarray:
        return scaled @ x - np.multiply.outer(first, first @ x)

    if n <= 64:
        z = np.linalg.eigh(rest(np.eye(n)))[1][:, -1]
    else:
        start = np.cos(np.arange(n) * 1.7)  # the same each time
        operator = LinearOperator((n, n), matvec=rest, dtype=float)
        z = eigsh(operator, k=1, which="LA", v0=start, tol=1e-6)[1][:, 0]
    y = z / root
    return torch.from_numpy(y * np.sign(y[np.abs(y).argmax()]))


def cut_value(weights, part: Bool[Tensor, " n"]) -> float:
    """The weight between the two parts, over what the one and over what the other has in all: Shi & Malik 2000, equation 2."""
    inside = part.numpy().astype(float)
    degree = np.asarray(weights.sum(1)).ravel()
    between = inside @ (weights @ (1 - inside))
    return float(between / (inside @ degree) + between / ((1 - inside) @ degree))


def normalised_cut(
    image: Float[Tensor, "c h w"],
    radius: float | int = 4.0,
    colour: float | int = 0.1,
    space: float | int = 4.0,
    thresholds: int = 30,
) -> Cut:
    """Cut a picture in two so that each part holds together.

    The second eigenvector is the relaxed solution; of evenly spaced
    thresholds the one with the smallest normalised cut is taken.
    """
    weights = affinities(image, radius, colour, space)
    vector = second_eigenvector(weights)
    low, high = vector.min().item(), vector.max().item()
    best = (np.inf, vector > (low + high) / 2)
    for i in range(1, thresholds):
        part = vector > low + (high - low) * i / thresholds
        if 0 < part.sum() < len(part):
            best = min(best, (cut_value(weights, part), part), key=lambda x: x[0])
    shape = image.shape[1:]
    return Cut(vector.reshape(shape), best[1].reshape(shape), best[0])


def figure_of(part: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The side of a cut that has the smaller share of the picture's border: what stands before a ground."""
    border = torch.ones_like(part)
    border[1:-1, 1:-1] = False
    return ~part if part[border].double().mean() > 0.5 else part
