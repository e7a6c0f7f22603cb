"""What the page draws: a graph from its tape, errors of differences, Jacobians, slopes by layer, bytes by segments."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from helpers.foundations.backpropagation.tape import Node, Tape
from helpers.plotting import COLOURS, INK
from helpers.plotting.diagrams import arrow, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

SIGNS = {"*": "×", "-": "\N{MINUS SIGN}", "^2": "( )²"}  # as formulas have them
NARROW = 5.2  # inches: panels one above the other, large enough for a phone


def places(tape: Tape) -> dict[Node, tuple[float, float]]:
    """A column and a row for each node of a tape: operations stand right of their inputs, at the mean of their rows.

    Nodes that nothing has made stand one below the other, each in the column before its first use.
    """
    depth: dict[Node, int] = {}
    for entry in tape.entries:
        depth[entry.output] = 1 + max(depth.get(node, 0) for node in entry.inputs)
    rows: dict[Node, float] = {}
    leaves = list(dict.fromkeys(node for entry in tape.entries for node in entry.inputs if node not in depth))
    for i, leaf in enumerate(leaves):
        uses = [depth[entry.output] for entry in tape.entries if leaf in entry.inputs]
        rows[leaf], depth[leaf] = float(i), min(uses) - 1
    for entry in tape.entries:
        rows[entry.output] = float(np.mean([rows[node] for node in dict.fromkeys(entry.inputs)]))
    taken: set[tuple[int, float]] = set()
    for node in depth:
        while (depth[node], rows[node]) in taken:
            rows[node] += 0.5
        taken.add((depth[node], rows[node]))
    return {node: (float(depth[node]), rows[node]) for node in depth}


def graph_figure(tape: Tape, *, gradients: bool = True, width: float | int = NARROW) -> "matplotlib.axes.Axes":
    """The graph of a tape from top to bottom: circles are operations; beside each node its value and the loss's gradient."""
    from matplotlib.patches import Circle

    where = places(tape)
    levels, columns = (max(place[i] for place in where.values()) for i in (0, 1))
    size = ((columns + 1) * 1.55 + 0.2, (levels + 1) * 1.15)
    ax = diagram(*size, scale=width / size[0])

    def at(node: Node) -> tuple[float, float]:
        level, column = where[node]
        return 0.5 + column * 1.55, size[1] - (level + 0.5) * 1.15

    signs = {entry.output: entry.sign for entry in tape.entries}
    for entry in tape.entries:
        for node in entry.inputs:
            way = np.subtract(at(entry.output), at(node))
            way = 0.32 * way / np.linalg.norm(way)
            arrow(ax, [tuple(np.add(at(node), way)), tuple(np.subtract(at(entry.output), way))], width=1.1)
    for node in where:
        x, y = at(node)
        if node in signs:
            ax.add_patch(Circle((x, y), 0.29, fill=False, edgecolor=INK, linewidth=1.4))
        sign = SIGNS.get(signs.get(node), signs.get(node))
        write(ax, (x, y), sign or node.name or _number(node.value), size=11)
        if node in signs or node.name:
            write(ax, (x + 0.44, y + 0.19), _number(node.value), size=10, colour=COLOURS[0], align="left")
            if gradients and node.grad is not None:
                write(ax, (x + 0.44, y - 0.19), _number(node.grad), size=10, colour=COLOURS[1], align="left")
    return ax


def _number(value: np.ndarray) -> str:
    text = f"{float(value):.2f}"
    return ("0.00" if text == "-0.00" else text).replace("-", "\N{MINUS SIGN}")


def difference_figure(
    steps: Sequence[float], errors: Mapping[str, Float[np.ndarray, " steps"]]
) -> "matplotlib.axes.Axes":
    """The error of numerical gradients over the step h."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.8))
    for colour, (name, values) in zip(COLOURS, errors.items()):
        ax.plot(steps, values, "o-", color=colour, markersize=3.5, label=name)
    ax.set(xscale="log", yscale="log", xlabel="step h", ylabel="relative error")
    ax.legend()
    return ax


def loss_figure(curves: Mapping[str, Sequence[float]]) -> "matplotlib.axes.Axes":
    """Losses over steps; the second curve is dashed, to be seen on the first."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.2))
    for style, width, colour, (name, values) in zip(("-", "--"), (3.5, 1.5), (COLOURS[0], INK), curves.items()):
        ax.plot(values, style, color=colour, linewidth=width, label=name, alpha=0.9)
    ax.set(xlabel="step", ylabel="loss of the batch", yscale="log")
    ax.legend()
    return ax


def jacobian_figure(jacobians: Mapping[str, Float[Tensor, "out in"]]) -> "matplotlib.figure.Figure":
    """Each Jacobian as a picture, blue above zero and red below; zeros stay empty."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(NARROW, 3.9))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, J) in zip(axes.flat, jacobians.items()):
        ax.set_axis_on()
        size = J.abs().max().item()
        ax.imshow(np.ma.masked_equal(J.numpy(), 0), cmap="RdBu", vmin=-size, vmax=size, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.set_title(name)
        ax.grid(False)
        ax.spines[:].set_visible(True)
    axes.flat[0].set(xlabel="inputs", ylabel="outputs")
    return figure


def stack_figure(slopes: Mapping[str, Float[Tensor, "seeds depth"]]) -> "matplotlib.axes.Axes":
    """The length of the gradient at each layer of deep stacks, over that at the last layer; the band spans the seeds."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.6))
    for colour, (name, values) in zip(COLOURS, slopes.items()):
        share = (values / values[:, -1:]).numpy()
        layer = np.arange(1, share.shape[1] + 1)
        ax.fill_between(layer, share.min(0), share.max(0), color=colour, alpha=0.25, linewidth=0)
        ax.plot(layer, np.exp(np.log(share).mean(0)), color=colour, label=name)
    ax.set(yscale="log", xlabel="layer, counted from the input", ylabel="gradient, over that of the last")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return ax


def memory_figure(
    segments: Sequence[int], kept: Sequence[int], plain: int, formula: Sequence[int], depth: int
) -> "matplotlib.axes.Axes":
    """Bytes of activations at the peak over the number of segments: measured, as counted, and without checkpoints."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3.6))
    ax.axhline(plain / 1e3, color=INK, linewidth=1.2, linestyle="--")
    ax.text(segments[-1], plain / 1e3, "everything kept", color=INK, ha="right", va="bottom")
    ax.plot(segments, np.array(formula) / 1e3, color=COLOURS[0], linewidth=1.2, label="by the formula")
    ax.plot(segments, np.array(kept) / 1e3, "o", color=COLOURS[0], label="measured")
    ax.axvline(depth**0.5, color=INK, linewidth=1, linestyle=":")
    ax.set(xscale="log", yscale="log", xlabel="segments", ylabel="kilobytes kept at the peak")
    ax.set_xticks(list(segments), [str(s) for s in segments])
    ax.set_yticks([100, 200, 400], ["100", "200", "400"])
    ax.minorticks_off()
    ax.set_ylim(100, 700)
    ax.legend(loc="lower left")
    return ax

