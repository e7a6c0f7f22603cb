"""What the page on attention draws, and the matrices that it prints side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.plotting import COLOURS, INK, curves, heat_map

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

NARROW = 4.6
"""Inches: on a phone such a figure is shrunk to two thirds, and its letters are legible."""
BLUE, ORANGE, GREEN = COLOURS[:3]


def side_by_side(rows: Sequence[str], **matrices: Float[Tensor, "n _"]) -> str:
    """Matrices with the same rows as text, each under its name: whole numbers whole, others with two decimals."""
    columns = [["", *rows]]
    for name, matrix in matrices.items():
        if len(matrix) != len(rows):
            raise ValueError(f"{name} has {len(matrix)} rows: give one for each of {', '.join(rows)}")
        whole = bool((matrix == matrix.round()).all())
        cells = [[f"{x:z.0f}" if whole else f"{x:z.2f}" for x in row] for row in matrix.tolist()]
        wide = max(len(cell) for row in cells for cell in row)
        lines = [" ".join(cell.rjust(wide) for cell in row) for row in cells]
        wide = max(len(name), len(lines[0]))
        columns.append([name.ljust(wide), *(line.rjust(wide) for line in lines)])
    first, *others = columns
    width = max(map(len, first))
    lines = ["  ".join([label.ljust(width), *cells]) for label, *cells in zip(first, *others)]
    return "\n".join(line.rstrip() for line in lines)


def dictionary(
    keys: Float[Tensor, "n 2"],
    values: Float[Tensor, "n"],
    direction: Float[Tensor, "2"],
    lengths: Sequence[float],
) -> "matplotlib.figure.Figure":
    """Keys in the plane with a query of this direction, and the weights that queries of several lengths give them."""
    from matplotlib import pyplot

    figure, (plane, bars) = pyplot.subplots(1, 2, figsize=(5.4, 2.9))
    for (x, y), value in zip(keys.tolist(), values.tolist(), strict=True):
        plane.plot(x, y, "o", color=BLUE, markersize=8)
        plane.text(1.32 * x, 1.32 * y, f"{value:.0f}", ha="center", va="center")
    arrow = dict(arrowstyle="->", color=ORANGE, lw=2.5)
    plane.annotate("", direction.tolist(), (0, 0), arrowprops=arrow)
    plane.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", title="keys and a query")
    plane.axis("off")
    for i, length in enumerate(lengths):
        weights = (keys @ (length * direction)).softmax(0)
        bars.bar(torch.arange(len(values)) + 0.27 * (i - 1), weights, 0.25, label=f"length {length}", color=COLOURS[i])
    bars.set_xticks(range(len(values)), [f"{value:.0f}" for value in values])
    bars.set(xlabel="value", title="weight of each value", ylim=(0, 1.05))
    bars.legend()
    return figure


def alignment(
    weights: Float[Tensor, "t s"], written: Sequence[str], read: Sequence[str]
) -> "matplotlib.figure.Figure":
    """Where each token that is written attends in what was read."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.9))
    heat_map(weights, ax=ax, values=False, limits=(0, 1), rows=written, columns=read)
    ax.set(xlabel="letter read", ylabel="letter written")
    return figure


