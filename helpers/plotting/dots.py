"""Every seed of every method: rows of dots, with no average in the way, and bars of the mean with a dot for each seed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from helpers.plotting.canvas import Number, axes
from helpers.plotting.style import COLOURS, INK

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


def grouped_bars(
    values: Mapping[tuple[str, str], Sequence[Number] | Shaped[Tensor, "seeds"]],
    *,
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw lying bars for pairs (name, group): the mean over seeds, and a dot for each seed where there are more than one.

    A row for each name, the first on top; in it a bar for each group, in the colour that the legend above gives it.
    Raises `ValueError` for no values.
    """
    if not values:
        raise ValueError("grouped_bars wants values: a list of numbers for each pair (name, group)")
    names, groups = (list(dict.fromkeys(pair[i] for pair in values)) for i in (0, 1))
    width = 0.8 / len(groups)
    ax = axes(ax, height=0.8 + width * len(groups) * 0.5 * len(names))
    bars = {}
    for (name, group), seeds in values.items():
        runs = np.asarray(torch.as_tensor(seeds, dtype=torch.float64).cpu())
        j = groups.index(group)
        y = names.index(name) + width * (j - (len(groups) - 1) / 2)
        bars[group] = ax.barh(y, runs.mean(), 0.92 * width, color=COLOURS[j % len(COLOURS)])
        if len(runs) > 1:
            ax.plot(runs, [y] * len(runs), ".", color=INK, ms=4)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.legend(bars.values(), bars, ncols=len(groups), loc="lower center", bbox_to_anchor=(0.4, 1))
    return ax
