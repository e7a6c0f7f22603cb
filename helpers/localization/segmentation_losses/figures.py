"""What the page draws: masks beside the truth, where a loss pulls, thresholds, sizes, hypercolumns and three tasks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from helpers.foundations.optimizers.figures import NARROW, name_lines
from helpers.plotting import COLOURS, INK, curves, image_grid
from helpers.plotting.diagrams import arrow, box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

BLUE, ORANGE, GREEN, PINK, RUST, SKY = COLOURS
PAPER = (0.16, 0.16, 0.16)


def verdicts(found: Bool[Tensor, "n h w"], truth: Bool[Tensor, "n h w"]) -> Float[Tensor, "n 3 h w"]:
    """Masks as pictures: hits green, false alarms orange, misses pink, the rest dark."""
    from matplotlib.colors import to_rgb

    picture = torch.tensor(PAPER).view(3, 1, 1).expand(len(found), 3, *found.shape[1:]).clone()
    for where, colour in ((found & truth, GREEN), (found & ~truth, ORANGE), (~found & truth, PINK)):
        picture = torch.where(where[:, None], torch.tensor(to_rgb(colour)).view(3, 1, 1), picture)
    return picture


def judged(
    images: Float[Tensor, "n 3 h w"], truth: Bool[Tensor, "n h w"], found: Mapping[str, Bool[Tensor, "n h w"]]
) -> "matplotlib.axes.Axes":
    """A row for each network below the pictures themselves, coloured by `verdicts`."""
    rows = [images, *(verdicts(mask, truth) for mask in found.values())]
    grid = torch.cat(rows)
    return image_grid(grid, columns=len(images), rows=["picture", *found], width=NARROW)


def machine() -> "matplotlib.axes.Axes":
    """From a picture to one number: a logit a pixel, a probability, a loss, their mean; and the three places to turn."""
    ax = diagram(5.2, 2.5)
    y = 1.45
    boxes = (("network", 0.62, 0.95), ("logit\nz", 1.9, 0.7), ("p = σ(z)", 3.0, 0.9), ("mean of\nlosses", 4.35, 0.95))
    for words, x, wide in boxes:
        box(ax, (x, y), words, width=wide, height=0.72, colour=BLUE)
    for left, right in ((0.02, 0.14), (1.1, 1.55), (2.25, 2.55), (3.45, 3.87), (4.83, 5.15)):
        arrow(ax, [(left, y), (right, y)], colour=BLUE)
    for x, words in ((1.9, "where it begins:\nthe last bias"), (4.35, "what is heard:\nthe loss")):
        arrow(ax, [(x, 0.62), (x, y - 0.36)], colour=ORANGE)
        write(ax, (x, 0.36), words, colour=ORANGE)
    box(ax, (3.0, 2.2), "mask: p > t", width=1.2, height=0.42, colour=GREEN)
    arrow(ax, [(3.0, y + 0.36), (3.0, 1.99)], colour=GREEN)
    write(ax, (4.5, 2.2), "where it is cut:\nthe threshold t", colour=ORANGE)
    arrow(ax, [(3.85, 2.2), (3.6, 2.2)], colour=ORANGE)
    return ax


def pulls(p: Float[Tensor, " n"], pull: Mapping[str, Float[Tensor, "n 2"]]) -> "matplotlib.figure.Figure":
    """The size of the gradient that one pixel's logit gets, over p: above for a foreground pixel, below for background."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(NARROW, 6.0), sharex=True, sharey=True)
    for kind, (ax, title) in enumerate(zip(axes, ("a foreground pixel", "a background pixel"))):
        for name, colour in zip(pull, COLOURS):
            ax.plot(p, pull[name][:, kind].abs(), color=colour, label=name)
        ax.set(title=title, ylabel="|gradient of z| × pixels", yscale="log", ylim=(1e-3, 200))
        name_lines(ax, apart=0.1)
    axes[-1].set_xlabel("what the network says, p")
    return figure


def over_thresholds(
    thresholds: Sequence[float], iou: Mapping[str, Float[Tensor, "seeds t"]]
) -> "matplotlib.figure.Figure":
    """IoU of the mask p > t over t, a panel for each loss: mean and range over seeds; the dotted line marks one half."""
    from matplotlib import pyplot

    rows = -(-len(iou) // 2)
    figure, axes = pyplot.subplots(rows, 2, figsize=(NARROW, 1.9 * rows), sharex=True, sharey=True)
    for ax, (name, runs), colour in zip(axes.flat, iou.items(), COLOURS):
        low, high = runs.amin(0), runs.amax(0)
        ax.fill_between(thresholds, low, high, color=colour, alpha=0.25, linewidth=0)
        ax.plot(thresholds, runs.mean(0), color=colour)
        ax.axvline(0.5, color=INK, linestyle=":", linewidth=1)
        ax.set_title(name, pad=3)
        ax.set(ylim=(0, 0.7), xlim=(0, 1), xticks=(0, 0.5, 1))
    for ax in axes.flat[len(iou) :]:
        ax.axis("off")
    for column in axes.T:
        last = [ax for ax in column if ax.axison][-1]
        last.set_xlabel("threshold t")
        last.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("IoU")
    return figure


def two_paths(paths: Mapping[str, Float[Tensor, "seeds times"]], every: int) -> "matplotlib.axes.Axes":
    """IoU over steps, looked at after each `every`: mean and range over seeds, the name at the end of each curve."""
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(NARROW, 3.2))[1]
    for name, runs in paths.items():
        curves(every * torch.arange(1, runs.shape[1] + 1), {name: runs}, ax=ax)
    ax.set(xlabel="step", ylabel="IoU at the best threshold", ylim=(0, None))
    name_lines(ax, apart=0.1)
    return ax


