"""What the page on architectures draws: nets in a map, blocks as boxes and arrows, runs, cuts and prices."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from helpers.convnets.architectures.catalogue import Entry
from helpers.convnets.architectures.experiments import Price
from helpers.plotting import COLOURS, INK, curves
from helpers.plotting.canvas import Number

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

WIDE = 6.4
"""Inches: the width of the page's column."""


def published(
    entries: Mapping[str, Entry], label_places: Mapping[str, tuple[Number, Number]]
) -> "matplotlib.figure.Figure":
    """Published top-5 errors against multiply-adds; area is parameters, colour the year, label places are in points."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(WIDE, 4.2))
    years = [entry.year for entry in entries.values()]
    tint = pyplot.get_cmap("viridis")
    for name, entry in entries.items():
        x, y = entry.multiply_adds, entry.top5.percent
        colour = tint((entry.year - min(years)) / (max(years) - min(years)))
        ax.scatter(x, y, entry.parameters / 3e5, color=colour, alpha=0.55, edgecolors=INK, linewidths=0.5)
        ax.annotate(name, (x, y), size=8, xytext=label_places[name], textcoords="offset points")
    ax.set(
        xscale="log",
        xlabel="multiply-adds of one image",
        ylabel="published top-5 error, %",
        xlim=(5e8, 8e10),
        ylim=(0, 22),
    )
    return figure


def folded_power(shares: Mapping[str, Float[Tensor, " filters"]]) -> "matplotlib.figure.Figure":
    """The share of power that each filter of each first layer folds over, sorted."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(WIDE, 2.6))
    for name, values in shares.items():
        ax.plot(values.sort().values.cpu(), "o-", label=name, markersize=4)
    ax.set(xlabel="filter, sorted", ylabel="share of power folded", ylim=(0, 1))
    ax.legend()
    return figure


def losses_by_depth(
    panels: Mapping[str, Mapping[str, Float[Tensor, "seeds t"]]], *, window: int = 11
) -> "matplotlib.figure.Figure":
    """Training losses of nets of several depths, a panel for each kind of net, smoothed over `window` steps."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(WIDE, 3), sharey=True)
    for ax, (title, runs) in zip(axes, panels.items()):
        smooth = {name: F.avg_pool1d(losses, window, 1) for name, losses in runs.items()}
        steps = max(losses.shape[1] for losses in runs.values())
        curves(range(window // 2, steps - window // 2), smooth, ax=ax)  # a mean stands in the middle of its window
        ax.set(title=title, xlabel="step")
        ax.get_legend().set_visible(ax is axes[0])
    axes[0].set_ylabel("training loss")
    legend = axes[0].get_legend()
    legend.set_loc("lower left")
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_size(8)
    return figure


def cut_blocks(
    one: Mapping[str, Sequence[Sequence[float]]],
    whole: Mapping[str, Sequence[float]],
    several: Mapping[int, Sequence[float]],
) -> "matplotlib.figure.Figure":
    """Left the test errors with one block cut, by kind of net, seed and block; right those with several, by number."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(WIDE, 3), sharey=True)
    for colour, (kind, runs) in zip(COLOURS, one.items()):
        for errors in runs:
            places = np.linspace(0, 1, len(errors))
            left.plot(places, errors, "o", color=colour, markersize=4, alpha=0.7)
        left.axhline(np.mean(whole[kind]), color=colour, ls="--", label=kind)
    left.set(
        xlabel="position of the cut block",
        ylabel="test error",
        xticks=[0, 1],
        xticklabels=["first", "last"],
        ylim=(0, 1.02),
    )
    left.legend(loc="center right")
    for number, errors in several.items():
        right.plot([number] * len(errors), errors, "o", color=COLOURS[1], markersize=4, alpha=0.7)
    right.plot(list(several), [np.mean(errors) for errors in several.values()], color=COLOURS[1])
    right.set(xlabel="blocks cut at once")
    return figure


