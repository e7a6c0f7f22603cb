"""Procedural roads: a street that runs to the horizon, and the mask of its surface."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def make_roads(
    n: int, size: tuple[int, int] = (64, 192), *, seed: int = 0, start: int = 0
) -> tuple[Float[Tensor, "n 3 h w"], Bool[Tensor, "n h w"]]:
    """Images in 0 … 1 and masks of the road, scenes `start` … `start + n - 1` of the stream `seed`.

    Sky, hills, meadow or dry ground; a road with a bend, verges, lane marks, shadows of trees and cars, which are not
    road. Scene i depends on the seed and on i alone. Raises `ValueError` for n below 1 and images under 16 pixels.
    """
    if n < 1:
        raise ValueError(f"n = {n}: one image or more")
    if min(size) < 16:
        raise ValueError(f"size = {size}: at least 16 pixels a side")
    drawn = [draw(np.random.default_rng([seed, i]), *size) for i in range(start, start + n)]
    images, masks = (np.stack(part) for part in zip(*drawn, strict=True))
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(masks)


def draw(rng: np.random.Generator, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """One scene, [3 h w], and its mask, [h w]."""
    y, x = np.mgrid[:h, :w]
    y, x = (y + 0.5) / h, (x + 0.5) / w
    horizon = rng.uniform(0.3, 0.45)
    near = np.clip((y - horizon) / (1 - horizon), 1e-3, 1)  # 0 at the horizon, 1 at our feet
    image = ground(rng, x, y, near)
    middle, half = course(rng, near)
    off = np.abs(x - middle)
    road = (y > horizon) & (off < half)
    verge = (y > horizon) & (off < 1.25 * half) & ~road
    image[:, verge] = 0.5 * image[:, verge] + 0.5 * np.array(rng.uniform(0.35, 0.6, 3))[:, None]
    asphalt = rng.uniform(0.25, 0.5) + rng.uniform(-0.02, 0.02, 3)
    image[:, road] = asphalt[:, None] + noise(rng, h, w, 0.03)[road]
    dashes = (np.sin(rng.uniform(0, 6) + 9 / (near + 0.12)) > 0) & (off < 0.035 * half)
    edges = (off > 0.9 * half) & (off < 0.95 * half)
    if rng.random() < 0.7:
        image[:, road & (dashes | edges)] = rng.uniform(0.75, 0.95)
    sky(rng, image, x, y, horizon)
    shadows(rng, image, x, y, horizon)
    for _ in range(rng.integers(0, 3)):
        car(rng, image, road, x, y, horizon, middle, half)
    image += rng.normal(0, 0.01, image.shape)
    return image.clip(0, 1), road


def course(rng: np.random.Generator, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the middle of the road lies in each row, and half its width."""
    foot, goal = rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.75)
    bend = rng.uniform(-0.25, 0.25)
    middle = goal + (foot - goal) * near + bend * near * (1 - near)
    return middle, 0.01 + rng.uniform(0.2, 0.42) * near


def ground(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Grass or dry soil, in patches that get finer with distance."""
    base = np.array([0.25, 0.42, 0.16] if rng.random() < 0.6 else [0.52, 0.45, 0.34])
    base = base * rng.uniform(0.8, 1.2) + rng.uniform(-0.04, 0.04, 3)
    u, v = (x - 0.5) / (near + 0.05), 1 / (near + 0.05)
    a, b, phase = rng.uniform(2, 6), rng.uniform(1, 3), rng.uniform(0, 6, 2)
    patches = np.sin(a * u + phase[0]) * np.sin(b * v + phase[1])
    return base[:, None, None] * (1 + 0.12 * patches) + noise(rng, *x.shape, 0.04)


def sky(rng: np.random.Generator, image: np.ndarray, x: np.ndarray, y: np.ndarray, horizon: float) -> None:
    """Above the horizon: a gradient, and hills in front of it."""
    above = y <= horizon
    blue = np.array([0.55, 0.7, 0.9]) * rng.uniform(0.8, 1.1)
    shade = 0.8 + 0.3 * (y / horizon)
    image[:, above] = (blue[:, None, None] * shade)[:, above]
    f, phase = rng.uniform(5, 14), rng.uniform(0, 6)
    tops = horizon - rng.uniform(0.04, 0.16) * (1 + np.sin(f * x + phase) * np.sin(0.37 * f * x))
    hills = above & (y > tops)
    image[:, hills] = np.array([0.2, 0.32, 0.2])[:, None] * rng.uniform(0.7, 1.3) + noise(rng, *x.shape, 0.04)[hills]


def shadows(rng: np.random.Generator, image: np.ndarray, x: np.ndarray, y: np.ndarray, horizon: float) -> None:
    """Dark bands across ground and road: what is dark is not always asphalt."""
    for _ in range(rng.integers(0, 3)):
        middle, wide, slope = rng.uniform(horizon + 0.1, 1), rng.uniform(0.02, 0.08), rng.uniform(-0.2, 0.2)
        band = (np.abs(y - middle - slope * (x - 0.5)) < wide) & (y > horizon)
        image[:, band] *= rng.uniform(0.5, 0.75)


def car(rng, image, road, x, y, horizon, middle, half) -> None:
    """A box on wheels on the road, which hides what is behind it: its pixels are no road."""
    h = len(y)
    row = int(h * rng.uniform(horizon + 0.12, 0.85))
    row = min(row, h - 1)
    size = half[row, 0]
    foot, place = y[row, 0], middle[row, 0] + rng.uniform(-0.5, 0.5) * size
    aspect = x.shape[1] / h
    tall = 0.55 * size * aspect * rng.uniform(0.8, 1.2)
    body = (np.abs(x - place) < 0.32 * size) & (y < foot) & (y > foot - tall)
    colour = rng.uniform(0.1, 0.9, 3)
    image[:, body] = colour[:, None]
    glass = body & (y < foot - 0.6 * tall) & (np.abs(x - place) < 0.26 * size) & (y > foot - 0.92 * tall)
    image[:, glass] = 0.15
    wheels = body & (y > foot - 0.15 * tall)
    image[:, wheels] = 0.08
    road &= ~body


def noise(rng: np.random.Generator, h: int, w: int, scale: float) -> np.ndarray:
    """Grain of two sizes."""
    coarse = rng.normal(0, scale, (math.ceil(h / 3), math.ceil(w / 3)))
    return np.kron(coarse, np.ones((3, 3)))[:h, :w] + rng.normal(0, scale / 2, (h, w))
