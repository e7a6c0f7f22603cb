"""What the page draws: pictures and their neighbours, regions, curves over k and dimension, spoilt copies, choices."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from helpers.data import ImageSet
from helpers.foundations.nearest_neighbours.experiments import Choice
from helpers.plotting import COLOURS, INK, curves, image_grid
from helpers.plotting.diagrams import box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

NARROW = 5.2  # inches: panels one above the other, large enough for a phone


def neighbour_figure(
    queries: ImageSet, near: Int[Tensor, "q k"], known: ImageSet, columns: Sequence[str]
) -> "matplotlib.axes.Axes":
    """A row for each query: the picture, then its nearest ones, the class above each; other classes in brackets."""
    pictures, labels = [], []
    for i, places in enumerate(near):
        mine = queries.classes[queries.labels[i]]
        pictures += [queries.images[i], *known.images[places]]
        names = [known.classes[k] for k in known.labels[places]]
        labels += [f"{columns[0]} {mine}", *(name if name == mine else f"({name})" for name in names)]
    return image_grid(torch.stack(pictures), columns=1 + near.shape[1], labels=labels, width=NARROW)


def difference_figure(
    query: Float[Tensor, "1 h w"], known: Float[Tensor, "n 1 h w"], gaps: Float[Tensor, " n"], names: Sequence[str]
) -> "matplotlib.axes.Axes":
    """Three columns: the query, a known picture, and the size of their difference, whose sum stands above it."""
    pictures, labels = [], []
    for picture, gap, name in zip(known, gaps, names):
        pictures += [query, picture, (query - picture).abs()]
        labels += ["query", name, f"sum {gap:.1f}"]
    return image_grid(torch.stack(pictures), columns=3, labels=labels, width=4.2)


def amount_figure(
    amounts: Sequence[int], right: Float[Tensor, "seeds amounts"], rule: float | int
) -> "matplotlib.axes.Axes":
    """Accuracy over the number of labelled images, and the level of a written rule."""
    ax = curves(list(amounts), right)
    ax.axhline(rule, color=COLOURS[1], linestyle="--", linewidth=1.2)
    ax.text(amounts[-1], rule - 0.02, "written rule", color=COLOURS[1], ha="right", va="top")
    ax.set(xscale="log", xlabel="labelled images", ylabel="test accuracy", ylim=(0, 1))
    ax.set_xticks(list(amounts), [f"{amount:,}" for amount in amounts])
    ax.minorticks_off()
    return ax


def region_figure(
    points: Float[Tensor, "n 2"], labels: Int[Tensor, " n"], answers: Mapping[str, Int[Tensor, "side side"]]
) -> "matplotlib.figure.Figure":
    """The plane coloured by the answer, a panel for each k, with the remembered points."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(answers), 1, figsize=(4.2, 2.9 * len(answers)))
    for ax, (title, grid) in zip(axes, answers.items()):
        extent = (-1.75, 2.75, -1.5, 2.0)
        ax.contourf(grid.numpy(), levels=[-0.5, 0.5, 1.5], colors=COLOURS[:2], alpha=0.25, extent=extent)
        for k in (0, 1):
            ax.plot(*points[labels == k].T.numpy(), "o^"[k], color=COLOURS[k], markersize=3.5)
        ax.set(xticks=[], yticks=[], title=title, xlim=extent[:2], ylim=extent[2:])
        ax.grid(False)
    return figure


def k_figure(ks: Sequence[int], right: Mapping[str, Float[Tensor, "seeds ks"]]) -> "matplotlib.axes.Axes":
    """Accuracy over the number of votes."""
    ax = curves(list(ks), right)
    ax.set(xscale="log", xlabel="k, votes", ylabel="test accuracy")
    ax.set_xticks(list(ks), [str(k) for k in ks])
    ax.minorticks_off()
    return ax


