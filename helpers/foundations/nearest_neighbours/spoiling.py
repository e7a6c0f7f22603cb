"""Pictures spoilt in known ways: copies at one and the same distance, and nuisances by degrees."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

NUISANCES = ("light", "pose", "occlusion")


def shifted(image: Float[Tensor, "c h w"], pixels: int) -> Float[Tensor, "c h w"]:
    """The picture moved to the right; its left column fills the gap."""
    if not 0 <= pixels < image.shape[-1]:
        raise ValueError(f"pixels = {pixels}: a shift keeps some of a picture {image.shape[-1]} pixels wide")
    return torch.cat([image[..., :1].expand(*image.shape[:2], pixels), image[..., : image.shape[-1] - pixels]], -1)


def darkened(image: Float[Tensor, "c h w"], distance: float | int) -> Float[Tensor, "c h w"]:
    """The picture times a factor below 1, at that L2 distance from itself."""
    share = distance / image.norm()
    if not 0 <= share <= 1:
        raise ValueError(f"distance = {distance}: black is only {image.norm():.3g} away")
    return image * (1 - share)


def covered(image: Float[Tensor, "c h w"], distance: float | int) -> Float[Tensor, "c h w"]:
    """The picture with a black square on its middle, at that L2 distance.

    The smallest square that is far enough, and not quite opaque, so that
    the distance is exact.
    """
    h, w = image.shape[1:]
    for half in range(1, min(h, w) // 2 + 1):
        rows, columns = (slice(side // 2 - half, side // 2 + half) for side in (h, w))
        far = image[:, rows, columns].norm()
        if far >= distance:
            copy = image.clone()
            copy[:, rows, columns] *= 1 - distance / far
            return copy
    raise ValueError(f"distance = {distance}: the largest square changes only {far:.3g}")


def spoil(
    images: Float[Tensor, "n c h w"], kind: str, degree: float | int, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Each picture spoilt at random, by up to `degree` in 0 … 1.

    "light": brighter or darker, with a slope across the picture. "pose":
    turned by up to 60°, moved by up to a quarter of its side, and scaled
    by up to a half. "occlusion": a grey bar of random direction that covers up to
    half of the side. Values stay in 0 … 1. Raises `ValueError` for another kind or degree.
    """
    if kind not in NUISANCES or not 0 <= degree <= 1:
        raise ValueError(f"kind = {kind!r}, degree = {degree}: {', '.join(NUISANCES)}, and 0 to 1")
    swing = 2 * torch.rand(6, len(images), generator=generator) - 1  # [-1, 1], six numbers a picture
    return {"light": _light, "pose": _pose, "occlusion": _occlusion}[kind](images, degree * swing, swing)


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    h, w = images.shape[2:]
    return torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")


def _light(images: Tensor, by: Tensor, swing: Tensor) -> Tensor:
    y, x = _grid(images)
    angle = math.pi * swing[1][:, None, None]
    slope = by[2][:, None, None] * (x * angle.cos() + y * angle.sin())
    gain = torch.exp(1.2 * by[0])[:, None, None] * (1 + 0.9 * slope)
    lifted = images * gain[:, None] + 0.45 * by[3].abs()[:, None, None, None]
    return lifted.clamp(0, 1)


def _pose(images: Tensor, by: Tensor, swing: Tensor) -> Tensor:
    angle, size = math.pi / 3 * by[0], torch.exp2(0.6 * by[1])
    theta = torch.stack([
        torch.stack([angle.cos() / size, -angle.sin() / size, 0.5 * by[2]], 1),
        torch.stack([angle.sin() / size, angle.cos() / size, 0.5 * by[3]], 1),
    ], 1)  # fmt: skip
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="border").clamp(0, 1)


def _occlusion(images: Tensor, by: Tensor, swing: Tensor) -> Tensor:
    y, x = _grid(images)
    angle = math.pi * swing[0][:, None, None]
    across = x * angle.cos() + y * angle.sin() - 0.5 * swing[1][:, None, None]
    bar = (across.abs() <= 0.5 * by[2].abs()[:, None, None])[:, None]
    grey = (0.5 + 0.5 * swing[3])[:, None, None, None]
    return torch.where(bar, grey, images)
