"""What the page on segmentation draws: labellings, networks with their sizes, stamps and fields, seeds as dots."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.localization.segmentation.road import paint_green
from helpers.plotting import COLOURS, INK, dots, image_grid
from helpers.plotting.diagrams import arrow, box, diagram, write
from helpers.plotting.style import WIDTH

if TYPE_CHECKING:
    import matplotlib.figure

PALETTE = ("#e4e4de", *COLOURS)  # of the background and the classes


def painted(labels: Int[Tensor, "n h w"]) -> Float[Tensor, "n 3 h w"]:
    """Classes as colours: the background pale, then those of the book."""
    from matplotlib.colors import to_rgb

    table = torch.tensor([to_rgb(colour) for colour in PALETTE])
    return table[labels].movedim(3, 1)


def labelled(
    images: Float[Tensor, "n 3 h w"],
    answers: Mapping[str, Int[Tensor, "n h w"]],
) -> "matplotlib.figure.Figure":
    """A row for each picture: the picture, then what several networks say of its pixels."""
    columns = torch.stack([images, *(painted(labels) for labels in answers.values())], 1)
    n, across = columns.shape[:2]
    labels = ["picture", *answers] + [""] * (n - 1) * across
    ax = image_grid(columns.flatten(0, 1), labels, columns=across, width=WIDTH)
    return ax.figure


def stamps(kernel: int, stride: int, inputs: int, ax) -> None:
    """The stamps of a transposed convolution along a line, each a row, and below how many land on each pixel."""
    length = (inputs - 1) * stride + kernel
    counts = np.zeros(length, int)
    for i in range(inputs):
        first = i * stride
        counts[first : first + kernel] += 1
        ax.barh(inputs - i, kernel, left=first, height=0.7, color=COLOURS[i % 2], alpha=0.75)
        ax.text(first + kernel / 2, inputs - i, f"{i + 1}", ha="center", va="center", size=9, color="white")
    for pixel, count in enumerate(counts.tolist()):
        ax.bar(pixel + 0.5, count, 0.92, bottom=-4.2, color=INK, alpha=0.28 * count)
        ax.text(pixel + 0.5, -4.2 + count / 2, f"{count}", ha="center", va="center", size=10)
    ax.set(xlim=(-0.2, length + 0.2), ylim=(-4.4, inputs + 0.6), xticks=range(0, length + 1, stride), yticks=[])
    ax.set_title(f"kernel {kernel}, stride {stride}", loc="left")
    ax.spines["left"].set_visible(False)


def coverage(cases: Sequence[tuple[int, int]], inputs: int = 5) -> "matplotlib.figure.Figure":
    """For each kernel and stride the stamps and their counts."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(cases), figsize=(WIDTH, 2.3 * len(cases)))
    for ax, (kernel, stride) in zip(axes, cases, strict=True):
        stamps(kernel, stride, inputs, ax)
    axes[-1].set_xlabel("pixel of the output")
    return figure


