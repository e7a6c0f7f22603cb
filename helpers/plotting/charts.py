"""Curves over seeds, matrices, and functions, fields and paths in the plane."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from helpers.plotting.canvas import Labels, Number, Range, array, axes, check_count, inches, limits_of, words
from helpers.plotting.style import COLOURS, INK, WIDTH, ink_on

if TYPE_CHECKING:
    import matplotlib.axes

Runs = Shaped[Tensor, "seeds t"] | Shaped[Tensor, "t"]


def curves(
    x: Shaped[Tensor, "t"] | Sequence[Number] | None,
    y: Runs | Mapping[str, Runs],
    *,
    band: Literal["range", "std"] = "range",
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw y over x: one run as a line, several seeds as their mean within a band; a mapping gives one curve per name.

    The band spans the smallest to the largest value ("range") or one standard deviation (of n, not n - 1) to either
    side ("std"); the legend says which. `x` = None counts from 0. Where a seed is not finite the curve has a gap.
    """
    named = y if isinstance(y, Mapping) else {"": y}
    if not named:
        raise ValueError("y has no curve: give one at least")
    ax = axes(ax)
    counts = set()
    for name, runs in named.items():
        runs = np.atleast_2d(array(runs)).astype(float)
        if runs.ndim > 2:
            raise ValueError(f"y {name!r} has shape {list(runs.shape)}: y is [t] or [seeds, t]")
        steps = np.arange(runs.shape[1]) if x is None else array(torch.as_tensor(x))
        if len(steps) != runs.shape[1]:
            raise ValueError(f"x has {len(steps)} values and y {name!r} {runs.shape[1]}: y is [t] or [seeds, t]")
        if len(runs) == 0:
            raise ValueError(f"y {name!r} of shape {runs.shape} holds no seed")
        runs[:, ~np.isfinite(runs).all(0)] = np.nan
        mean = runs.mean(0)
        (line,) = ax.plot(steps, mean, label=name or None)
        if len(runs) > 1:
            low, high = (runs.min(0), runs.max(0)) if band == "range" else (mean - runs.std(0), mean + runs.std(0))
            ax.fill_between(steps, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
            counts.add(len(runs))
    title = None
    if counts:
        seeds = f"{min(counts)} seeds" if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"
        title = f"mean and {'range' if band == 'range' else 'one std'} of {seeds}"
    if title or "" not in named:
        crowded = dict(loc="center left", bbox_to_anchor=(1, 0.5)) if len(named) > 5 else {}
        ax.legend(*ax.get_legend_handles_labels(), title=title, alignment="left", **crowded)
    return ax


def heat_map(
    matrix: Shaped[Tensor, "rows columns"],
    *,
    rows: Labels | None = None,
    columns: Labels | None = None,
    limits: Range | None = None,
    diverging: bool = False,
    digits: int = 2,
    values: bool | None = None,
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Show a matrix as colours, row 0 at the top: with its values where they fit, else with a colour bar.

    `rows` and `columns` name the ticks; `limits` are the values at the ends of the colour scale, by default the range
    of the matrix. `diverging` puts white at zero and makes these limits symmetric. `values` forces or suppresses the
    numbers, of which floats have `digits` decimals. Cells that are not finite stay empty.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    cells = array(matrix)
    if cells.ndim != 2:
        raise ValueError(f"matrix of shape {cells.shape}: it has rows and columns")
    n, m = cells.shape
    rows, columns = words(rows), words(columns)
    if n == 0 or m == 0:
        raise ValueError(f"matrix of shape {(n, m)}: there is no cell to show")
    check_count("names in rows", rows, n, "rows")
    check_count("names in columns", columns, m, "columns")
    low, high = limits_of(cells, limits)
    if diverging and limits is None:
        high = max(abs(low), abs(high))
        low = -high

    made = ax is None
    long = max(n, m) > 4 * min(n, m)
    cell = min(0.62, 5.0 / m)
    ax = axes(ax, min(WIDTH, m * cell + 1.4), min(5.5, max(1.0, n * cell + 0.5)) if made and not long else 3.2)
    colours = colormaps["RdBu_r" if diverging else "viridis"]
    scale = Normalize(low, high)
    shown = np.ma.masked_invalid(cells)
    picture = ax.imshow(shown, cmap=colours, norm=scale, aspect="auto" if long else "equal", interpolation="nearest")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)

    texts = [[f"{v:,}" if cells.dtype.kind == "i" else f"{v:z.{digits}f}" for v in row] for row in cells.tolist()]
    width, height = inches(ax)
    side = cell if made and not long else min(width / m, height / n)
    size = min(10.0, 72 * 0.9 * side / (0.62 * max(len(text) for row in texts for text in row)))
    if values is None:
        values = size >= 6.5
    if values:
        for i, j in np.argwhere(np.isfinite(cells)):
            ink = ink_on(colours(scale(cells[i, j])))
            ax.text(j, i, texts[i][j], ha="center", va="center", color=ink, size=max(size, 5.0))
    else:
        bar = ax.figure.colorbar(picture, ax=ax, shrink=0.8 if n > 4 else 1.0)
        bar.outline.set_visible(False)
    for axis, count, names in ((ax.xaxis, m, columns), (ax.yaxis, n, rows)):
        if names is not None:
            axis.set_ticks(range(count), names)
        elif count <= 12:
            axis.set_ticks(range(count))
        else:
            axis.get_major_locator().set_params(integer=True)
    if columns is not None and max(map(len, columns)) * 0.085 > side:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    return ax


def contours(
    fn: Callable[[Float[Tensor, "n 2"]], Float[Tensor, "n"]],
    xlim: Range,
    ylim: Range,
    ax: "matplotlib.axes.Axes | None" = None,
    *,
    levels: int = 12,
    power: Number = 2,
    resolution: int = 200,
) -> "matplotlib.axes.Axes":
    """Draw the level lines of a function of two variables, `fn(points [n 2]) -> [n]`, darker ground where it is higher.

    Level i of `levels` lies at the fraction (i / levels) ** `power` between the smallest and the largest value: 2
    spaces the lines of a quadratic bowl evenly, a higher power shows narrow valleys, 1 gives equal steps of height.
    """
    from matplotlib.colors import to_rgb

    for name, (low, high) in (("xlim", xlim), ("ylim", ylim)):
        if not low < high:
            raise ValueError(f"{name} = {(low, high)}: the first is the smaller one")
    if levels < 2 or resolution < 2 or not power > 0:
        raise ValueError(
            f"levels = {levels}, resolution = {resolution}, power = {power}: at least 2, at least 2, and positive"
        )
    x, y = torch.linspace(*xlim, resolution), torch.linspace(*ylim, resolution)
    with torch.no_grad():
        height = fn(torch.cartesian_prod(x, y))
    if tuple(height.shape) != (resolution**2,):
        raise ValueError(
            f"fn maps points [{resolution**2}, 2] to {list(height.shape)}, not to [{resolution**2}]: take the "
            "coordinates as p[..., 0] and p[..., 1], and sum over no other axis"
        )
    height = np.ma.masked_invalid(array(height).reshape(resolution, resolution).T)
    low, high = float(height.min()), float(height.max())
    if not low < high:
        raise ValueError(f"fn is {low:g} on all of xlim = {xlim}, ylim = {ylim}: a constant has no level lines")
    lines = low + (high - low) * (np.arange(1, levels) / levels) ** power
    ax = axes(ax)
    shades = [(*to_rgb(INK), 0.2 * i / levels) for i in range(levels)]
    ax.contourf(x.numpy(), y.numpy(), height, levels=[low, *lines, high], colors=shades)
    ax.contour(x.numpy(), y.numpy(), height, levels=lines, colors=[(*to_rgb(INK), 0.5)], linewidths=0.7)
    ax.grid(False)
    ax.set(xlim=xlim, ylim=ylim)
    return ax


def paths(
    ax: "matplotlib.axes.Axes",
    trajectories: Mapping[str, Float[Tensor, "t 2"]] | Float[Tensor, "n t 2"] | Float[Tensor, "t 2"],
) -> "matplotlib.axes.Axes":
    """Draw walks in the plane, a dot for each step and a ring at the start; a mapping names them in the legend.

    Axes on which something is drawn already keep their limits: a walk that diverges leaves the picture.
    """
    if isinstance(trajectories, Tensor):
        trajectories = dict(enumerate(trajectories.reshape(-1, *trajectories.shape[-2:])))
    drawn = bool(ax.collections or ax.lines or ax.images)
    frame = ax.get_xlim(), ax.get_ylim()
    for name, steps in trajectories.items():
        if steps.ndim != 2 or steps.shape[-1] != 2:
            raise ValueError(f"walk {name!r} of shape {list(steps.shape)}: a walk in the plane is [t 2]")
        x, y = array(steps).T
        (line,) = ax.plot(x, y, "o-", markersize=2.5, linewidth=1.4, label=name if isinstance(name, str) else None)
        ax.plot(x[:1], y[:1], "o", markersize=7, markerfacecolor="none", color=line.get_color())
    if drawn:
        ax.set(xlim=frame[0], ylim=frame[1])
    if any(isinstance(name, str) for name in trajectories):
        ax.legend()
    return ax


def vector_field(
    field: Float[Tensor, "2 h w"],
    *,
    xlim: Range | None = None,
    ylim: Range | None = None,
    scale: Number | None = None,
    arrows: int = 24,
    colour: str = COLOURS[0],
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Draw a field of vectors (component along x, component along y) as arrows, at most `arrows` along each axis.

    Without limits the field belongs to an image: it stands at the centres of the pixels, and y points down. With `xlim`
    and `ylim` its columns and rows are evenly spaced from the first limit to the second, ends included. `scale` is
    the length drawn for a vector of length 1, in units of the axes; by default the longest arrow spans the spacing.
    """
    if (xlim is None) != (ylim is None):
        raise ValueError(f"xlim = {xlim} and ylim = {ylim}: give both, or neither for the pixels of an image")
    if arrows < 1:
        raise ValueError(f"arrows = {arrows}: at least 1 is drawn along each axis")
    if field.ndim != 3 or len(field) != 2:
        raise ValueError(f"field of shape {list(field.shape)}: the components along x and y come first, [2 h w]")
    if xlim is not None and (xlim[0] == xlim[1] or ylim[0] == ylim[1]):
        raise ValueError(f"xlim = {xlim}, ylim = {ylim}: the two ends differ")
    u, v = array(field)
    h, w = u.shape
    stride = max(1, -(-max(h, w) // arrows))
    first = slice((stride - 1) // 2, None, stride)
    x = np.arange(w) + 0.5 if xlim is None else np.linspace(*xlim, w)
    y = np.arange(h) + 0.5 if ylim is None else np.linspace(*ylim, h)
    x, y, u, v = x[first], y[first], u[first, first], v[first, first]
    if scale is None:
        spacing = min([abs(np.diff(grid)).min() for grid in (x, y) if len(grid) > 1], default=1.0)
        longest = np.hypot(u, v)[np.isfinite(u) & np.isfinite(v)].max(initial=0.0)
        scale = float(spacing / longest) if longest > 0 else 1.0
    if not scale > 0:
        raise ValueError(f"scale = {scale}: the length drawn for a vector of length 1 is positive")
    drawn = ax is not None and bool(ax.collections or ax.lines or ax.images)
    ax = axes(ax, 4.4, 4.4 * h / w if 0.3 < h / w < 2 else 3.8)
    ax.quiver(x, y, u, v, color=colour, angles="xy", scale_units="xy", scale=1 / scale, width=0.004, minlength=0.5)
    if not drawn:
        ax.set_aspect("equal")
        ax.grid(False)
        if xlim is None:
            ax.set(xlim=(0, w), ylim=(h, 0))
    return ax