def by_size(edges: Sequence[int], found: Mapping[str, Float[Tensor, "seeds bins"]]) -> "matplotlib.axes.Axes":
    """The share of a fault's pixels that is found, over the size of the fault: mean over seeds, a dot for each seed."""
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(NARROW, 3.4))[1]
    bins = np.arange(len(edges) - 1)
    for i, (name, runs) in enumerate(found.items()):
        at = bins + 0.12 * (i - (len(found) - 1) / 2)
        ax.plot(at, runs.mean(0), color=COLOURS[i], label=name)
        for run in runs:
            ax.plot(at, run, "o", color=COLOURS[i], markersize=3.5, alpha=0.7)
    names = [f"{low}" if high == low + 1 else f"{low} to {high - 1}" for low, high in zip(edges, edges[1:])]
    ax.set_xticks(bins, names)
    ax.set(xlabel="pixels of the fault", ylabel="share of them found", ylim=(0, 1))
    name_lines(ax, apart=0.1)
    return ax


def hypercolumn(maps: Sequence[tuple[str, int]]) -> "matplotlib.axes.Axes":
    """One pixel's hypercolumn: the same place read in maps of several scales, put in a row, and a head of three layers.

    `maps` holds the name and the cells along a side of each map, the finest first.
    """
    ax = diagram(5.2, 3.0)
    side = 0.95
    for i, (name, cells) in enumerate(maps):
        x, y = 0.1 + 1.08 * i, 1.75
        for line in np.linspace(0, side, cells + 1):
            ax.plot([x + line] * 2, [y, y + side], linestyle="-", color=INK, linewidth=0.5)
            ax.plot([x, x + side], [y + line] * 2, linestyle="-", color=INK, linewidth=0.5)
        at = (x + 0.62 * side, y + 0.4 * side)
        ax.plot(*at, "o", color=ORANGE, markersize=6)
        write(ax, (x + side / 2, y + side + 0.16), name, size=9.5)
        arrow(ax, [at, (at[0], 1.35), (0.62 + 0.75 * i, 1.02)], colour=ORANGE)
        box(ax, (0.62 + 0.75 * i, 0.8), "", width=0.72, height=0.4, colour=BLUE)
    write(ax, (1.75, 0.35), "hypercolumn of the pixel", colour=BLUE)
    arrow(ax, [(3.3, 0.8), (3.62, 0.8)], colour=BLUE)
    box(ax, (4.2, 0.8), "3 linear\nlayers", width=1.05, height=0.62, colour=GREEN)
    write(ax, (4.2, 0.3), "one pixel's answer", colour=GREEN)
    return ax


def by_share(
    shares: Sequence[float], accuracy: Float[Tensor, "seeds shares"], seconds: Float[Tensor, "seeds shares"]
) -> "matplotlib.figure.Figure":
    """Above the accuracy, below the time of training, over the share of pixels in each step: dots for seeds, a line of means."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(NARROW, 5.0), sharex=True)
    for ax, runs, label, colour in zip(axes, (accuracy, seconds), ("mean IoU", "time, all pixels = 1"), COLOURS):
        ax.plot(shares, runs.mean(0), color=colour)
        for run in runs:
            ax.plot(shares, run, "o", color=colour, markersize=4, alpha=0.8)
        ax.set(xscale="log", ylabel=label)
    axes[1].set(ylim=(0, 1.1), xlabel="share of the pixels that each step looks at")
    axes[1].set_xticks(shares, [f"{100 * share:.0f} %" for share in shares], minor=False)
    axes[1].minorticks_off()
    return figure


def correlation_by_distance(values: Float[Tensor, "seeds distances"]) -> "matplotlib.axes.Axes":
    """Correlation of the losses of two pixels over their distance, from 1 on: mean and range over seeds."""
    from matplotlib import pyplot

    ax = pyplot.subplots(figsize=(NARROW, 3.0))[1]
    distances = torch.arange(1, values.shape[1] + 1)
    curves(distances, {"": values}, ax=ax).set(xlabel="distance in pixels", ylabel="correlation of the losses")
    ax.axhline(0, color=INK, linewidth=0.8)
    if legend := ax.get_legend():
        legend.remove()
    return ax


def three_answers(rows: Mapping[str, Shaped[Tensor, "n 3 h w"]]) -> "matplotlib.axes.Axes":
    """Rows of pictures, named at the left: the input, then truth and answer for each task."""
    grid = torch.cat(list(rows.values()))
    return image_grid(grid, columns=len(next(iter(rows.values()))), rows=list(rows), width=NARROW)


def painted(labels: Shaped[Tensor, "n h w"]) -> Float[Tensor, "n 3 h w"]:
    """Labels as colours: 0 dark, then orange, sky, …"""
    from matplotlib.colors import to_rgb

    table = torch.tensor([PAPER, to_rgb(ORANGE), to_rgb(SKY), to_rgb(GREEN)])
    return table[labels].permute(0, 3, 1, 2)


def as_colours(normals: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Normals as colours, from -1 … 1 to 0 … 1."""
    return ((normals + 1) / 2).clamp(0, 1)


