"""What the page draws: templates in two colours, a machine of matches, walks on a surface, lines, two losses."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from helpers.foundations.linear_classifiers.templates import Templates
from helpers.plotting import COLOURS, INK, contours, curves, image_grid
from helpers.plotting.diagrams import arrow, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

    from helpers.data import ImageSet
    from helpers.foundations.linear_classifiers.experiments import Walk
    from helpers.foundations.linear_classifiers.lines import Line

NARROW = 5.2  # inches: panels one above the other, large enough for a phone


def two_colours(weights: Float[Tensor, "n h w"], limit: float | None = None) -> Float[Tensor, "n 3 h w"]:
    """Pictures of weights: blue above zero, red below, white at zero, each at its own scale or at one `limit` for all."""
    from matplotlib import colormaps

    size = weights.abs().amax((1, 2), keepdim=True).clamp(min=1e-12) if limit is None else limit
    shares = (0.5 + 0.5 * weights / size).clamp(0, 1)
    return torch.from_numpy(colormaps["RdBu"](shares.numpy())[..., :3]).float().permute(0, 3, 1, 2)


def template_figure(weights: Float[Tensor, "n h w"], labels: Sequence[str], columns: int = 5) -> "matplotlib.axes.Axes":
    """Templates in a grid, a name above each."""
    return image_grid(two_colours(weights), columns=columns, labels=labels)


def machine_figure(
    x: Float[Tensor, "h w"], W: Float[Tensor, "k h w"], b: Float[Tensor, " k"], names: Sequence[str]
) -> "matplotlib.axes.Axes":
    """A picture, the templates that it is laid on, and the score of each class: numbers in every cell."""
    k = len(W)
    ax = diagram(9.4, 2.2 * k + 0.7, scale=0.62)
    middle = 1.1 * k
    _cells(ax, x, (0.2, middle), np.repeat(0.5 * x.numpy()[..., None], 3, 2) + 0.5, "black")
    write(ax, (1.0, 2.2 * k + 0.35), "picture x")
    write(ax, (4.7, 2.2 * k + 0.35), "templates W")
    write(ax, (8.2, 2.2 * k + 0.35), "scores")
    scores = (W * x).sum((1, 2)) + b
    for i, name in enumerate(names):
        y = 2.2 * k - 1.1 - 2.2 * i
        _cells(ax, W[i], (3.9, y), two_colours(W[i][None], limit=2.5)[0].permute(1, 2, 0).numpy(), "black")
        arrow(ax, [(1.95, middle), (3.75, y)])
        arrow(ax, [(5.65, y), (7.0, y)])
        write(ax, (6.3, y + 0.35), f"+ {b[i]:.1f}" if b[i] >= 0 else f"- {-b[i]:.1f}", size=9.5)
        write(ax, (8.2, y + 0.25), f"{scores[i]:.1f}", size=12)
        write(ax, (8.2, y - 0.35), name, size=9.5)
    return ax


def _cells(ax, values: Tensor, corner: tuple[float, float], colours: np.ndarray, ink: str) -> None:
    """A picture of 2x2 numbers whose left edge and middle height are `corner`."""
    from matplotlib.patches import Rectangle

    left, middle = corner
    for (row, column), value in np.ndenumerate(values.numpy()):
        place = (left + 0.8 * column, middle - 0.8 * row)
        ax.add_patch(Rectangle(place, 0.8, 0.8, facecolor=colours[row, column], edgecolor=INK))
        ax.text(place[0] + 0.4, place[1] + 0.4, f"{value:.1f}", ha="center", va="center", color=ink, size=9.5)


def search_figure(
    budget: int,
    random: Float[Tensor, "seeds evaluations"],
    slope: Float[Tensor, " points"],
    walk: Float[Tensor, "points 2"],
    surface,
    price: int = 3,
) -> "matplotlib.figure.Figure":
    """Above: the best loss after so many evaluations, a step of descent counting `price`. Below: the walk on the surface."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 6.4))
    low, high = random.min(0).values.numpy(), random.max(0).values.numpy()
    counts = np.arange(1, budget + 1)
    above.fill_between(counts, low, high, color=COLOURS[1], alpha=0.25, linewidth=0)
    above.plot(counts, random.mean(0).numpy(), color=COLOURS[1], label="random search, best so far")
    above.plot(price * np.arange(len(slope)), slope.numpy(), color=COLOURS[0], label="gradient descent")
    above.set(xlabel="evaluations of the loss", ylabel="softmax loss", ylim=(0, None))
    above.legend()
    reach = walk[-1, 0].item()
    contours(surface, (-0.2 * reach, 1.6 * reach), (-0.8 * reach, 0.8 * reach), below, levels=14)
    below.plot(*walk.T.numpy(), "o-", color=COLOURS[0], markersize=2.5, linewidth=1.2)
    below.plot(*walk[0].numpy(), "o", markersize=8, markerfacecolor="none", color=INK)
    below.set(xlabel="along the whole walk", ylabel="a random direction", aspect="equal")
    return figure


