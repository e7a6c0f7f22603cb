"""What the page on output sizes draws: a filter on its way over a volume, and the bell inside of a receptive field."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.plotting import COLOURS, INK, curves

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def number_grid(
    ax: "matplotlib.axes.Axes",
    grid: Float[Tensor, "n n"],
    title: str,
    window: tuple[int, int, int] | None = None,
    colour: str = INK,
    border: int = 0,
) -> None:
    """A grid of integers, blank where they are not numbers, the window (row, column, side) shaded, the border faint."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    n = len(grid)
    low, high = n / 2 - 3.6, n / 2 + 3.6  # all grids have cells of one size
    ax.set(xlim=(low, high), ylim=(high, low - 0.8), aspect="equal")
    ax.set_axis_off()
    ax.text(n / 2, -0.5, title, ha="center", va="center", size=10)
    lines = [line for k in range(n + 1) for line in ([(0, k), (n, k)], [(k, 0), (k, n)])]
    ax.add_collection(LineCollection(lines, colors=INK, linewidths=0.4))
    for i, j in product(range(n), repeat=2):
        if grid[i, j].isnan():
            continue
        edge = border and (min(i, j) < border or max(i, j) >= n - border)
        text = f"{grid[i, j]:.0f}".replace("-", "−")
        ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", alpha=0.55 if edge else 1.0, size=10)
    if window:
        i, j, side = window
        ax.add_patch(Rectangle((j, i), side, side, facecolor=colour, edgecolor=colour, alpha=0.25, lw=2))


def convolution_step(
    padded: Float[Tensor, "c h w"],
    kernel: Float[Tensor, "o c 3 3"],
    bias: Float[Tensor, " o"],
    steps: Sequence[tuple[int, int, int]],
    step: tuple[int, int, int],
) -> "matplotlib.figure.Figure":
    """One place of one filter with stride 2: what it covers, its weights, the sum; outputs up to here are filled in.

    `steps` are all places (filter, row, column) in order, `padded` has a border of one zero, two channels and two
    filters are drawn.
    """
    from matplotlib import pyplot

    done = torch.full((2, 3, 3), torch.nan)
    for o, i, j in steps[: steps.index(step) + 1]:
        window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        parts = (window * kernel[o]).sum((1, 2)).tolist()
        done[o, i, j] = sum(parts) + bias[o]
    figure, axes = pyplot.subplots(2, 3, figsize=(5.2, 4.1))
    for c in range(2):
        number_grid(axes[c, 0], padded[c], f"input {c}", (2 * i, 2 * j, 3), COLOURS[0], 1)
        number_grid(axes[c, 1], kernel[o, c], f"filter {o}, channel {c}", (0, 0, 3), COLOURS[0])
        number_grid(axes[c, 2], done[c], f"output {c}", (i, j, 1) if c == o else None, COLOURS[1])
    text = (
        f"channel 0: {parts[0]:.0f}   channel 1: {parts[1]:.0f}   bias: {bias[o]:.0f}   sum: {done[o, i, j]:.0f}"
    )
    figure.suptitle(text.replace("-", "−"))
    return figure


def bell(
    weight: Float[Tensor, "side side"], predicted: Float[Tensor, " side"], *, layers: int
) -> "matplotlib.figure.Figure":
    """The weight of each pixel of a field (left, its root), and its profile beside the predicted one."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.4, 3))
    side = len(weight)
    half = side / 2
    left.imshow(weight.sqrt(), extent=(-half, half, half, -half))
    left.set(title=f"{layers} layers: field {side}x{side}")
    left.grid(False)
    x = torch.arange(side) - side // 2
    curves(x, {"measured": weight.sum(0), "predicted": predicted}, ax=right)
    right.set(title="its profile", xlabel="pixel", yticks=[])
    return figure
