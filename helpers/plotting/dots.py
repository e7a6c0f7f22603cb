"""Rows of dots: every seed of every method, with no average in the way."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from helpers.plotting.canvas import Number, axes
from helpers.plotting.style import COLOURS

if TYPE_CHECKING:
    import matplotlib.axes


def dots(
    values: Mapping[str, Sequence[Number] | Shaped[Tensor, "seeds"]],
    *,
    spread: Number = 0.2,
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw a row of dots for each name, the first on top: a dot for each seed, the first seed highest in its row.

    `spread` is how far a row reaches to either side of its name, in rows. A name without values keeps its row and its
    colour, so that panels side by side agree.
    """
    if not 0 <= spread < 0.5:
        raise ValueError(f"spread = {spread}: from 0 to below 0.5, or the rows run into each other")
    ax = axes(ax, height=0.5 + 0.4 * len(values))
    for row, seeds in enumerate(values.values()):
        x = np.asarray(torch.as_tensor(seeds, dtype=torch.float64).cpu())
        y = row + (np.linspace(-spread, spread, len(x)) if len(x) > 1 else np.zeros(len(x)))
        ax.plot(x, y, "o", color=COLOURS[row % len(COLOURS)], markersize=6, alpha=0.85)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    return ax