def proxy_against_target(
    proxies: Mapping[str, Sequence[float]], target: Sequence[float]
) -> "matplotlib.figure.Figure":
    """The accuracy of cells on a proxy, in one colour for each of its seeds, against that of deeper nets of them."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(4.2, 3))
    for name, accuracies in proxies.items():
        ax.plot(accuracies, target, "o", label=name)
    ax.legend()
    ax.set(xlabel="accuracy on the proxy", ylabel="stacked deeper")
    return figure


def ranked_prices(prices: Mapping[str, Price], marked: Sequence[str]) -> "matplotlib.figure.Figure":
    """Nets ranked by parameters, by multiply-adds and by milliseconds, the `marked` ones in orange."""
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = pyplot.subplots(1, 3, figsize=(WIDE, 3.6))
    titles = "thousand parameters", "million multiply-adds", "ms an image"
    for i, (ax, title) in enumerate(zip(axes, titles)):
        ranked = sorted(prices, key=lambda name: prices[name][i], reverse=True)
        values = [prices[name][i] for name in ranked]
        ax.scatter(values, ranked, color=[COLOURS[name in marked] for name in ranked], s=16)
        powers = 10.0 ** np.floor(np.log10(min(values))), 10.0 ** np.ceil(np.log10(max(values)))
        ax.set(xscale="log", xlim=powers)
        ax.set_title(title, size=10)
        ax.xaxis.set_major_locator(LogLocator(10, numticks=4))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(axis="y", labelsize=6.5)
        ax.grid(False)
    return figure


def one_by_ones() -> "matplotlib.figure.Figure":
    """The three places of a 1x1 convolution: behind a filter, beside larger ones, and before them."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(WIDE, 2.6), width_ratios=[1, 3, 3])
    chain = {"in": (0, 0, ""), "a": (0, 1, "5x5"), "b": (0, 2, "1x1"), "c": (0, 3, "1x1")}
    draw_block(axes[0], chain, [("in", "a"), ("a", "b"), ("b", "c")], "mlpconv")
    naive = {
        "in": (1.5, 0, ""),
        "1": (0, 1.5, "1x1"),
        "3": (1, 1.5, "3x3"),
        "5": (2, 1.5, "5x5"),
        "pool": (3, 1.5, "pool"),
        "out": (1.5, 3, "concat"),
    }
    arrows = [arrow for part in ("1", "3", "5", "pool") for arrow in (("in", part), (part, "out"))]
    draw_block(axes[1], naive, arrows, "inception, naive")
    reduced = {
        "in": (1.5, 0, ""),
        "1": (-0.5, 1, "1x1"),
        "before 3": (1, 1, "1x1"),
        "before 5": (2, 1, "1x1"),
        "pool": (3, 1, "pool"),
        "3": (1, 2, "3x3"),
        "5": (2, 2, "5x5"),
        "behind pool": (3, 2, "1x1"),
        "out": (1.5, 3, "concat"),
    }
    arrows = [("in", part) for part in ("1", "before 3", "before 5", "pool")]
    arrows += [("before 3", "3"), ("before 5", "5"), ("pool", "behind pool")]
    arrows += [(part, "out") for part in ("1", "3", "5", "behind pool")]
    draw_block(axes[2], reduced, arrows, "inception, reduced")
    return figure


