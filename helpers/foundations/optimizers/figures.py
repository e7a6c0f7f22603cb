"""What the page draws: walks on landscapes, factors per step, damping, and the map of learning rates and momenta."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from helpers.foundations.optimizers.experiments import LANDSCAPES, polyak
from helpers.foundations.optimizers.landscapes import bowl
from helpers.plotting import COLOURS, INK, contours, paths

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

BANDS = (10, 20, 50, 100, 300, 1000)  # steps to a thousandth: those of the figure that readers play with
OPACITY = (1, 0.78, 0.58, 0.42, 0.28, 0.16, 0.07)  # a band each, and one for what is slower than the last
NARROW = 5.2  # inches: panels one above the other, large enough for a phone


def landscape_figure(
    walks: Mapping[str, Mapping[str, Float[Tensor, "points 2"]]],
) -> "matplotlib.figure.Figure":
    """The walks of `landscape_walks`, a panel for each landscape; the star marks where L-BFGS ends."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(NARROW, 4.6), dpi=100)
    for ax, (place, on_it) in zip(axes.flat, walks.items()):
        landscape = LANDSCAPES[place]
        contours(landscape.height, landscape.xlim, landscape.ylim, ax, power=3, levels=10)
        ax.set_title(place)
        ax.set(xticks=[], yticks=[])
        for colour, (name, walk) in zip(COLOURS, on_it.items()):
            ax.plot(*walk.T.numpy(), "o-", color=colour, markersize=2.5, linewidth=1.2, label=name)
        start, goal = on_it["L-BFGS"][0], on_it["L-BFGS"][-1]
        ax.plot(*start.numpy(), "o", markersize=8, markerfacecolor="none", color=INK)
        ax.plot(*goal.numpy(), "*", markersize=13, color=INK, zorder=5)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, columnspacing=1.2, handlelength=1.4)
    return figure


def name_lines(ax: "matplotlib.axes.Axes", *, apart: float = 0.075) -> None:
    """Write the name of each labelled line behind its last point, in its colour, in place of a legend.

    Names keep a distance of `apart` of the axes' height.
    """
    if legend := ax.get_legend():
        legend.remove()
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    ax.get_xlim(), ax.get_ylim()  # brings the limits, and so the transformation, up to date
    ends = []
    for line in lines:
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        last = np.flatnonzero(np.isfinite(y))[-1]
        height = ax.transAxes.inverted().transform(ax.transData.transform((x[last], y[last])))[1]
        ends.append([float(np.clip(height, 0, 1)), line.get_label(), line.get_color()])
    ends.sort(key=lambda end: end[0])
    for below, above in zip(ends, ends[1:]):
        above[0] = max(above[0], below[0] + apart)
    shift = max(0.0, ends[-1][0] - 1)
    for height, name, colour in ends:
        ax.text(1.02, height - shift, name, color=colour, va="center", transform=ax.transAxes)


