"""Edges, bars and blobs: zero crossings of the Laplacian of a Gaussian (Marr & Hildreth 1980), and tokens of the primal
sketch (Marr 1982) by their scale (Lindeberg 1998).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

REACH = 6  # sigmas to either side at which a kernel ends: there a second derivative sums to 0 within 1e-7


def gaussian_kernel(sigma: float | int, order: int = 0) -> Float[Tensor, " t"]:
    """A sampled Gaussian of sum 1, or its first or second derivative, from -6σ to 6σ.

    G' = -x/σ² G and G'' = (x²/σ⁴ - 1/σ²) G. Raises `ValueError` for a sigma that is not positive and another order.
    """
    if not sigma > 0 or order not in (0, 1, 2):
        raise ValueError(f"sigma = {sigma}, order = {order}: sigma is positive (in pixels), the order is 0, 1 or 2")
    reach = int(REACH * sigma + 0.5)
    x = torch.arange(-reach, reach + 1, dtype=torch.float64)
    g = torch.exp(-(x**2) / (2 * sigma**2))
    g = g / g.sum()
    return (g, -x / sigma**2 * g, (x**2 / sigma**4 - 1 / sigma**2) * g)[order]


def smooth(
    image: Float[Tensor, "h w"], sigma: float | int, down: int = 0, right: int = 0
) -> Float[Tensor, "h w"]:
    """A picture blurred by a Gaussian, or so many of its derivatives.

    The Gaussian of two variables is a product, so that columns and rows
    are filtered one after the other. Pixels beyond the border repeat
    those on it.
    """
    result = image[None, None]
    for order, axis in ((down, 2), (right, 3)):
        kernel = gaussian_kernel(sigma, order).flip(0).to(image)
        reach = len(kernel) // 2
        shape = [1, 1, 1, 1]
        shape[axis] = len(kernel)
        edge = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = F.pad(result, edge, mode="replicate")
        result = F.conv2d(padded, kernel.reshape(shape))
    return result[0, 0]


def laplacian_of_gaussian(
    image: Float[Tensor, "h w"], sigma: float | int
) -> Float[Tensor, "h w"]:
    """Second derivatives of the blurred picture, down plus right.

    As `scipy.ndimage.gaussian_laplace` with truncate=6, mode="nearest".
    """
    return smooth(image, sigma, down=2) + smooth(image, sigma, right=2)


class Crossings(NamedTuple):
    """Where a function changes its sign: places (column, row) between pixels, and how steeply, in its units a pixel."""

    places: Float[Tensor, "n 2"]
    slopes: Float[Tensor, " n"]


def zero_crossings(
    response: Float[Tensor, "h w"], threshold: float | int = 0.0
) -> Crossings:
    """Between neighbours of opposite sign, by linear interpolation.

    A crossing whose slope is at most `threshold` is left out: in an even
    region rounding alone changes the sign.
    """
    rows, columns = torch.meshgrid(
        *(torch.arange(n) for n in response.shape), indexing="ij"
    )
    places, slopes = [], []
    for axis in (0, 1):
        n = response.shape[axis] - 1
        a, b = response.narrow(axis, 0, n), response.narrow(axis, 1, n)
        cross = ((a >= 0) != (b >= 0)) & ((a - b).abs() > threshold)
        part = (a / (a - b))[cross]  # of the way from one to the next
        x = columns.narrow(axis, 0, n)[cross] + part * (axis == 1)
        y = rows.narrow(axis, 0, n)[cross] + part * (axis == 0)
        places.append(torch.stack([x, y], 1))
        slopes.append((a - b)[cross].abs())
    return Crossings(torch.cat(places), torch.cat(slopes))


class Tokens(NamedTuple):
    """Curvatures of the blurred picture, times σ²: the larger in size first; how bar-like and blob-like each place is."""

    strong: Float[Tensor, "h w"]
    weak: Float[Tensor, "h w"]

    @property
    def bars(self) -> Float[Tensor, "h w"]:
        """Large where one direction curves and the other does not."""
        return self.strong.abs() - self.weak.abs()

    @property
    def blobs(self) -> Float[Tensor, "h w"]:
        """Large where both curve alike: σ² times the smaller curvature, 0 on saddles."""
        return self.weak.abs() * (self.strong * self.weak > 0)


def tokens(image: Float[Tensor, "h w"], sigma: float | int) -> Tokens:
    """The eigenvalues of the Hessian [[a, b], [b, c]] at scale σ, times σ².

    Mean ± √(((a - c)/2)² + b²). Negative on bright bars and blobs,
    positive on dark ones. The factor σ² makes scales comparable: a
    picture twice as large has the same values at twice the σ.
    """
    a, c = smooth(image, sigma, down=2), smooth(image, sigma, right=2)
    b = smooth(image, sigma, down=1, right=1)
    mean = (a + c) / 2
    root = (((a - c) / 2).square() + b.square()).sqrt()
    strong = mean + root * torch.where(mean >= 0, 1.0, -1.0)
    weak = mean - root * torch.where(mean >= 0, 1.0, -1.0)
    return Tokens(sigma**2 * strong, sigma**2 * weak)


def find_blobs(
    image: Float[Tensor, "h w"], sigmas: Sequence[float | int], threshold: float | int
) -> Float[Tensor, "n 4"]:
    """Blobs as (column, row, radius, ±1 for bright or dark): maxima over place and scale of the blob measure.

    A disc of radius r answers most at σ = r/√2, so a maximum at σ has the radius √2 σ. Raises `ValueError` for fewer
    than three scales: a maximum has a neighbour on either side.
    """
    if len(sigmas) < 3:
        raise ValueError(f"sigmas = {sigmas}: give three scales or more")
    found = [tokens(image, sigma) for sigma in sigmas]
    measure = torch.stack([token.blobs for token in found])
    top = is_maximum(measure) & (measure > threshold)
    scale, row, column = top.nonzero(as_tuple=True)
    sign = -torch.stack([token.strong for token in found])[top].sign()
    radius = math.sqrt(2) * torch.tensor(sigmas).to(image)[scale]
    return torch.stack([column.to(image), row.to(image), radius, sign], 1)


def is_maximum(stack: Float[Tensor, "s h w"]) -> Bool[Tensor, "s h w"]:
    """Whether a value is the largest among its 26 neighbours, of equal ones the first; never on the outside of the stack."""
    _, first = F.max_pool3d(stack[None], 3, stride=1, padding=1, return_indices=True)
    top = first[0] == torch.arange(stack.numel()).view_as(stack)
    inner = torch.zeros_like(top)
    inner[1:-1, 1:-1, 1:-1] = True
    return top & inner


def step_edge(size: int, place: float | int) -> Float[Tensor, "h w"]:
    """Dark left of column `place`, bright right of it; a pixel that it cuts has its share (pixel i spans i - ½ to i + ½)."""
    row = (torch.arange(size, dtype=torch.float64) + 0.5 - place).clamp(0, 1)
    return row.expand(size, size).clone()


def disc(size: int, radius: float | int, finer: int = 8) -> Float[Tensor, "h w"]:
    """A bright disc in the middle, each pixel the mean of finer x finer points."""
    if not 0 < radius < size / 2:
        raise ValueError(f"radius = {radius}: a disc in a picture of {size} pixels has one below {size / 2}")
    at = (torch.arange(size * finer, dtype=torch.float64) + 0.5) / finer - size / 2
    inside = (at[:, None] ** 2 + at**2 <= radius**2).double()
    return F.avg_pool2d(inside[None, None], finer)[0, 0]
