"""The book's figures: one style for light and dark pages, and a few pictures that matplotlib has no single call for.

Functions draw on the axes they are given, or on those of a new figure, and return the axes: title, labels and scales
are set there, as in `curves(x, y).set(xlabel="step", yscale="log")`. Tensors may lie on any device.
"""

from helpers.plotting.animation import Animation, animate
from helpers.plotting.charts import contours, curves, heat_map, paths, vector_field
from helpers.plotting.dots import dots, grouped_bars
from helpers.plotting.images import boxes, flow_colours, image_grid, masks
from helpers.plotting.style import COLOURS, INK, use_style

__all__ = [
    "COLOURS",
    "INK",
    "Animation",
    "animate",
    "boxes",
    "contours",
    "curves",
    "dots",
    "flow_colours",
    "grouped_bars",
    "heat_map",
    "image_grid",
    "masks",
    "paths",
    "use_style",
    "vector_field",
]