def wanting_figure(walks: "Mapping[str, Sequence[Walk]]") -> "matplotlib.figure.Figure":
    """Loss and length of W over the steps of gradient descent, for each loss and seed."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 5.6), sharex=True)
    for colour, (name, runs) in zip(COLOURS, walks.items()):
        for i, run in enumerate(runs):
            label = name if i == 0 else None
            steps = np.arange(1, len(run.loss) + 1)
            above.plot(steps, run.loss.numpy(), color=colour, linewidth=1.2, label=label)
            below.plot(steps, run.length.numpy(), color=colour, linewidth=1.2)
    above.set(xscale="log", ylabel="loss", yscale="symlog", ylim=(0, None))
    above.set_yscale("symlog", linthresh=1e-4)
    above.set_yticks([0, 1e-4, 1e-3, 1e-2, 1e-1, 1], ["0", "10⁻⁴", "10⁻³", "10⁻²", "0.1", "1"])
    above.legend()
    below.set(xlabel="step of gradient descent", ylabel="length of W")
    return figure


def line_figure(
    panels: "Mapping[str, tuple[Float[Tensor, 'n 2'], Int[Tensor, ' n'], Line]]",
) -> "matplotlib.figure.Figure":
    """Points of two classes, the origin as a cross, and the best line there is, a panel each."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, -(-len(panels) // 2), figsize=(NARROW, 5.6))
    for ax, (title, (points, labels, line)) in zip(axes.flat, panels.items()):
        for k, marker in ((0, "o"), (1, "^")):
            ax.plot(*points[labels == k].T.numpy(), marker, color=COLOURS[k], markersize=5)
        ax.plot(0, 0, "x", color=INK, markersize=7)
        low, high = points.min(0).values.clamp(max=0), points.max(0).values.clamp(min=0)
        margin = 0.15 * (high - low).max()
        low, high = low - margin, high + margin
        along = torch.tensor([-line.w[1], line.w[0]])
        foot = -line.b * line.w / line.w.square().sum()
        ends = torch.stack([foot - 10 * along, foot + 10 * along])
        ax.plot(*ends.T.numpy(), color=INK)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], aspect="equal")
        ax.set_title(f"{title}\n{line.accuracy:.2f}")
        ax.grid(False)
    return figure


def sigmoid_figure(
    w: Float[Tensor, " n"], curves: Mapping[str, Float[Tensor, " n"]], curved: Mapping[str, Float[Tensor, " n"]]
) -> "matplotlib.figure.Figure":
    """Two losses of one sample over its score, and below the curvature of each."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 5.4), sharex=True)
    for colour, name in zip(COLOURS, curves):
        above.plot(w, curves[name].numpy(), color=colour, label=name)
        below.plot(w, curved[name].numpy(), color=colour)
    below.axhline(0, color=INK, linewidth=1)
    above.set(ylabel="loss", ylim=(0, 8.2))
    above.legend()
    below.set(xlabel="score of a sample whose label is 1", ylabel="curvature")
    return figure


def heads_figure(drawn: "ImageSet", one: Templates, two: Templates, shown: str) -> "matplotlib.axes.Axes":
    """Four rows, a column a letter of `shown`: as written, in the mirror, the one template, the two templates side by side."""
    h, w = drawn.images.shape[2:]
    turned, rows = drawn.attributes["mirrored"], [[], [], []]
    pair = []
    for letter in shown:
        k = drawn.classes.index(letter)
        for row, kind in zip(rows, (~turned, turned)):
            row.append(drawn.images[kind & (drawn.labels == k)][0].expand(3, h, w))
        rows[2].append(two_colours(one.weight[k].view(1, h, w))[0])
        pair.append(two_colours(two.weight[k].view(-1, h, w)))
    rows += [[views[i] for views in pair] for i in range(2)]
    names = ["written", "mirrored", "one template", "two: the first", "the second"]
    return image_grid(torch.stack(sum(rows, [])), columns=len(shown), rows=names, width=4.6)


def probe_figure(sizes: Sequence[int], probed: Mapping[str, Float[Tensor, "seeds sizes"]]) -> "matplotlib.axes.Axes":
    """Accuracy of linear probes over the number of labels, a band for each kind of features."""
    ax = curves(list(sizes), probed)
    ax.set(xscale="log", xlabel="labelled digits", ylabel="test accuracy")
    ax.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    return ax
