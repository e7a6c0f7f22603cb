"""From a scene to pixels: the anti-aliased image, and the truth about it that every localisation task needs."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.data.scenes.textures import background_pattern, material_pattern
from helpers.data.scenes.world import COLOURS, Scene, Thing

SMALLEST = 8


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in 0 … 1 and what is on it. Thing i of the scene is instance i + 1; background is 0.

    Boxes are (x1, y1, x2, y2) in pixels, measured at pixel edges: tight around the visible mask, so that x2 - x1 is a
    number of columns; zeros for a thing that is wholly hidden. `visible` is the share of a thing's pixels in the image
    that no nearer thing hides. `semantic` is 0 for the background, else 1 + the label.
    """

    image: Float[Tensor, "3 h w"]
    masks: Bool[Tensor, "n h w"]
    instances: Int[Tensor, "h w"]
    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    visible: Float[Tensor, " n"]

    @property
    def semantic(self) -> Int[Tensor, "h w"]:
        """Class of each pixel: 0 for the background, else 1 + the label of its thing."""
        return torch.cat([self.labels.new_zeros(1), self.labels + 1])[self.instances]


def render(scene: Scene, size: int) -> Picture:
    """Draw the scene as a square picture of `size` pixels. Raises `ValueError` for a size below 8."""
    check_size(size)
    image, instances, areas = draw(scene, size)
    masks = instances == np.arange(1, len(scene.things) + 1)[:, None, None]
    return Picture(
        image=torch.from_numpy(image),
        masks=torch.from_numpy(masks),
        instances=torch.from_numpy(instances),
        boxes=torch.from_numpy(tight_boxes(masks)),
        labels=torch.tensor([thing.label for thing in scene.things], dtype=torch.long),
        visible=torch.from_numpy((masks.sum((1, 2)) / np.maximum(areas, 1)).astype(np.float32)),
    )


def draw(
    scene: Scene, size: int, shift: tuple[float, float] = (0.0, 0.0), ground: Float[np.ndarray, "3 h w"] | None = None
) -> tuple[Float[np.ndarray, "3 h w"], Int[np.ndarray, "h w"], Int[np.ndarray, " n"]]:
    """Image, instance ids, and each thing's pixels before occlusion.

    `shift` is where the camera looks from; `ground` spares painting a background that is there already.
    """
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    image = paint_background(scene, size, shift) if ground is None else ground.copy()
    instances = np.zeros((size, size), dtype=np.int64)
    areas = np.zeros(len(scene.things), dtype=np.int64)
    for i in reversed(scene.near_to_far):
        thing = scene.things[i]
        rows, columns = thing.window(size, shift)
        x, y = centres[None, columns] + shift[0], centres[rows, None] + shift[1]
        if not x.size or not y.size:
            continue
        coverage, colour = paint_thing(thing, x, y, pixel=1 / size)
        patch = image[:, rows, columns]
        patch += (colour - patch) * coverage
        inside = coverage >= 0.5
        instances[rows, columns][inside] = i + 1
        areas[i] = inside.sum()
    return np.clip(image * illumination(scene, centres), 0, 1), instances, areas


def paint_background(scene: Scene, size: int, shift: tuple[float, float] = (0.0, 0.0)) -> Float[np.ndarray, "3 h w"]:
    """Colours of the background, seen from `shift`, before the light falls on it."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = centres + shift[0], centres + shift[1]
    ground = scene.background
    share = background_pattern(ground.kind, x, y, scale=ground.scale, angle=ground.angle, seed=ground.seed)
    first, second = (np.array(c, dtype=np.float32)[:, None, None] for c in (ground.first, ground.second))
    return first + (second - first) * share.astype(np.float32)


def paint_thing(
    thing: Thing, x: Float[np.ndarray, "1 w"], y: Float[np.ndarray, "h 1"], *, pixel: float
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "3 h w"]]:
    """Coverage of each pixel by the thing, 0 … 1, and the thing's colour there, a little darker towards its rim."""
    u, v, gap = thing.to_local(x, y)
    distance = thing.distance_local(u, v, gap)
    coverage = np.clip(0.5 - distance / pixel, 0, 1)
    share = material_pattern(thing.material, u, v, pixel / thing.size)
    first = np.array(COLOURS[thing.colour], dtype=np.float32)[:, None, None] * thing.tone
    light = float(first.mean()) > 0.55  # the second tone of a light colour is darker, that of a dark one lighter
    second = first * 0.68 if light else first + (1 - first) * 0.3
    shade = 1 - 0.45 * np.exp(np.minimum(distance, 0) * (12 / thing.size))
    return coverage, (first + (second - first) * share) * shade


def illumination(scene: Scene, centres: Float[np.ndarray, " h"]) -> Float[np.ndarray, "3 h w"]:
    """What the light multiplies each channel of each pixel by."""
    light = scene.light
    x, y = centres[None] - 0.5, centres[:, None] - 0.5
    slope = 1 + light.falloff * (x * math.cos(light.angle) + y * math.sin(light.angle))
    tint = np.array([1 + light.warmth, 1, 1 - light.warmth], dtype=np.float32)[:, None, None]
    return light.exposure * tint * slope


def tight_boxes(masks: Bool[np.ndarray, "n h w"]) -> Float[np.ndarray, "n 4"]:
    """Boxes (x1, y1, x2, y2) at the pixel edges around each mask; zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def check_size(size: int) -> None:
    """Raise `ValueError` for an image too small to show anything."""
    if size < SMALLEST:
        raise ValueError(f"size = {size}: the world needs {SMALLEST} pixels a side at least; 64 shows it well")
