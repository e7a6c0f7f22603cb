"""What the page draws: a card for each function, the machine, zig-zags, dead units, and the comparison of ten networks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from helpers.foundations.activations.learned import Maxout
from helpers.foundations.activations.pointwise import slope
from helpers.foundations.optimizers.figures import NARROW, name_lines
from helpers.plotting import COLOURS, INK
from helpers.plotting.diagrams import arrow, box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

FLAT = 0.01  # a slope below this lets less than a hundredth of the gradient through
VALUE, SLOPE = COLOURS[0], COLOURS[1]


def flat_stretches(f: nn.Module, x: Float[Tensor, " n"]) -> Shaped[np.ndarray, " n"]:
    """Where on the line the slope of `f` has a size below `FLAT`."""
    return (slope(f, x).abs() < FLAT).numpy()


def cards(functions: Mapping[str, nn.Module], notes: Mapping[str, str]) -> "matplotlib.figure.Figure":
    """A panel for each function of one number: its value, its slope, and shaded where the slope is below `FLAT`."""
    from matplotlib import pyplot

    rows = -(-len(functions) // 2)
    figure, axes = pyplot.subplots(rows, 2, figsize=(NARROW, 1.75 * rows), sharex=True, sharey=True)
    x = torch.linspace(-6, 6, 1200)  # an even number of points: none lies on a kink
    for ax, (name, f) in zip(axes.flat, functions.items()):
        with torch.no_grad():
            value = f(x).numpy()
        ax.fill_between(x, -2, 3, where=flat_stretches(f, x), color=INK, alpha=0.22, linewidth=0)
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.plot(x, value, color=VALUE)
        ax.plot(x, slope(f, x).numpy(), "--", color=SLOPE, linewidth=1.5)
        ax.set(xlim=(-6, 6), ylim=(-1.6, 2.6), xticks=(-4, 0, 4), yticks=(-1, 0, 1, 2))
        ax.set_title(name, pad=3)
        ax.text(5.7, -1.45, notes[name], ha="right", va="bottom", size=9, color=INK)
    axes[0, 0].text(-5.7, 2.1, "value", color=VALUE)
    axes[0, 0].text(-5.7, 1.45, "slope", color=SLOPE)
    return figure


def machine() -> "matplotlib.axes.Axes":
    """A unit between two linear layers: values go right, the gradient comes back and is multiplied by the slope."""
    ax = diagram(5.2, 2.7)
    y, back = 1.75, 0.62
    box(ax, (1.25, y), "linear\nw · x + b", width=1.15, height=0.8)
    box(ax, (2.85, y), "f", width=0.62, height=0.8, colour=VALUE)
    box(ax, (4.2, y), "next\nlayer", width=0.9, height=0.8)
    for left, right in ((0.3, 0.67), (1.83, 2.54), (3.16, 3.75), (4.65, 5.05)):
        arrow(ax, [(left, y), (right, y)], colour=VALUE)
    for x, words in ((0.46, "x"), (2.18, "z"), (3.42, "f(z)")):
        write(ax, (x, y + 0.24), words, colour=VALUE)
    box(ax, (2.85, back), "× f′(z)", width=0.9, height=0.52, colour=SLOPE)
    arrow(ax, [(4.2, y - 0.4), (4.2, back), (3.3, back)], colour=SLOPE)
    arrow(ax, [(2.4, back), (1.25, back), (1.25, y - 0.4)], colour=SLOPE)
    write(ax, (3.8, back - 0.25), "g", colour=SLOPE)
    write(ax, (1.8, back - 0.25), "δ = g f′(z)", colour=SLOPE)
    write(ax, (0.62, 0.98), "δ x\nto w", colour=SLOPE)
    write(ax, (1.25, 2.45), "values forwards", colour=VALUE)
    write(ax, (4.2, 0.2), "gradient backwards", colour=SLOPE)
    return ax


def zigzag_figure(paths: Mapping[str, Float[Tensor, "points 2"]]) -> "matplotlib.figure.Figure":
    """Paths of two weights from a ring to a star, a panel each; in the shaded quadrants both weights move the same way."""
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    figure, axes = pyplot.subplots(len(paths), 1, figsize=(NARROW, 3.1 * len(paths)), sharex=True, sharey=True)
    for ax, colour, (name, path) in zip(axes, (COLOURS[4], COLOURS[2]), paths.items()):
        x, y = path.T.numpy()
        for size in (9, -9):
            ax.add_patch(Rectangle((-1, 1), size, size, color=INK, alpha=0.1, linewidth=0))
        ax.plot(x, y, "o-", color=colour, markersize=3.5, linewidth=1.4)
        ax.plot(x[:1], y[:1], "o", color=INK, markersize=9, markerfacecolor="none")
        ax.plot([1], [-1], "*", color=INK, markersize=14, zorder=5)
        ax.set(title=name, ylabel="second weight", xlim=(-2.1, 2.3), ylim=(-1.9, 1.9), aspect="equal")
    axes[-1].set_xlabel("first weight")
    return figure


def depth_figure(
    losses: Mapping[tuple[str, int], Float[Tensor, "seeds steps"]], level: float | int, window: int = 20
) -> "matplotlib.figure.Figure":
    """Training loss over steps, a panel for each depth, a band over seeds for each function; the dotted line is `level`."""
    from matplotlib import pyplot

    depths = sorted({depth for _, depth in losses})
    figure, axes = pyplot.subplots(len(depths), 1, figsize=(NARROW, 2.1 * len(depths)), sharex=True, sharey=True)
    for ax, depth in zip(axes, depths):
        for i, name in enumerate(dict.fromkeys(name for name, _ in losses)):
            smooth = losses[name, depth].double().unfold(1, window, 1).mean(-1).numpy()
            steps = np.arange(smooth.shape[1]) + window
            ax.plot(steps, smooth.mean(0), color=COLOURS[i], label=name)
            ax.fill_between(steps, smooth.min(0), smooth.max(0), color=COLOURS[i], alpha=0.25, linewidth=0)
        ax.axhline(level, color=INK, linewidth=1, linestyle=":")
        ax.set(ylim=(0, 2.6), ylabel="training loss")
        ax.set_title(f"{depth} hidden layer{'s' * (depth > 1)}", pad=3)
        name_lines(ax, apart=0.14)
    axes[-1].set_xlabel("step")
    return figure


def over_steps(
    runs: Mapping[str, Float[Tensor, "seeds times"]], every: int
) -> "matplotlib.axes.Axes":
    """Shares of units over steps: the mean over seeds as a line, the range as a band, the name at its end."""
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(NARROW, 3.2))[1]
    band = 0.22 if len(runs) < 5 else 0.1
    for i, (name, shares) in enumerate(runs.items()):
        values = 100 * shares.double().numpy()
        steps = every * np.arange(values.shape[1])
        ax.plot(steps, values.mean(0), color=COLOURS[i], label=name)
        ax.fill_between(steps, values.min(0), values.max(0), color=COLOURS[i], alpha=band, linewidth=0)
    ax.set(xlabel="step", ylabel="dead units, %")
    name_lines(ax, apart=0.1)
    return ax


def layer_lines(shares: Mapping[str, Float[Tensor, "seeds layers"]]) -> "matplotlib.axes.Axes":
    """The percentage of dead units by hidden layer, the mean over seeds, a line for each name."""
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(NARROW, 2.9))[1]
    for i, (name, runs) in enumerate(shares.items()):
        mean = 100 * runs.mean(0).numpy()
        ax.plot(range(1, len(mean) + 1), mean, "o-", color=COLOURS[i], label=name)
    ax.set(xlabel="hidden layer", ylabel="dead before training, %", xticks=range(1, len(mean) + 1))
    name_lines(ax, apart=0.11)
    return ax


def sign_figure(shares: Mapping[str, Float[Tensor, "seeds sizes"]], sizes: Sequence[int]) -> "matplotlib.axes.Axes":
    """The share of a unit's weight gradients that have the more frequent sign, over the batch size."""
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(NARROW, 3.0))[1]
    for i, (name, runs) in enumerate(shares.items()):
        values = 100 * runs.numpy()
        ax.plot(sizes, values.mean(0), "o-", color=COLOURS[i], label=name)
        ax.fill_between(sizes, values.min(0), values.max(0), color=COLOURS[i], alpha=0.22, linewidth=0)
    ax.set(xscale="log", xlabel="samples in the batch", ylabel="same sign, % of weights", ylim=(45, 102))
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    name_lines(ax, apart=0.1)
    return ax


