"""What the page draws: a neuron, a line that moves at each mistake, bounds, errors that grow, regions, bumps, rows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.foundations.perceptrons.experiments import Samples
from helpers.foundations.perceptrons.rule import Run
from helpers.foundations.perceptrons.two_layers import Weights, forward
from helpers.plotting import COLOURS, INK
from helpers.plotting.diagrams import arrow, box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

NARROW = 5.2  # inches: panels one above the other, large enough for a phone


def mistakes_figure(samples: Samples, run: Run) -> "matplotlib.axes.Axes":
    """Points of two classes and the line after each mistake, darker the later; the last one is thick."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 4.4))
    x, y = samples
    draw_points(ax, samples)
    limits = [(x[:, i].min() - 0.4, x[:, i].max() + 0.4) for i in (0, 1)]
    lines = [w for w in run.path if abs(w[:2]).max() > 0]
    for i, w in enumerate(lines):
        last = i == len(lines) - 1
        draw_line(ax, w, color=INK, linewidth=2.4 if last else 0.9, alpha=1 if last else 0.25 + 0.5 * i / len(lines))
    ax.set(xlim=limits[0], ylim=limits[1], xlabel="first input", ylabel="second input")
    return ax


def draw_points(ax: "matplotlib.axes.Axes", samples: Samples) -> None:
    """Circles for the class -1, triangles for +1."""
    x, y = samples
    for colour, label, marker in ((COLOURS[0], -1, "o"), (COLOURS[1], 1, "^")):
        ax.plot(x[y == label, 0], x[y == label, 1], marker, color=colour, markersize=6, label=f"label {label:+d}")


def draw_line(ax: "matplotlib.axes.Axes", w: Float[np.ndarray, "3"], **style) -> None:
    """The line w1 x1 + w2 x2 + w3 = 0."""
    normal = w[:2] / np.linalg.norm(w[:2]) ** 2
    along = np.array([-w[1], w[0]]) / np.linalg.norm(w[:2])
    ends = np.stack([-w[2] * normal - 20 * along, -w[2] * normal + 20 * along])
    ax.plot(*ends.T, **style)


def neuron_figure() -> "matplotlib.axes.Axes":
    """Inputs, weights, their sum, the step, the answer; the error goes back to the weights."""
    ax = diagram(9.0, 3.5, scale=0.58)
    for y, name, weight in ((2.9, "x₁", "w₁"), (1.9, "x₂", "w₂"), (0.9, "1", "w₃")):
        write(ax, (0.4, y), name, size=12)
        arrow(ax, [(0.75, y), (2.95, 1.9)])
        write(ax, (1.5, y + (0.28 if y > 1 else -0.05) - 0.12 * (y - 1.9)), weight)
    box(ax, (3.8, 1.9), "sum\nw · x", width=1.6, height=1.2)
    arrow(ax, [(4.6, 1.9), (5.5, 1.9)])
    box(ax, (6.3, 1.9), "step", width=1.5, height=1.2, colour=COLOURS[0])
    arrow(ax, [(7.05, 1.9), (8.0, 1.9)])
    write(ax, (8.5, 1.9), "+1\nor -1")
    arrow(ax, [(8.5, 1.35), (8.5, 0.35), (2.2, 0.35), (2.2, 0.85)], colour=COLOURS[1], style="--")
    write(ax, (5.6, 0.62), "if wrong: add y x to w", colour=COLOURS[1])
    return ax


