"""A classifier of digits that a person writes: holes, where they lie, and where the ink is."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def written_rule(images: Float[Tensor, "n 1 h w"]) -> Int[Tensor, " n"]:
    """A digit for each image of white ink on black, by a fixed rule.

    Two holes: 8. One hole: 0 if it is large, 9 if it lies high, else 6.
    No hole: 1 if the ink is narrow; else by the halves with more ink.
    """
    return torch.tensor([digit(image) for image in images[:, 0].numpy() > 0.5])


def digit(ink: np.ndarray) -> int:
    from scipy.ndimage import label

    rows, columns = np.nonzero(ink)
    if not len(rows):
        return 1
    box = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    parts, count = label(np.pad(~box, 1, constant_values=True))
    sizes = np.bincount(parts.ravel())[2:]  # part 1 is the outside
    holes = [i + 2 for i, size in enumerate(sizes) if size > 2]
    h, w = box.shape
    if len(holes) >= 2:
        return 8
    if holes:
        hole = np.argwhere(parts == holes[0])
        if len(hole) > 0.2 * h * w:
            return 0
        return 9 if hole[:, 0].mean() < 0.45 * h else 6
    if w < 0.45 * h:
        return 1
    upper, lower = box[: h // 2], box[h // 2 :]
    if lower[:, : w // 3].sum() > lower[:, -(w // 3) :].sum():
        return 2
    if upper.sum() > 1.3 * lower.sum():
        return 7 if upper[: h // 5].mean() > 0.4 else 4
    return 5 if upper[:, : w // 3].sum() > upper[:, -(w // 3) :].sum() else 3