def maxout_figure(made: Mapping[str, tuple[Maxout, Float[Tensor, " n"]]]) -> "matplotlib.figure.Figure":
    """Maxout units of one input: their pieces as thin lines, their largest as a thick one, what they imitate dotted."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(made), 1, figsize=(NARROW, 1.9 * len(made)), sharex=True)
    x = torch.linspace(-2, 2, 401)
    for ax, (name, (unit, imitated)) in zip(axes, made.items()):
        with torch.no_grad():
            pieces = x[:, None] * unit.weight[0, :, 0] + unit.bias[0]
            top = unit(x[:, None])[:, 0]
        ax.plot(x, pieces.numpy(), "-", color=INK, linewidth=1)
        ax.plot(x, top.numpy(), color=VALUE, linewidth=2.4)
        ax.plot(x, imitated.numpy(), ":", color=SLOPE, linewidth=2)
        ax.set(ylim=(-1.2, 4.2), ylabel="output")
        ax.set_title(name, pad=3)
    axes[-1].set_xlabel("input")
    return figure


def rate_figure(
    validation: Mapping[str, Float[Tensor, "rates seeds"]], rates: Sequence[float | int]
) -> "matplotlib.figure.Figure":
    """The validation loss over the learning rate, the mean of the seeds, in two panels; runs that diverge break off."""
    from matplotlib import pyplot

    names = list(validation)
    figure, axes = pyplot.subplots(2, 1, figsize=(NARROW, 6.2), sharex=True, sharey=True)
    for ax, group in zip(axes, (names[:5], names[5:])):
        for i, name in enumerate(group):
            mean = validation[name].mean(1)
            shown = torch.where(mean < 2.5, mean, torch.nan).numpy()
            ax.plot(rates, shown, "o-", color=COLOURS[i], label=name)
        ax.set(xscale="log", yscale="log", ylabel="validation loss", ylim=(0.25, 2.6))
        ax.set_yticks([0.3, 0.5, 1, 2], ["0.3", "0.5", "1", "2"])
        ax.minorticks_off()
        ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncols=3, columnspacing=0.9, handlelength=1.2)
    axes[1].set_xlabel("learning rate")
    return figure


def noise_figure(accuracy: Mapping[str, Float[Tensor, "seeds levels"]], levels: Sequence[float | int]) -> "matplotlib.axes.Axes":
    """Accuracy lost to noise on the input, in points, over its size; the mean over seeds."""
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(NARROW, 3.6))[1]
    for i, (name, runs) in enumerate(accuracy.items()):
        lost = 100 * (runs[:, :1] - runs).mean(0).numpy()
        ax.plot(levels, lost, "o-" if i < 6 else "o--", color=COLOURS[i % 6], label=name)
    ax.set(xlabel="deviation of the noise", ylabel="accuracy lost, points")
    name_lines(ax, apart=0.075)
    return ax
