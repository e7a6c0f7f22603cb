"""Boxes and arrows: drawings of machines, in the coordinates of their axes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.plotting.style import INK

if TYPE_CHECKING:
    import matplotlib.axes

Number = int | float
Point = tuple[Number, Number]


def diagram(width: Number, height: Number, *, scale: Number = 1.0) -> "matplotlib.axes.Axes":
    """Axes without ticks or frame that reach from (0, 0) to (width, height), `scale` inches to the unit."""
    from matplotlib import pyplot

    for name, number in (("width", width), ("height", height), ("scale", scale)):
        if not number > 0:
            raise ValueError(f"{name} = {number}: it is positive")
    figure = pyplot.figure(figsize=(scale * width, scale * height), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return ax


def box(
    ax: "matplotlib.axes.Axes", middle: Point, text: str, *, width: Number, height: Number, colour: str = INK
) -> None:
    """A box around `middle` with centred text in its colour."""
    from matplotlib.patches import FancyBboxPatch

    x, y = middle
    corner = (x - width / 2, y - height / 2)
    rounded = "round,pad=0,rounding_size=0.12"
    ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle=rounded, fc="none", ec=colour, lw=1.6))
    write(ax, middle, text, colour=colour)


def write(
    ax: "matplotlib.axes.Axes",
    middle: Point,
    text: str,
    *,
    colour: str = INK,
    size: Number = 10.5,
    align: str = "center",
) -> None:
    """Words at a point: centred, or with `align` "left" or "right" beginning or ending there."""
    ax.text(*middle, text, ha=align, va="center", size=size, color=colour, linespacing=1.15)


def arrow(
    ax: "matplotlib.axes.Axes", points: Sequence[Point], *, colour: str = INK, width: Number = 1.6, style: str = "-"
) -> None:
    """A line through two or more points, with a head at its end; `style` is matplotlib's, as "--"."""
    if len(points) < 2:
        raise ValueError(f"{len(points)} points: an arrow leads from one to another")
    *_, before, end = points
    ax.plot(*zip(*points[:-1], strict=True), style, color=colour, lw=width, solid_capstyle="butt")
    head = dict(arrowstyle="-|>", color=colour, lw=width, ls=style, shrinkA=0, shrinkB=0, mutation_scale=11)
    ax.annotate("", end, before, arrowprops=head)
