"""Patterns of things and backgrounds, as functions of position: they move with what they cover, at any size."""

import math
from functools import cache

import numpy as np
from jaxtyping import Float

from helpers.data.embedded import photograph

MATERIALS = ("plain", "striped", "spotted", "checked")
PHOTOGRAPHS = ("brick", "grass", "gravel")  # they ship in scikit-image's wheel
BACKGROUNDS = ("plain", "gradient", "clouds", "stripes", "checks", *PHOTOGRAPHS)


def material_pattern(
    material: str, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."], pixel: float
) -> np.ndarray | float:
    """Share of the second tone, 0 … 1, at points of a thing of radius 1; `pixel` is the width of a pixel there."""
    match material:
        case "striped":
            return _bars(x + y, period=0.62, pixel=pixel * math.sqrt(2))
        case "spotted":  # dots on a square lattice turned by 45 degrees
            period = 0.36
            u, v = (x + y) / period, (x - y) / period
            gap = np.hypot(u - np.round(u), v - np.round(v)) * period / math.sqrt(2)
            return np.clip(0.5 + (0.088 - gap) / pixel, 0, 1)
        case "checked":
            return _checks(x, y, period=0.72, pixel=pixel)
        case _:
            return 0.0


def background_pattern(
    kind: str, x: Float[np.ndarray, " w"], y: Float[np.ndarray, " h"], *, scale: float, angle: float, seed: int
) -> Float[np.ndarray, "h w"]:
    """Share of the second colour, 0 … 1, at the crossings of columns x and rows y, evenly spaced, in image sides.

    `scale` is the number of periods along a side (for a photograph: how much it is shrunk), `angle` turns stripes,
    checks and gradients, `seed` picks the clouds and the piece of a photograph.
    """
    pixel = float(x[1] - x[0])
    match kind:
        case "clouds":
            return 0.5 + 0.5 * np.tanh(0.8 * _waves(x, y, scale=scale, seed=seed, pixel=pixel))
        case "brick" | "grass" | "gravel":
            return _photograph(kind, x, y, scale=scale, seed=seed, pixel=pixel)
    u = x[None] * math.cos(angle) + y[:, None] * math.sin(angle)
    v = y[:, None] * math.cos(angle) - x[None] * math.sin(angle)
    match kind:
        case "gradient":
            return 0.5 + 0.5 * np.sin(math.pi * (u - 0.5))
        case "stripes":
            return _bars(u, period=1 / scale, pixel=pixel)
        case "checks":
            return _checks(u, v, period=1 / scale, pixel=pixel)
        case _:
            return np.zeros_like(u)


def _bars(u: np.ndarray, *, period: float, pixel: float) -> np.ndarray:
    """A square wave whose edges are softened over one pixel."""
    u = u / period
    return np.clip(0.5 + (np.abs(u - np.floor(u) - 0.5) - 0.25) * (period / pixel), 0, 1)


def _checks(u: np.ndarray, v: np.ndarray, *, period: float, pixel: float) -> np.ndarray:
    a, b = _bars(u, period=period, pixel=pixel), _bars(v, period=period, pixel=pixel)
    return a + b - 2 * a * b


def _waves(x: np.ndarray, y: np.ndarray, *, scale: float, seed: int, pixel: float, waves: int = 48) -> np.ndarray:
    """Noise of unit variance: plane waves in random directions, amplitude falling as the inverse of the frequency.

    A plane wave is a sum of two products of a function of x and one of y, so the whole field is one matrix product.
    """
    rng = np.random.default_rng(seed)
    frequency = scale * 2 ** rng.uniform(-1.5, 2.5, waves)  # four octaves
    direction, phase = rng.uniform(0, 2 * math.pi, (2, waves))
    along_x, along_y = frequency * np.cos(direction), frequency * np.sin(direction)
    amplitude = frequency**-0.9
    amplitude *= math.sqrt(2) / np.linalg.norm(amplitude)
    amplitude *= np.sinc(along_x * pixel) * np.sinc(along_y * pixel)  # the mean over a pixel
    in_x = 2 * math.pi * np.outer(along_x, x) + phase[:, None]
    in_y = 2 * math.pi * np.outer(along_y, y)
    parts_x = np.concatenate([np.cos(in_x), -np.sin(in_x)]).astype(np.float32)
    parts_y = np.concatenate([np.cos(in_y) * amplitude[:, None], np.sin(in_y) * amplitude[:, None]]).astype(np.float32)
    return parts_y.T @ parts_x


@cache
def _integral(kind: str) -> Float[np.ndarray, "513 513"]:
    """Integral image of a photograph of 512x512 pixels, its contrast stretched to 0 … 1."""
    pixels = photograph(kind)[0].double().numpy()
    low, high = np.percentile(pixels, [2, 98])
    pixels = np.clip((pixels - low) / (high - low), 0, 1)
    return np.pad(pixels.cumsum(0).cumsum(1), ((1, 0), (1, 0)))


def _photograph(kind: str, x: np.ndarray, y: np.ndarray, *, scale: float, seed: int, pixel: float) -> np.ndarray:
    """The mean of a photograph over each pixel: second differences of its integral image, interpolated at pixel edges.

    Beyond its sides the photograph is mirrored, which makes the integral an odd function about each of them.
    """
    table = _integral(kind)
    extent = len(table) - 1
    side = 80 * scale  # of its pixels along one side of the image
    left, top = np.random.default_rng(seed).uniform(0, extent - side, 2)
    for axis, (centres, origin) in enumerate([(y, top), (x, left)]):
        edges = np.append(centres - pixel / 2, centres[-1] + pixel / 2).astype(np.float64) * side + origin
        shape = [-1 if axis == other else 1 for other in (0, 1)]
        # I(-s) = -I(s) and I(extent + s) = 2 I(extent) - I(extent - s).
        over = edges > extent
        at = np.where(over, 2 * extent - edges, np.abs(edges))
        whole = np.minimum(at.astype(np.intp), extent - 1)
        part = (at - whole).reshape(shape)
        sums = table.take(whole, axis) * (1 - part) + table.take(whole + 1, axis) * part
        sums = np.where(over.reshape(shape), 2 * table.take([extent], axis) - sums, sums)
        table = np.diff(sums * np.where(edges < 0, -1, 1).reshape(shape), axis=axis)
    return (table / (pixel * side) ** 2).astype(np.float32)
