"""Histograms of oriented gradients: Dalal & Triggs 2005, as scikit-image has them (blocks of 3 x 3 cells, no smoothing)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

CLIP = 0.2  # L2-Hys: no entry of a normalised block is larger, then it is normalised again
EPS = 1e-5


def hog(
    images: Float[Tensor, "b c h w"],
    orientations: int = 9,
    pixels_per_cell: int | tuple[int, int] = 8,
    cells_per_block: int | tuple[int, int] = 3,
) -> Float[Tensor, "b d"]:
    """Describe images by histograms of oriented gradients.

    Pairs are (rows, columns); one number stands for both. The entries run
    over block rows, block columns, rows and columns of cells within the
    block, orientations, as in `skimage.feature.hog`. Differentiable, up
    to the jumps where a gradient changes its bin. Raises `ValueError` for
    counts below 1 and images smaller than one block.
    """
    cell, block = pair(pixels_per_cell), pair(cells_per_block)
    check(images.shape, orientations, cell, block)
    cells = cell_histograms(images, orientations, cell)  # b rows cols bins
    rows, columns = block
    blocks = cells.unfold(1, rows, 1).unfold(2, columns, 1)
    blocks = blocks.permute(0, 1, 2, 4, 5, 3).flatten(3)  # b row col entry
    blocks = l2_normalised(l2_normalised(blocks).clamp(max=CLIP))
    return blocks.flatten(1)


def cell_histograms(
    images: Float[Tensor, "b c h w"], orientations: int, cell: tuple[int, int]
) -> Float[Tensor, "b rows columns bins"]:
    """Mean gradient magnitude a pixel, in bins of 180° / orientations.

    Each pixel votes once, into the bin of its own direction (a line and its
    negative have the same), with the channel that changes most.
    """
    down, right = central_differences(images)
    squared = down**2 + right**2
    strongest = squared.argmax(1, keepdim=True)
    down, right, squared = (
        part.gather(1, strongest)[:, 0] for part in (down, right, squared)
    )
    flat = squared == 0  # where the root has no derivative
    magnitude = squared.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)
    angle = torch.atan2(down, right).detach() % math.pi
    bins = (angle * (orientations / math.pi)).long() % orientations

    height, width = cell
    rows, columns = bins.shape[1] // height, bins.shape[2] // width
    votes = magnitude.new_zeros(*bins.shape, orientations)
    votes = votes.scatter(3, bins[..., None], magnitude[..., None])
    votes = votes[:, : rows * height, : columns * width]
    shape = (len(votes), rows, height, columns, width, orientations)
    return votes.reshape(shape).mean((2, 4))


def central_differences(
    images: Float[Tensor, "b c h w"],
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """The next pixel minus the one before, downwards and to the right; 0 on the image's edge, which has no next pixel."""
    down, right = torch.zeros_like(images), torch.zeros_like(images)
    down[..., 1:-1, :] = images[..., 2:, :] - images[..., :-2, :]
    right[..., 1:-1] = images[..., 2:] - images[..., :-2]
    return down, right


def l2_normalised(vectors: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """Vectors over their length, which is never below `EPS`."""
    return vectors / (vectors.square().sum(-1, keepdim=True) + EPS**2).sqrt()


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of what may be given as one number."""
    return (value, value) if isinstance(value, int) else tuple(value)


def check(shape: torch.Size, orientations: int, cell: tuple[int, int], block: tuple[int, int]) -> None:
    for name, counts in (("pixels_per_cell", cell), ("cells_per_block", block), ("orientations", (orientations,))):
        if min(counts) < 1:
            raise ValueError(f"{name} = {counts}: give whole numbers from 1 on")
    rows, columns = (n * size for n, size in zip(block, cell))
    if shape[2] < rows or shape[3] < columns:
        raise ValueError(
            f"images of {shape[2]} x {shape[3]} pixels: one block of {block[0]} x {block[1]} cells takes "
            f"{rows} x {columns}; use larger images, smaller cells or fewer cells a block"
        )