def four_blocks() -> "matplotlib.figure.Figure":
    """A plain, a highway, a residual and a pre-activation block; T and 1 - T weigh what a highway adds."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(WIDE, 3))
    body = {"in": (0, 0, ""), "a": (0, 1, "3x3, norm, relu"), "b": (0, 2, "3x3, norm")}
    chain = [("in", "a"), ("a", "b")]
    draw_block(axes[0], body | {"relu": (0, 3.8, "relu")}, [*chain, ("b", "relu")], "plain")
    gate = {
        "in": (0, 0, ""),
        "H": (-0.55, 1.2, "H(x)"),
        "T": (0.55, 1.2, "T(x)"),
        "times": (-0.55, 2.5, "·"),
        "kept": (0.75, 2.5, "(1 − T) x"),
        "+": (0, 3.8, "+"),
    }
    arrows = [("in", "H"), ("in", "T"), ("H", "times"), ("T", "times"), ("T", "kept"), ("times", "+"), ("kept", "+")]
    arrows += [("in", "kept", 0.6)]
    draw_block(axes[1], gate, arrows, "highway")
    arrows = [*chain, ("b", "+"), ("in", "+", -0.75), ("+", "relu")]
    draw_block(axes[2], body | {"+": (0, 3, "+"), "relu": (0, 3.8, "relu")}, arrows, "residual")
    before = {"in": (0, 0, ""), "a": (0, 1, "norm, relu, 3x3"), "b": (0, 2, "norm, relu, 3x3"), "+": (0, 3.4, "+")}
    draw_block(axes[3], before, [*chain, ("b", "+"), ("in", "+", -0.75)], "pre-activation")
    return figure


def three_wirings() -> "matplotlib.figure.Figure":
    """Parallel narrow paths (ResNeXt), nested columns without a shortcut (fractal), all layers before joined (dense)."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(WIDE, 3))
    paths, arrows = {"in": (1, 0, ""), "+": (1, 4, "+")}, [("in", "+", -1.0)]
    for i in range(3):
        paths |= {f"{row} {i}": (i, row, text) for row, text in ((1, "1x1"), (2, "3x3"), (3, "1x1"))}
        arrows += [("in", f"1 {i}"), (f"1 {i}", f"2 {i}"), (f"2 {i}", f"3 {i}"), (f"3 {i}", "+")]
    draw_block(axes[0], paths, arrows, "ResNeXt").set_xlim(-1.7, 2.8)
    fractal = {
        "in": (0.8, 0, ""),
        "short": (0, 2, "conv"),
        "a": (0.9, 1, "conv"),
        "b": (1.8, 0.7, "conv"),
        "c": (1.8, 1.4, "conv"),
        "middle": (1.3, 2.1, "mean"),
        "d": (0.9, 3, "conv"),
        "e": (1.8, 2.8, "conv"),
        "f": (1.8, 3.4, "conv"),
        "out": (0.8, 4, "mean"),
    }
    arrows = [("in", "short"), ("short", "out"), ("in", "a"), ("in", "b"), ("b", "c"), ("a", "middle")]
    arrows += [("c", "middle"), ("middle", "d"), ("middle", "e"), ("e", "f"), ("d", "out"), ("f", "out")]
    draw_block(axes[1], fractal, arrows, "fractal")
    names = ["", "layer 1", "layer 2", "layer 3"]
    dense = {str(i): (0, 1.3 * i, name) for i, name in enumerate(names)}
    arrows = []
    for a, b in combinations(range(len(names)), 2):
        bend = () if b == a + 1 else (0.6 if a else -0.6,)
        arrows.append((str(a), str(b), *bend))
    draw_block(axes[2], dense, arrows, "dense")
    return figure


def draw_block(
    ax: "matplotlib.axes.Axes",
    parts: Mapping[str, tuple],
    arrows: Sequence[tuple],
    title: str = "",
) -> "matplotlib.axes.Axes":
    """Draw a block as boxes and arrows, data flowing upwards.

    `parts` maps a name to x, y and the text in the box; a text of one
    character is drawn as a circle, an empty one as a dot. An arrow is a
    pair of names, with a third number for how far it bends.
    """
    xs, ys = zip(*((x, y) for x, y, _ in parts.values()))
    ax.set(xlim=(min(xs) - 0.8, max(xs) + 0.8), ylim=(min(ys) - 0.4, max(ys) + 0.4))
    ax.set_axis_off()
    ax.set_title(title)
    for tail, head, *bend in arrows:
        for name in (tail, head):
            if name not in parts:
                raise ValueError(f"arrow ({tail!r}, {head!r}): {name!r} is no part: {', '.join(parts)}")
        ax.annotate(
            "",
            xy=parts[head][:2],
            xytext=parts[tail][:2],
            arrowprops=dict(
                arrowstyle="-|>",
                color=COLOURS[1] if bend else INK,
                lw=1.4 if bend else 1.0,
                shrinkA=9,
                shrinkB=9,
                connectionstyle=f"arc3,rad={bend[0] if bend else 0}",
            ),
        )
    for x, y, text in parts.values():
        if not text:
            ax.plot([x], [y], "o", color=INK, markersize=4)
            continue
        shape = "circle,pad=0.2" if len(text) == 1 else "round,pad=0.25"
        edge = COLOURS[1] if len(text) == 1 else COLOURS[0]
        ax.text(x, y, text, ha="center", va="center", color=INK, size=8.5, bbox=dict(boxstyle=shape, fc="none", ec=edge))
    return ax