def circle_figure(turned: Float[Tensor, "2 2"]) -> "matplotlib.axes.Axes":
    """All points at distance 1 of the middle in L1 and L2, before and after a rotation of the axes."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(3.9, 3.9))
    angle = torch.linspace(0, 2 * torch.pi, 200)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1], [1, 0]])
    ax.plot(*circle.T, color=COLOURS[0], label="L2")
    ax.plot(*square.T, color=COLOURS[1], label="L1")
    ax.plot(*(square @ turned.T.float()).T, "--", color=COLOURS[1], label="L1 in turned axes")
    for i in (0, 1):
        ax.plot(*zip((-1.3 * turned[:, i]).tolist(), (1.3 * turned[:, i]).tolist()), color=INK, linewidth=0.8, linestyle=":")
    ax.set(aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3)
    return ax


def contrast_figure(dimensions: Sequence[int], ratio: Float[Tensor, "seeds dimensions"]) -> "matplotlib.axes.Axes":
    """Farthest over nearest distance, over the number of dimensions."""
    ax = curves(list(dimensions), ratio)
    ax.axhline(1, color=INK, linewidth=1, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel="dimensions", ylabel="farthest / nearest distance")
    ax.set_xticks(list(dimensions), [f"{d:,}" for d in dimensions])
    ax.set_yticks([1, 2, 10, 100, 1000], ["1", "2", "10", "100", "1,000"])
    ax.minorticks_off()
    return ax


def nuisance_figure(rows: Mapping[str, Float[Tensor, "n 1 h w"]]) -> "matplotlib.axes.Axes":
    """A row of examples for each nuisance."""
    pictures = torch.cat(list(rows.values()))
    return image_grid(pictures, columns=len(next(iter(rows.values()))), rows=list(rows), width=4.6)


def fall_figure(
    degrees: Sequence[float], right: Mapping[str, Float[Tensor, "seeds degrees 3"]], names: Sequence[str]
) -> "matplotlib.figure.Figure":
    """A panel for each nuisance: the accuracy of three classifiers over its degree."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(right), 1, figsize=(NARROW, 2.1 * len(right)), sharex=True)
    for ax, (title, runs) in zip(axes, right.items()):
        for i, (colour, name) in enumerate(zip(COLOURS, names)):
            values = runs[..., i].numpy()
            ax.fill_between(degrees, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
            ax.plot(degrees, values.mean(0), "o-", color=colour, markersize=4, label=name)
        ax.set(ylabel="accuracy", ylim=(0, 1.04), title=title)
    axes[0].legend(ncols=3, loc="lower left", columnspacing=0.9, handlelength=1.2)
    axes[-1].set_xlabel("degree of the nuisance")
    return figure


def split_figure() -> "matplotlib.axes.Axes":
    """Training, validation and test parts, and five folds in which each part is held out once."""
    ax = diagram(9.2, 5.3, scale=0.56)
    parts = {"training": (0.2, 4.9, INK), "validation": (5.2, 1.7, COLOURS[0]), "test": (7.0, 2.0, COLOURS[1])}
    for name, (left, width, colour) in parts.items():
        box(ax, (left + width / 2, 4.6), name, width=width, height=0.75, colour=colour)
    write(ax, (3.55, 3.85), "five folds of what is not the test:", size=9.5)
    for row in range(5):
        for column in range(5):
            held, place = column == 4 - row, (0.2 + 1.34 * column + 0.67, 3.3 - 0.62 * row)
            colour = COLOURS[0] if held else INK
            box(ax, place, "held out" if held else "", width=1.26, height=0.5, colour=colour)
    box(ax, (8.0, 2.05), "test,\nused\nonce", width=2.0, height=3.0, colour=COLOURS[1])
    return ax


def choice_figure(runs: Mapping[str, Sequence[Choice]]) -> "matplotlib.axes.Axes":
    """Reported minus true accuracy, a dot for each experiment, and the mean as a bar."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 2.9))
    random = np.random.default_rng(0)
    for row, (colour, choices) in enumerate(zip((COLOURS[1], COLOURS[0]), runs.values())):
        gaps = np.array([choice.reported - choice.true for choice in choices])
        ax.plot(gaps, row + random.uniform(-0.2, 0.2, len(gaps)), "o", color=colour, markersize=4, alpha=0.6)
        ax.plot([gaps.mean()] * 2, [row - 0.32, row + 0.32], color=INK, linewidth=2.4)
    ax.axvline(0, color=INK, linewidth=1, linestyle=":")
    ax.set(xlabel="reported accuracy minus that on 1,250 other images", ylim=(1.5, -0.5))
    ax.set_yticks(range(len(runs)), list(runs))
    return ax
