"""What the page on recurrent networks draws."""

from typing import TYPE_CHECKING

from helpers.plotting import COLOURS, INK
from helpers.plotting.diagrams import arrow, box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes

BLUE, ORANGE, GREEN = COLOURS[:3]


def lstm_cell() -> "matplotlib.axes.Axes":
    """One step of an LSTM, labelled like its equations: the cell's line above, the gates, the hidden state below."""
    ax = diagram(12.0, 6.6, scale=0.44)
    ax.add_patch(frame(1.3, 0.75, 9.5, 5.2))
    top, middle, low = 5.2, 2.6, 1.2  # the cell's line, the gates, the line of x and h
    write(ax, (0.65, top), "$c_{t-1}$", colour=BLUE, size=12)
    write(ax, (11.45, top), "$c_t$", colour=BLUE, size=12)
    arrow(ax, [(1.1, top), (11.05, top)], colour=BLUE, width=2.6)
    write(ax, (0.65, low), "$h_{t-1}$", colour=GREEN, size=12)
    write(ax, (2.1, 0.3), "$x_t$", size=12)
    ax.plot([1.1, 8.4], [low, low], color=INK, lw=1.6)
    ax.plot([2.1, 2.1], [0.5, low], color=INK, lw=1.6)
    for x, name, kind in ((2.8, "f", "σ"), (4.6, "i", "σ"), (6.2, "g", "tanh"), (8.4, "o", "σ")):
        box(ax, (x, middle), kind, width=1.15, height=0.8, colour=ORANGE if kind == "σ" else BLUE)
        arrow(ax, [(x, low), (x, middle - 0.4)])
        write(ax, (x - 0.3, middle + 0.7), f"${name}$", colour=ORANGE if kind == "σ" else BLUE, size=12)
    arrow(ax, [(2.8, middle + 0.4), (2.8, top - 0.28)], colour=ORANGE)
    node(ax, 2.8, top, "×", ORANGE)
    arrow(ax, [(4.6, middle + 0.4), (4.6, 4.0), (5.92, 4.0)], colour=ORANGE)
    arrow(ax, [(6.2, middle + 0.4), (6.2, 3.72)], colour=BLUE)
    node(ax, 6.2, 4.0, "×", ORANGE)
    arrow(ax, [(6.2, 4.28), (6.2, top - 0.28)], colour=BLUE)
    node(ax, 6.2, top, "+", BLUE)
    arrow(ax, [(9.9, top), (9.9, 4.4)], colour=BLUE)
    box(ax, (9.9, 4.05), "tanh", width=1.15, height=0.7, colour=BLUE)
    arrow(ax, [(9.9, 3.7), (9.9, 2.88)], colour=BLUE)
    arrow(ax, [(8.98, middle), (9.62, middle)], colour=ORANGE)
    node(ax, 9.9, middle, "×", ORANGE)
    arrow(ax, [(9.9, 2.32), (9.9, low), (11.05, low)], colour=GREEN, width=2.6)
    write(ax, (11.45, low), "$h_t$", colour=GREEN, size=12)
    return ax


def frame(x: float, y: float, width: float, height: float) -> "matplotlib.patches.Patch":
    """A dotted frame with its lower left corner at (x, y)."""
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.3"
    return FancyBboxPatch((x, y), width, height, boxstyle=style, fc="none", ec=INK, lw=1.2, ls=":")


def node(ax: "matplotlib.axes.Axes", x: float, y: float, sign: str, colour: str) -> None:
    """A round node with a sign, on top of the lines that meet there."""
    ax.plot([x], [y], "o", color=colour, markersize=15, zorder=3)
    ax.text(x, y, sign, ha="center", va="center_baseline", color="white", size=13, weight="bold", zorder=4)