def shared_weights(
    rows: Sequence[str], maps: Mapping[str, Float[Tensor, "t t"]]
) -> "matplotlib.figure.Figure":
    """Four matrices of weights of the same tokens, two in a row, with their numbers."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(NARROW, 4.6), sharex=True, sharey=True)
    for ax, (name, weights) in zip(axes.flat, maps.items(), strict=True):
        heat_map(weights, ax=ax, values=True, limits=(0, 1), rows=rows, columns=rows)
        ax.set_title(name)
    return figure


def statistics_by_width(
    widths: Sequence[int],
    plain: Float[Tensor, "draws widths 3"],
    divided: Float[Tensor, "draws widths 3"],
    highest_entropy: float,
) -> "matplotlib.figure.Figure":
    """Variance, entropy and gradient of `softmax_statistics` against the width, for plain and for divided scores."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(NARROW, 5.6), sharex=True)
    for i, (ax, name) in enumerate(zip(axes, ("variance of scores", "entropy (nats)", "gradient"))):
        curves(widths, {"q · k": plain[:, :, i], "q · k / √d": divided[:, :, i]}, ax=ax)
        ax.set(ylabel=name, ylim=(0, None))
        if i:
            ax.get_legend().remove()
    axes[0].set(yscale="log", ylim=(0.5, 2000))
    axes[0].get_legend().set_title(f"mean and range of {len(plain)} draws")
    axes[1].set_ylim(0, 1.06 * highest_entropy)
    axes[1].axhline(highest_entropy, color=INK, ls=":")
    axes[2].set(xscale="log", xlabel="width d")
    axes[2].set_xticks(widths, widths)
    axes[2].minorticks_off()
    return figure


def masks(named: Mapping[str, Bool[Tensor, "t s"]]) -> "matplotlib.figure.Figure":
    """Masks in a row, blue where a query may attend to a key."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(named), figsize=(5.4, 2.2))
    for ax, (name, mask) in zip(axes, named.items()):
        ax.imshow(mask, cmap="Blues", vmin=-0.3, vmax=1.5)
        ax.set(title=name, xticks=[], yticks=[], xlabel="key")
        ax.grid(False)
    axes[0].set_ylabel("query")
    return figure


def clock(encoding: Float[Tensor, "t d"], centres: Sequence[int]) -> "matplotlib.figure.Figure":
    """Encodings of positions as stripes, and the products of all with those of some positions."""
    from matplotlib import pyplot

    figure, (stripes, products) = pyplot.subplots(2, 1, figsize=(5.4, 4.4))
    stripes.imshow(encoding.T, aspect="auto", cmap="RdBu_r")
    stripes.set(xlabel="position", ylabel="feature")
    stripes.grid(False)
    for centre, colour in zip(centres, COLOURS):
        product = encoding @ encoding[centre]
        products.plot(product, color=colour)
        products.text(centre, product.max() + 0.6, f"with {centre}", color=colour, ha="center")
    products.set(xlabel="position", ylabel="product", ylim=(2, 19))
    return figure


def heads(
    weights: Float[Tensor, "heads t s"], written: Sequence[str], read: Sequence[str]
) -> "matplotlib.figure.Figure":
    """Where each token that is written attends in what was read, a panel for each head."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(weights), 1, figsize=(NARROW, 0.6 + 3.0 * len(weights)), sharex=True, squeeze=False)
    for i, (ax, head) in enumerate(zip(axes[:, 0], weights), 1):
        heat_map(head, ax=ax, values=False, limits=(0, 1), rows=written, columns=read)
        ax.set(title=f"head {i}", ylabel="written")
    return figure


