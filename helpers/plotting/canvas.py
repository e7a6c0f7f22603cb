"""Between tensors and matplotlib: arrays out of tensors, axes that exist or are made."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from helpers.plotting.style import WIDTH

if TYPE_CHECKING:
    import matplotlib.axes

Number = float | int
Range = tuple[Number, Number]
Labels = Sequence[object] | Shaped[Tensor, "_"] | np.ndarray  # a data set and a detector give tensors


def array(tensor: Shaped[Tensor, "..."] | np.ndarray) -> np.ndarray:
    """The values of a tensor of any device: float32 or float64 for floats, int64 for integers and booleans."""
    tensor = torch.as_tensor(tensor).detach().cpu()
    if tensor.is_complex():
        raise TypeError(f"dtype {tensor.dtype}: draw the real part, the modulus or the phase of a complex tensor")
    if not tensor.is_floating_point():
        return tensor.long().numpy()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()


def axes(ax: "matplotlib.axes.Axes | None", width: Number = WIDTH, height: Number = 3.8) -> "matplotlib.axes.Axes":
    """`ax`, or the axes of a new figure of that size in inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height))[1]


def inches(ax: "matplotlib.axes.Axes") -> tuple[float, float]:
    """Width and height of the axes in inches."""
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


def limits_of(values: np.ndarray, limits: Range | None) -> Range:
    """`limits`, or the smallest and the largest finite value; never two equal ends."""
    if limits is None:
        finite = values[np.isfinite(values)]
        limits = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        return limits if limits[0] < limits[1] else (limits[0] - 0.5, limits[0] + 0.5)
    if not limits[0] < limits[1]:
        raise ValueError(f"limits = {limits}: the first is the smaller one")
    return limits


def words(labels: Labels | None) -> list[str] | None:
    """Labels as they are written: 3 for an entry tensor(3), whatever holds the labels; None stays."""
    if labels is None:
        return None
    plain = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
    return [str(label.item() if isinstance(label, Tensor | np.generic) else label) for label in plain]


def check_count(name: str, items: object, expected: int, what: str) -> None:
    """Refuse a list `items` that has not one entry for each of `expected` things."""
    if items is not None and len(items) != expected:
        raise ValueError(f"{len(items)} {name} for {expected} {what}: give one for each")