def enlarged(maps: Mapping[str, Float[Tensor, "h w"]]) -> "matplotlib.figure.Figure":
    """Small maps side by side, with their numbers."""
    from matplotlib import pyplot

    n = len(maps)
    columns = min(2, n)
    figure, axes = pyplot.subplots(-(-n // columns), columns, figsize=(WIDTH, 3.0 * -(-n // columns)), squeeze=False)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    for ax, (name, values) in zip(axes.flat, maps.items(), strict=False):
        array = values.numpy()
        ax.imshow(array, cmap="viridis", vmin=0, vmax=9)
        for (i, j), value in np.ndenumerate(array):
            ink = "black" if value > 5.5 else "white"
            ax.text(j, i, f"{value:.3g}", ha="center", va="center", color=ink, size=10)
        ax.set(title=name, xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return figure


def artefacts(
    rows: Mapping[str, Float[Tensor, "n 3 h w"]], names: Sequence[str]
) -> "matplotlib.figure.Figure":
    """A row for each way to enlarge, a column for each moment of the training."""
    shown = torch.cat(list(rows.values())).clamp(0, 1)
    labels = list(names) + [""] * (len(shown) - len(names))
    ax = image_grid(shown, labels, columns=len(names), rows=list(rows), width=3.6)
    return ax.figure


def unet_drawing(widths: Sequence[int], sizes: Sequence[int], image: int, classes: int) -> "matplotlib.figure.Figure":
    """The U with its sizes: a bar for each map, as tall as the map's side, the side below, the channels above."""
    depth = len(widths)
    ax = diagram(12.8, 9.4, scale=0.5)
    tall = 1.9 / sizes[0]
    top, drop = 7.7, 1.8
    across = 0.55

    def bar(x: float, level: int, side: int, channels: int, colour: str) -> None:
        from matplotlib.patches import Rectangle

        y, high = top - drop * level, max(tall * side, 0.16)
        ax.add_patch(Rectangle((x - 0.16, y - high / 2), 0.32, high, fc=colour, ec="none", alpha=0.85))
        write(ax, (x, y + high / 2 + 0.22), f"{channels}", size=9)
        write(ax, (x, y - high / 2 - 0.22), f"{side}²", size=9)

    down = [0.6 + 1.1 * i for i in range(depth)]
    up = [12.2 - 1.1 * i for i in range(depth - 1)]
    for i in range(depth):
        bar(down[i] + across * (i == depth - 1), i, sizes[i], widths[i], COLOURS[0])
    for i in range(depth - 1):
        side = sizes[2 * depth - 2 - i]
        bar(up[i] - across, i, side, widths[i], COLOURS[2])
        y = top - drop * i
        arrow(ax, [(down[i] + 0.35, y), (up[i] - across - 0.35, y)], colour=COLOURS[1], style="--")
        middle = (down[i] + up[i] - across) / 2
        copied = 2 * sizes[2 * depth - 3 - i] if i < depth - 2 else 2 * sizes[depth - 1]
        write(ax, (middle, y + 0.24), f"copy the middle {copied}²", colour=COLOURS[1], size=9)
        x = down[i + 1] + across * (i == depth - 2)
        arrow(ax, [(down[i], y - tall * sizes[i] / 2 - 0.45), (down[i], y - drop), (x - 0.3, y - drop)], colour=COLOURS[4])
        x = up[i + 1] - across if i < depth - 2 else down[-1] + across
        arrow(ax, [(x + 0.3, y - drop), (up[i] - across, y - drop), (up[i] - across, y - tall * side / 2 - 0.45)],
              colour=COLOURS[3])  # fmt: skip
    write(ax, (down[0] - 0.45, top + 1.5), f"picture {image}²", size=9.5, align="left")
    write(ax, (up[0] - across, top + 1.2), f"1×1: {classes} classes", size=9.5)
    write(ax, (0.3, 0.6), "max pool 2×2", colour=COLOURS[4], align="left", size=9.5)
    write(ax, (9.2, 0.6), "transposed 2×2", colour=COLOURS[3], align="left", size=9.5)
    return ax.figure


def fcn_drawing() -> "matplotlib.figure.Figure":
    """Scores of three maps, enlarged and added: FCN-32s, 16s and 8s."""
    ax = diagram(12.4, 6.6, scale=0.5)
    x = [1.4, 4.5, 7.6, 10.8]
    for place, (text, colour) in zip(
        x, [("pool 3\n1/8", INK), ("pool 4\n1/16", INK), ("pool 5\n1/32", INK), ("layers 6, 7\n1/32", INK)], strict=True
    ):
        box(ax, (place, 5.6), text, width=2.1, height=1.2, colour=colour)
    for a, b in zip(x, x[1:], strict=False):
        arrow(ax, [(a + 1.05, 5.6), (b - 1.05, 5.6)])
    for place in (x[0], x[1], x[3]):
        arrow(ax, [(place, 5.0), (place, 3.9)], colour=COLOURS[0])
        write(ax, (place + 0.15, 4.45), "1×1", colour=COLOURS[0], align="left", size=9.5)
        box(ax, (place, 3.4), "scores", width=1.7, height=0.8, colour=COLOURS[0])
    box(ax, (x[1], 1.9), "+", width=0.7, height=0.7, colour=COLOURS[2])
    box(ax, (x[0], 1.9), "+", width=0.7, height=0.7, colour=COLOURS[2])
    arrow(ax, [(x[3], 3.0), (x[3], 1.9), (x[1] + 0.4, 1.9)], colour=COLOURS[1])
    write(ax, (7.6, 2.2), "×2", colour=COLOURS[1])
    arrow(ax, [(x[1], 3.0), (x[1], 2.3)], colour=COLOURS[2])
    arrow(ax, [(x[0], 3.0), (x[0], 2.3)], colour=COLOURS[2])
    arrow(ax, [(x[1] - 0.4, 1.9), (x[0] + 0.4, 1.9)], colour=COLOURS[1])
    write(ax, (2.95, 2.2), "×2", colour=COLOURS[1])
    for place, name, factor in ((x[0], "FCN-8s", "×8"), (x[1], "FCN-16s", "×16"), (x[3], "FCN-32s", "×32")):
        arrow(ax, [(place, 1.5 if place != x[3] else 1.9), (place, 0.85)], colour=COLOURS[1])
        write(ax, (place + 0.15, 1.2), factor, colour=COLOURS[1], align="left", size=9.5)
        write(ax, (place, 0.5), name)
    return ax.figure


def fields(rates: Sequence[int], side: int) -> "matplotlib.figure.Figure":
    """Which cells each branch of a pyramid reads for the cell in the middle."""
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    figure, axes = pyplot.subplots(1, len(rates), figsize=(WIDTH, WIDTH / len(rates) + 0.35))
    middle = side // 2
    for ax, rate, colour in zip(axes, rates, COLOURS, strict=False):
        steps = (-rate, 0, rate) if rate else (0,)
        for i in range(side + 1):
            ax.plot([0, side], [i, i], color=INK, lw=0.3, alpha=0.5)
            ax.plot([i, i], [0, side], color=INK, lw=0.3, alpha=0.5)
        for dy in steps:
            for dx in steps:
                ax.add_patch(Rectangle((middle + dx, middle + dy), 1, 1, color=colour))
        ax.set_title(f"rate {rate}" if rate else "1×1", size=11)
        ax.set_xlabel(f"{2 * rate + 1} × {2 * rate + 1}")
        ax.set(xlim=(0, side), ylim=(side, 0), aspect="equal", xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return figure


def pairs(
    scores: Mapping[str, Mapping[str, Sequence[float]]], measures: Sequence[str]
) -> "matplotlib.figure.Figure":
    """A panel for each measure, a row of dots for each network, one dot a seed."""
    from matplotlib import pyplot

    rows = len(scores)
    figure, axes = pyplot.subplots(len(measures), figsize=(WIDTH, (0.6 + 0.27 * rows) * len(measures)), sharex=True)
    for ax, measure in zip(np.atleast_1d(axes), measures, strict=True):
        dots({name: of[measure] for name, of in scores.items()}, ax=ax)
        ax.set_title(measure, loc="left")
    ax.set_xlim(0)
    return figure


def roads(
    images: Float[Tensor, "n 3 h w"],
    rows: Mapping[str, Bool[Tensor, "n h w"]],
) -> "matplotlib.figure.Figure":
    """Pictures of roads, painted green where each row says road."""
    shown = torch.cat([paint_green(images, road) for road in rows.values()])
    ax = image_grid(shown, columns=len(images), rows=list(rows), width=WIDTH - 2.2)
    return ax.figure


def edges(
    picture: Float[Tensor, "3 h w"], maps: Mapping[str, Float[Tensor, "h w"]]
) -> "matplotlib.figure.Figure":
    """A picture and some maps over it, each stretched to its own range."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 1 + len(maps), figsize=(WIDTH, WIDTH / (1 + len(maps)) + 0.3))
    axes[0].imshow(picture.movedim(0, -1).numpy())
    axes[0].set_title("picture")
    for ax, (name, values) in zip(axes[1:], maps.items(), strict=True):
        ax.imshow(values.numpy(), cmap="viridis")
        ax.set_title(name)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return figure