def factor_figure(
    rates: Shaped[np.ndarray, " rates"],
    measured: Float[Tensor, "rates 2"],
    walks: Mapping[str, Float[Tensor, "points 2"]],
) -> "matplotlib.figure.Figure":
    """Above: the size of 1 - lr λ for the curvatures 1 and 10, lines, and as measured, dots. Below: walks on the bowl."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 6.2), dpi=100)
    slowest = np.maximum(abs(1 - rates), abs(1 - 10 * rates))
    above.plot(rates, slowest, color=INK, linewidth=7, alpha=0.25)
    for i, (curvature, colour) in enumerate(zip((1, 10), COLOURS)):
        above.plot(rates, abs(1 - rates * curvature), color=colour, label=f"λ = {curvature}")
        above.plot(rates, measured[:, i].numpy(), "o", color=colour, markersize=4)
    above.axhline(1, color=INK, linewidth=1)
    for place, words in ((2 / 11, "2/(L+μ)"), (2 / 10, "2/L")):
        above.axvline(place, color=INK, linewidth=1, linestyle=":")
        above.text(place, 1.42, words, ha="right" if place < 0.19 else "left", va="top", color=INK)
    above.set(xlabel="learning rate", ylabel="|factor| per step", ylim=(0, 1.45))
    name_lines(above)
    contours(bowl, (-2.3, 1.4), (-1.8, 1.8), below)
    paths(below, walks)
    below.set(xlabel="x, curvature 1", ylabel="y, curvature 10")
    below.legend(loc="lower right")
    return figure


def damping_figure(
    rho: Shaped[np.ndarray, " momenta"],
    roots: Shaped[np.ndarray, "momenta 2"],
    measured: Mapping[float, float],
    walks: Mapping[str, Float[Tensor, " points"]],
    critical: float,
) -> "matplotlib.figure.Figure":
    """Above: the moduli of both roots over the momentum, and dots for runs. Below: one walk for each kind of damping."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 5.8))
    above.plot(rho, roots.max(1), color=COLOURS[0])
    above.plot(rho, roots.min(1), color=COLOURS[0], linewidth=1, alpha=0.6)
    above.plot(list(measured), list(measured.values()), "o", color=COLOURS[0])
    above.axvline(critical, color=INK, linewidth=1, linestyle=":")
    above.text(critical - 0.02, 0.06, "two real roots", ha="right", color=INK)
    above.text(critical + 0.02, 0.06, "complex roots, both |r| = √ρ", ha="left", color=INK)
    above.set(xlabel="momentum ρ", ylabel="|r|, factor per step", ylim=(0, 1.03), xlim=(0, 1))
    for colour, (name, walk) in zip((COLOURS[0], COLOURS[2], COLOURS[1]), walks.items()):
        below.plot(walk.numpy(), "o-", markersize=3, color=colour, label=name)
    below.axhline(0, color=INK, linewidth=1)
    below.set(xlabel="step", ylabel="position along the floor")
    below.legend(loc="lower right")
    return figure


def momentum_map(
    lr: Float[Tensor, "momenta rates"],
    rho: Float[Tensor, "momenta rates"],
    factor: Float[Tensor, "momenta rates"],
    mu: float = 1.0,
    L: float = 10.0,
) -> "matplotlib.axes.Axes":
    """Steps to a thousandth of the distance, darker where they are fewer, over the learning rate and the momentum.

    The lines are formulas: where momentum stops converging (dashed) and where each direction is critically damped.
    """
    from matplotlib import pyplot
    from matplotlib.colors import to_rgb

    figure, ax = pyplot.subplots(figsize=(NARROW, 4.4))
    steps = np.log(1e-3) / np.log(factor.clamp(1e-9, 1 - 1e-9).numpy())
    shade = np.zeros((*steps.shape, 4))
    shade[..., :3] = to_rgb(COLOURS[0])
    shade[..., 3] = np.interp(np.log(steps), np.log((*BANDS, 3 * BANDS[-1])), OPACITY)
    shade[..., 3] *= factor.numpy() < 1
    ax.pcolormesh(lr[0].numpy(), rho[:, 0].numpy(), shade, rasterized=True)
    y = np.linspace(0, 1, 400)
    ax.plot(2 * (1 + y) / L, y, "--", color=INK)
    ax.plot((1 - np.sqrt(y)) ** 2 / mu, y, color=COLOURS[2], linewidth=1.8)
    ax.plot((1 + np.sqrt(y)) ** 2 / L, y, color=COLOURS[1], linewidth=1.8)
    ax.plot(*polyak(L / mu, mu), "*", color=INK, markersize=16)
    ax.text(0.3, 0.31, "wall critically\ndamped", color=COLOURS[1], va="center")
    ax.text(0.3, 0.07, "floor critically\ndamped", color=COLOURS[2], va="center")
    ax.text(0.34, 0.48, "diverges", color=INK, ha="left", va="center")
    ax.set(xlabel="learning rate", ylabel="momentum ρ", xlim=(0, 0.42), ylim=(0, 1))
    ax.grid(False)
    needed = (15, 20, 30, 50, 100)  # steps where both directions swing: the factor is the root of the momentum
    scale = ax.secondary_yaxis("right")
    scale.set_yticks([1e-3 ** (2 / steps) for steps in needed], [str(steps) for steps in needed])
    scale.set_ylabel("steps where both directions swing")
    return ax