def bound_figure(
    mistakes: Mapping[str, Float[np.ndarray, " sets"]], bounds: Mapping[str, Float[np.ndarray, " sets"]]
) -> "matplotlib.axes.Axes":
    """A dot for each set: mistakes over the bound, and the line where they would be equal."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 4.2))
    for colour, name in zip(COLOURS, mistakes):
        ax.plot(bounds[name], mistakes[name], "o", color=colour, markersize=3.5, alpha=0.7, label=name)
    every = np.concatenate(list(bounds.values()))
    ends = np.array([every.min() / 2, every.max() * 2])
    ax.plot(ends, ends, color=INK, linewidth=1.2)
    ax.text(0.35 * ends[1], 0.6 * ends[1], "as many as the bound allows", color=INK, ha="right")
    ax.set(xscale="log", yscale="log", xlabel="(R / γ)²", ylabel="mistakes until none is left", xlim=ends, ylim=(0.8, ends[1]))
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0.9))
    return ax


def error_figure(errors: Mapping[str, Float[np.ndarray, " steps"]]) -> "matplotlib.axes.Axes":
    """The size of an error over steps of the delta rule, a line for each length of the input."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.4))
    for colour, (name, values) in zip(COLOURS, errors.items()):
        ax.plot(np.maximum(abs(values), 1e-6), "o-", color=colour, markersize=3, label=name)
    ax.set(yscale="log", ylim=(1e-3, 1e3), xlabel="update", ylabel="|error|", xticks=range(0, 21, 5))
    ax.legend(title="|x|²", ncols=2)
    return ax


def region_figure(samples: Samples, weights: Weights) -> "matplotlib.figure.Figure":
    """Left: the output over the plane, and the line of each hidden unit; right: the samples as the hidden units see them."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(2, 1, figsize=(4.4, 7.4))
    side = np.linspace(-0.5, 1.5, 101)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    out = forward(weights, grid)[1][:, 0].reshape(101, 101)
    left.contourf(side, side, out, levels=[-99, 0, 99], colors=[COLOURS[0], COLOURS[1]], alpha=0.18)
    draw_points(left, samples)
    for W, b in zip(weights.W1.T, weights.b1):
        draw_line(left, np.array([*W, b]), color=INK, linewidth=1.2)
    left.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xlabel="first input", ylabel="second input", aspect="equal")
    h = forward(weights, samples.x[:, :2])[0]
    draw_points(right, Samples(h, samples.y))
    draw_line(right, np.array([*weights.W2[:2, 0], weights.b2[0]]), color=INK, linewidth=1.2)
    right.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1), xlabel="first hidden unit", ylabel="second hidden unit", aspect="equal")
    return figure


def bumps_figure(
    function, parts: Sequence[nn.Module], heights: Sequence[float], whole: nn.Module
) -> "matplotlib.figure.Figure":
    """Above: each bump times its height; below: their sum, and the function."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 5.6), sharex=True)
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)
    with torch.no_grad():
        for i, (part, height) in enumerate(zip(parts, heights)):
            above.plot(x, height * part(x[:, None])[:, 0], "-", color=COLOURS[i % len(COLOURS)])
        below.plot(x, whole(x[:, None])[:, 0], color=COLOURS[0], label="sum of the bumps")
    below.plot(x, function(x), color=INK, linewidth=1.2, linestyle="--", label="the function")
    above.set(ylabel="bumps")
    below.set(xlabel="x", ylabel="sum")
    below.legend()
    return figure


def width_figure(
    widths: Sequence[int], by_hand: Sequence[float], trained: Float[Tensor, "widths seeds"]
) -> "matplotlib.axes.Axes":
    """The largest error over the width: by hand a line, trained a dot for each seed."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.8))
    ax.plot(widths, by_hand, "o-", color=COLOURS[0], label="built by hand")
    ax.plot(widths, trained.mean(1).numpy(), color=COLOURS[1], linewidth=1.2)
    for i in range(trained.shape[1]):
        ax.plot(widths, trained[:, i].numpy(), "o", color=COLOURS[1], markersize=4, label=None if i else "trained, five seeds")
    ax.set(xscale="log", yscale="log", xlabel="hidden units", ylabel="largest error on [0, 1]")
    ax.set_xticks(list(widths), [str(width) for width in widths])
    ax.minorticks_off()
    ax.legend()
    return ax


def rows_figure(gradient: Float[Tensor, "vocab d"], words: Mapping[int, str]) -> "matplotlib.axes.Axes":
    """The size of each entry of an embedding's gradient, with the words of the rows that were looked up."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(3.6, 5.2))
    size = np.ma.masked_equal(gradient.abs().numpy(), 0)
    ax.imshow(size, aspect="auto", interpolation="nearest")
    ax.set(xlabel="value", xticks=range(gradient.shape[1]))
    ax.set_yticks(list(words), list(words.values()))
    ax.grid(False)
    return ax