def memory(
    lengths: Sequence[int], kept: Mapping[str, Float[Tensor, "n"] | Int[Tensor, "n"]]
) -> "matplotlib.figure.Figure":
    """Bytes against numbers of tokens, in megabytes, on logarithmic axes."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.2))
    curves(lengths, {name: count / 2**20 for name, count in kept.items()}, ax=ax)
    ax.set(xscale="log", yscale="log", xlabel="tokens", ylabel="megabytes kept")
    ax.set_xticks(lengths, lengths)
    ax.minorticks_off()
    return figure


def transformer(
    source: Sequence[str], read: Sequence[str], written: Sequence[str]
) -> "matplotlib.figure.Figure":
    """The pre-norm encoder and decoder with their residual streams, and where cross-attention attends.

    `source` are the tokens that the encoder reads, `read` and `written` those below and above the decoder.
    """
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(5.0, 6.2))
    ax.set(xlim=(0.2, 10), ylim=(0.2, 12.7))
    ax.axis("off")
    encoder, decoder = 4.1, 9.5  # where the streams run
    for x, top, colour, tokens in ((encoder, 8.6, BLUE, source), (decoder, 11.2, GREEN, read)):
        words(ax, x - 2.1, 0.5, " ".join(tokens), INK)
        words(ax, x - 2.1, 1.4, "embedding + position", colour)
        arrow(ax, [(x, 1.4), (x, top)], colour, width=3.5)
    sublayer(ax, encoder, 3.6, "self-\nattention", BLUE)
    sublayer(ax, encoder, 6.3, "feed-\nforward", BLUE)
    sublayer(ax, decoder, 3.6, "causal self-\nattention", GREEN)
    sublayer(ax, decoder, 6.3, "cross-\nattention", ORANGE)
    sublayer(ax, decoder, 9.0, "feed-\nforward", GREEN)
    frame(ax, encoder, 2.3, 7.7, "encoder layer, N times")
    frame(ax, decoder, 2.3, 10.4, "decoder layer, N times")

    arrow(ax, [(encoder + 0.12, 8.3), (5.15, 8.3), (5.15, 6.3), (6.1, 6.3)], ORANGE)
    words(ax, encoder - 1.9, 9.2, "norm, then the memory:\nits keys and values", ORANGE)
    words(ax, decoder - 2.1, 11.6, "norm, linear, softmax", GREEN)
    words(ax, decoder - 2.1, 12.4, " ".join(written), INK)
    return figure


def sublayer(ax: "matplotlib.axes.Axes", stream: float, y: float, text: str, colour: str) -> None:
    """A box at the left of a residual stream, which reads from it through a norm and adds to it."""
    from matplotlib.patches import FancyBboxPatch

    middle = stream - 2.1
    box = FancyBboxPatch((middle - 1.25, y - 0.55), 2.5, 1.1, boxstyle="round,pad=0.08", fc="none", ec=colour, lw=1.6)
    ax.add_patch(box)
    words(ax, middle, y, text, colour)
    arrow(ax, [(stream, y - 1.0), (middle, y - 1.0), (middle, y - 0.63)], colour)
    arrow(ax, [(middle, y + 0.63), (middle, y + 1.0), (stream - 0.22, y + 1.0)], colour)
    ax.text(stream - 1.0, y - 0.97, "norm", ha="center", va="bottom", size=9, color=INK)
    ax.plot([stream], [y + 1.0], "o", color=colour, markersize=13, zorder=3)
    ax.plot([stream], [y + 1.0], "+", color="white", markersize=8, markeredgewidth=1.8, zorder=4)


def frame(ax: "matplotlib.axes.Axes", stream: float, low: float, high: float, name: str) -> None:
    """A dotted frame around what one layer does, which is repeated."""
    from matplotlib.patches import FancyBboxPatch

    left = stream - 3.75
    box = FancyBboxPatch((left, low), 4.15, high - low, boxstyle="round,pad=0.1", fc="none", ec=INK, ls=":", lw=1.2)
    ax.add_patch(box)
    ax.text(left + 0.05, high - 0.1, name, ha="left", va="top", size=9, color=INK)


def arrow(
    ax: "matplotlib.axes.Axes", points: Sequence[tuple[float, float]], colour: str, *, width: float = 1.6
) -> None:
    """A line through points, with a head at its end."""
    *_, before, end = points
    ax.plot(*zip(*points[:-1]), "-", color=colour, lw=width, solid_capstyle="butt")
    style = dict(arrowstyle="-|>", color=colour, lw=width, shrinkA=0, shrinkB=0, mutation_scale=11)
    ax.annotate("", end, before, arrowprops=style)


def words(ax: "matplotlib.axes.Axes", x: float, y: float, text: str, colour: str, size: float = 10.5) -> None:
    """Centred text."""
    ax.text(x, y, text, ha="center", va="center", size=size, color=colour, linespacing=1.1)
