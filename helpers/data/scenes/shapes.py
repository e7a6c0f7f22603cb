"""What a thing can be: eight shapes and the ten digits, each a signed distance inside the unit disk.

The digits are scikit-learn's 8x8 scans of real handwriting (Alpaydin and Kaynak, 1998). The fold that makes regular
polygons and stars one formula is Inigo Quilez's (iquilezles.org/articles/distfunctions2d).
"""

import math
from collections.abc import Collection
from functools import cache

import numpy as np
from jaxtyping import Float

from helpers.data.embedded import digits

SHAPES = ("disk", "square", "triangle", "star", "ring", "cross", "heart", "moon")
DIGITS = tuple("0123456789")
CLASSES = SHAPES + DIGITS  # the label of a thing is its place in this tuple

GLYPH = 64  # pixels along a side of a digit's distance map, which covers [-1, 1]²


def signed_distance(shape: str, glyph: int, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> np.ndarray:
    """Signed distance from points (x right, y down) to the outline of a shape: negative inside, zero on the outline.

    Exact on the outline, a lower bound of the distance elsewhere. `glyph` picks one of the scans of a digit.
    """
    match shape:
        case "disk":
            return np.hypot(x, y) - 0.88
        case "ring":
            return np.abs(np.hypot(x, y) - 0.67) - 0.23
        case "square":
            return np.maximum(np.abs(x), np.abs(y)) - 0.7
        case "triangle":
            return _star(x, y, points=3, inner=0.5)
        case "star":
            return _star(x, y, points=5, inner=0.46)
        case "cross":
            x, y = np.abs(x), np.abs(y)
            return np.maximum(np.maximum(x, y) - 0.9, np.minimum(x, y) - 0.31)
        case "heart":  # a square on its corner, and a disk on each of its two upper sides
            x, y, s = np.abs(x), y - 0.08, 0.74
            square = (x + np.abs(y) - s) * math.sqrt(0.5)
            return np.minimum(square, np.hypot(x - s / 2, y + s / 2) - s * math.sqrt(0.5))
        case "moon":  # a disk less a disk
            return np.maximum(np.hypot(x - 0.08, y) - 0.92, 0.72 - np.hypot(x - 0.52, y))
        case _:
            return _sample(digit_distance(int(shape), glyph), x, y)


def _star(x: np.ndarray, y: np.ndarray, *, points: int, inner: float) -> np.ndarray:
    """Distance to a star with tips at radius 1, one of them up, and notches at radius `inner`."""
    sector = math.pi / points
    angle = np.abs((np.arctan2(x, -y) + sector) % (2 * sector) - sector)  # all edges fold onto one
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    # The edge runs from the tip (1, 0) to the notch; (nx, ny) is its outward normal.
    ny, nx = 1 - inner * math.cos(sector), inner * math.sin(sector)
    return ((along - 1) * nx + across * ny) / math.hypot(nx, ny)


@cache
def scans() -> list[np.ndarray]:
    """The 8x8 scans [n 8 8] of each digit, values 0 … 1: entry d holds those of digit d."""
    data = digits()
    images, labels = data.images[:, 0].numpy(), data.labels.numpy()
    return [images[labels == digit] for digit in range(10)]


@cache
def digit_distance(digit: int, glyph: int) -> Float[np.ndarray, "64 64"]:
    """Signed distance map of one scan over [-1, 1]²: sharpened, enlarged by cubic splines, cut at half ink, centred."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter, label, map_coordinates, zoom

    coarse = np.pad(scans()[digit][glyph], 2).astype(np.float64)
    coarse += 2 * (coarse - gaussian_filter(coarse, 1.2))  # keeps the small holes of 0, 6, 8 and 9 open
    ink = gaussian_filter(zoom(coarse, 8, order=3, grid_mode=True, mode="grid-constant"), 2.7) > 0.48
    parts, _ = label(ink)
    area = np.bincount(parts.ravel())
    ink &= area[parts] > 0.05 * ink.sum()  # no specks
    distance = gaussian_filter(distance_transform_edt(~ink) - distance_transform_edt(ink), 1.2)
    rows, columns = np.nonzero(distance < 0)
    centre_y, centre_x = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    radius = np.hypot(rows - centre_y, columns - centre_x).max() + 1
    grid = np.linspace(-1, 1, GLYPH) * radius
    points = np.stack(np.meshgrid(grid + centre_y, grid + centre_x, indexing="ij"))
    beyond = np.linalg.norm(points - np.clip(points, 0, len(ink) - 1), axis=0)
    return ((map_coordinates(distance, points, order=1, mode="nearest") + beyond) / radius).astype(np.float32)


def _sample(map: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate a map over [-1, 1]² linearly at points; beyond its border add the distance to the border."""
    half = (GLYPH - 1) / 2
    inner_x, inner_y = np.clip(x, -1, 1), np.clip(y, -1, 1)
    beyond = np.hypot(x - inner_x, y - inner_y)
    x, y = (inner_x + 1) * half, (inner_y + 1) * half
    left, top = np.minimum(x.astype(np.intp), GLYPH - 2), np.minimum(y.astype(np.intp), GLYPH - 2)
    x, y = x - left.astype(x.dtype), y - top.astype(y.dtype)
    flat, corner = map.ravel(), top * GLYPH + left
    upper = flat[corner] * (1 - x) + flat[corner + 1] * x
    lower = flat[corner + GLYPH] * (1 - x) + flat[corner + GLYPH + 1] * x
    return upper * (1 - y) + lower * y + beyond


def check_known(name: str, values: Collection[str], known: Collection[str]) -> None:
    """Raise `ValueError` for a value that the world does not have, or when there is none at all."""
    if not values:
        raise ValueError(f"{name}: none given; choose from {', '.join(known)}")
    for value in values:
        if value not in known:
            raise ValueError(f"{name} = {value!r}: the world knows {', '.join(known)}")


def check_finite(**numbers: float | int | tuple) -> None:
    """Raise `ValueError`, with the name, for a number that is infinite or no number: it would draw nothing."""
    for name, number in numbers.items():
        if not all(map(math.isfinite, number if isinstance(number, tuple) else (number,))):
            raise ValueError(f"{name} = {number}: give finite numbers")
