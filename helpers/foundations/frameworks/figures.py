"""What the page draws: graphs with their numbers, what a run computes, bytes, loops, LeNet as a tower, rates and momenta."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from helpers.foundations.frameworks.interpreter import Function, Node, execute
from helpers.plotting import COLOURS, INK
from helpers.plotting.diagrams import arrow, box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Array = np.ndarray
Point = tuple[Any, Any]
NARROW = 5.2  # inches
SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "sqrt": "√", "square": "square", "relu": "ReLU",
         "conv2d": "conv", "conv2d_relu": "conv + ReLU", "matmul": "matmul", "mean": "mean", "transpose": "ᵀ",
         "positive": "> 0", "sum_like": "sum", "spread_mean": "÷ n", "assign": "assign", "group": "group"}
# Column (0 is the left one) and row (0 is the top one) of each node.
BEFORE = {
    "x": (0, 0), "w": (1, 0), "b": (2, 0), "variance": (3, 0), "constant_7": (4, 0),
    "conv": (0.5, 1), "mean": (2, 1), "norm_eps": (3.5, 1),
    "norm_centre": (0.5, 2), "norm_std": (3.5, 2),
    "norm_divide": (0.5, 3), "scale": (2, 3),
    "norm_scale": (0.5, 4), "shift": (2, 4),
    "norm_shift": (0.5, 5), "y": (0.5, 6), "probe": (2, 6),
}  # fmt: skip
AFTER = {"x": (0, 0), "norm_shift_w": (1, 0), "norm_shift_b": (2, 0), "y": (1, 1)}
NAMES = {"variance": "var", "constant_7": "ε", "norm_shift_w": "w′", "norm_shift_b": "b′"}
TRAINING = {  # the two-layer net: forward on the left, backward in the middle, updates on the right
    "x": (0, 0), "W1": (1, 0), "matmul_1": (0.5, 1), "a": (0.5, 2), "W2": (1.5, 2), "matmul_2": (0.5, 3), "t": (1.5, 3),
    "subtract_1": (0.5, 4), "square_1": (0.5, 5), "loss": (0.5, 6),
    "spread_mean_1": (2.6, 6), "multiply_1": (2.6, 5), "multiply_2": (2.6, 4), "sum_like_1": (2.6, 3),
    "matmul_3": (2.6, 2), "multiply_4": (2.6, 1), "matmul_6": (2.6, 0), "matmul_4": (3.55, 3),
    "multiply_5": (3.55, 0), "subtract_2": (4.5, 0), "new_W1": (5.45, 0),
    "multiply_6": (4.5, 3), "subtract_3": (5.45, 3), "new_W2": (5.45, 2), "updates": (5.45, 1),
}  # fmt: skip


def graph_pair(before: Function, after: Function, x: Array) -> "matplotlib.figure.Figure":
    """The opening: a graph as written, above, and optimised, below, with the number that each node puts out for `x`."""
    ax = diagram(5.2, 6.6)
    write(ax, (2.6, 6.42), f"as written: {len(before.nodes)} nodes", size=11)
    draw(ax, before, BEFORE, x, left=0.52, top=6.0)
    write(ax, (2.6, 1.4), f"optimised: {len(after.nodes)} nodes", size=11)
    draw(ax, after, AFTER, x, left=1.55, top=0.98)
    return ax.figure


def draw(
    ax: "matplotlib.axes.Axes", function: Function, places: Mapping[str, Point], x: Array, *, left: float,
    top: float,
) -> None:
    """Boxes with sign and number at their places: constants green, placeholders blue, dead nodes faint."""
    values: dict[str, Any] = dict(zip(function.inputs, [x]))
    execute(function.nodes, function.nodes, values)
    where = {name: (left + 1.04 * column, top - 0.68 * row) for name, (column, row) in places.items()}
    for name, node in function.nodes.items():
        colour = {"constant": COLOURS[2], "placeholder": COLOURS[0]}.get(node.op, INK)
        colour = COLOURS[4] if name == "probe" else colour
        number = f"{float(np.ravel(values[name])[0]):g}".replace("-", "−")
        sign = SIGNS.get(node.op) or NAMES.get(name, name)
        label = f"{sign} = {number}" if node.op in ("constant", "placeholder") else f"{sign}  {number}"
        width = 1.5 if node.op == "conv2d_relu" else 0.96
        box(ax, where[name], label, width=width, height=0.36, colour=colour)
        for source in node.inputs:
            (x0, y0), (x1, y1) = where[source], where[name]
            if y0 == y1:  # side by side
                arrow(ax, [(x0 + 0.48, y0), (x1 - 0.48, y1)], colour=INK, width=1.2)
            else:
                landing = x1 + 0.3 * np.clip(x0 - x1, -1, 1)
                arrow(ax, [(x0, y0 - 0.18), (landing, y1 + 0.18)], colour=INK, width=1.2)


def executed_pair(nodes: Mapping[str, Node], runs: Mapping[str, Sequence[str]]) -> "matplotlib.figure.Figure":
    """The training graph once for each run: what it computed in colour, the rest grey.

    Left out are constants, what no update needs, and lines from the left column to the others but for those of the loss.
    """
    height = 4.1
    ax = diagram(5.2, height * len(runs))
    for i, (title, done) in enumerate(runs.items()):
        top = height * (len(runs) - i)
        write(ax, (2.6, top - 0.2), title, size=11)
        where = {name: (0.4 + 0.81 * c, top - 0.62 - 0.52 * r) for name, (c, r) in TRAINING.items()}
        for name, (x, y) in where.items():
            node = nodes[name]
            on = name in done
            state = node.op in ("placeholder", "variable")
            kind = COLOURS[1] if node.op in ("assign", "group") else COLOURS[2]
            colour = COLOURS[0] if state else kind if on else INK
            label = name if state or name in ("loss", "updates") else SIGNS[node.op]
            box(ax, (x, y), label, width=0.66, height=0.32, colour=colour)
            for source in node.inputs:
                crosses = source in where and TRAINING[source][0] < 2 < TRAINING[name][0]
                if source not in where or crosses and source != "square_1":
                    continue
                sx, sy = where[source]
                a, b = joint((sx, sy), (x, y))
                arrow(ax, [a, b], colour=colour if on else INK, width=1.6 if on else 0.6, style="-" if on else ":")
    return ax.figure


def joint(start: Point, end: Point) -> tuple[Point, Point]:
    """Where a line between two boxes leaves the first and meets the second."""
    (x0, y0), (x1, y1) = start, end
    if abs(y1 - y0) < 0.1:
        side = 0.33 * np.sign(x1 - x0)
        return (x0 + side, y0), (x1 - side, y1)
    up = 0.16 * np.sign(y1 - y0)
    if abs(x1 - x0) > 1.2:  # far: from side to side
        side = 0.33 * np.sign(x1 - x0)
        return (x0 + side, y0), (x1 - side, y1)
    return (x0, y0 + up), (x1, y1 - up)


def bars(values: Mapping[str, float | int], label: str, form: str = "{:,.0f}", ax: "matplotlib.axes.Axes | None" = None) -> Any:
    """One lying bar for each name, its value behind it, its name above it."""
    from matplotlib import pyplot

    if ax is None:
        _, ax = pyplot.subplots(figsize=(NARROW, 0.6 + 0.62 * len(values)))
    top = max(values.values()) or 1
    for i, (name, value) in enumerate(values.items()):
        ax.barh(i, value, height=0.42, color=COLOURS[i % len(COLOURS)])
        ax.text(value + 0.015 * top, i, form.format(value), va="center", color=INK)
        ax.text(0, i - 0.42, name, va="center", color=INK, size=10)
    ax.set(xlabel=label, yticks=[], ylim=(len(values) - 0.6, -0.75), xlim=(0, 1.2 * top))
    ax.grid(False, axis="y")
    return ax


def pass_figure(functions: Mapping[str, Function]) -> "matplotlib.axes.Axes":
    """How many nodes are left after each pass."""
    return bars({name: len(function.nodes) for name, function in functions.items()}, "nodes")


def loss_figure(losses: Mapping[str, Sequence[float]], step: str = "run") -> "matplotlib.axes.Axes":
    """Loss over runs, or whatever a `step` is called: a wide pale line, a plain one, a dotted one."""
    from matplotlib import pyplot

    _, ax = pyplot.subplots(figsize=(NARROW, 3.2))
    for i, (name, values) in enumerate(losses.items()):
        wide, style = ((6, "-"), (1.8, "-"), (1.8, ":"))[i % 3]
        ax.plot(values, style, lw=wide, alpha=0.35 if wide > 2 else 1, label=name, color=COLOURS[i])
    ax.set(xlabel=step, ylabel="loss")
    ax.legend()
    return ax


def loop_figure(x: Float[Array, " n"], counts: Mapping[str, Float[Array, " n"]]) -> "matplotlib.axes.Axes":
    """Halvings against where the loop starts: Python, the loop node, and the record of one path."""
    from matplotlib import pyplot

    _, ax = pyplot.subplots(figsize=(NARROW, 3.2))
    for (name, values), style, colour in zip(counts.items(), ("o", "-", "--"), COLOURS):
        ax.plot(x, values, style, color=colour, label=name, ms=6, markevery=16 if style == "o" else None)
    ax.set(xscale="log", xlabel="x at the start", ylabel="halvings")
    ax.legend()
    return ax


def tower_figure(table: Sequence[Sequence[Any]], size: str, kind: str = "HDF5Data") -> "matplotlib.figure.Figure":
    """Layers from top to bottom with the shape of what each puts out, and the counts of those that have parameters.

    The data come first: their `size` and the `kind` of the layer that gives them.
    """
    rows = [("data", kind, size, 0), *table]
    ax = diagram(5.2, 0.1 + 0.56 * len(rows))
    for i, (name, kind, shape, count) in enumerate(rows):
        y = 0.56 * (len(rows) - i) - 0.22
        colour = COLOURS[1] if count else COLOURS[0] if i == 0 else INK
        box(ax, (1.05, y), f"{name}: {kind}", width=2.0, height=0.36, colour=colour)
        write(ax, (2.2, y), shape, align="left")
        if count:
            write(ax, (5.15, y), f"{count:,} parameters", align="right", colour=colour)
        if i + 1 < len(rows):
            arrow(ax, [(1.05, y - 0.18), (1.05, y - 0.38)], width=1.2)
    return ax.figure


def policy_figure(rates: Mapping[str, Float[Array, " steps"]]) -> "matplotlib.axes.Axes":
    """The learning rate over iterations for each policy, named at its line."""
    from matplotlib import pyplot

    _, ax = pyplot.subplots(figsize=(NARROW, 3.0))
    for (name, values), colour in zip(rates.items(), COLOURS):
        ax.plot(values, color=colour, label=name)
    ax.set(xlabel="iteration", ylabel="learning rate", ylim=(0, None))
    ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1.2)
    return ax


def momentum_figure(steps: Mapping[str, Float[Array, " steps"]], rates: Float[Array, " steps"]) -> "matplotlib.axes.Axes":
    """The length of each step under a constant gradient, and the rate; the two forms of momentum as lines."""
    from matplotlib import pyplot

    _, ax = pyplot.subplots(figsize=(NARROW, 3.0))
    for (name, values), colour, style in zip(steps.items(), COLOURS, ("-", "--")):
        ax.plot(values, style, color=colour, label=name)
    ax.axvline(int(np.flatnonzero(np.diff(rates))[0]) + 1, color=INK, lw=1, ls=":")
    ax.set(xlabel="iteration (dotted: the rate falls to a tenth)", ylabel="length of the step")
    ax.legend()
    return ax


def deployment_figure(sizes: Mapping[str, float | int], seconds: Mapping[str, Sequence[float]]) -> "matplotlib.figure.Figure":
    """Above: megabytes of each file. Below: seconds from the start of a process to its first answer."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 2 * (0.6 + 0.62 * len(sizes))))
    bars(sizes, "file, megabytes", "{:.1f}", above)
    bars({name: float(np.mean(values)) for name, values in seconds.items()}, "first answer, seconds", "{:.1f}", below)
    return figure
