"""Animations as PNG files: any viewer shows at least a still, and the same frames give the same bytes."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.plotting.canvas import Number

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import PIL.Image

LIMIT_KB = 300
COLOURS = 255


@dataclass(frozen=True)
class Animation:
    """An animated PNG, which notebooks show by itself as the last value of a cell."""

    png: bytes = field(repr=False)
    frames: int

    def _repr_png_(self) -> bytes:
        return self.png


def animate(
    draw: "Callable[[Any], matplotlib.axes.Axes | matplotlib.figure.Figure]",
    frames: Iterable[Any],
    path: str | PathLike | None = None,
    *,
    fps: Number = 8,
    still: int = -1,
    hold: Number = 1.5,
) -> Animation:
    """Call `draw(frame)` for each of `frames` and bind the pictures into an animated PNG, written to `path` if given.

    `draw` returns the axes or figure that it drew on: a new one each time, or always the same one, cleared or updated.
    Where only a still is shown (print, some viewers) it is frame `still`, by default the last; it is no part of the
    animation, which begins with the first frame, stays `hold` seconds on the last and repeats. Fix the limits of the
    axes, or the pictures jump. Raises `ValueError` beyond 300 kB, since stored notebooks stay below 1 MB.
    """
    if not fps > 0:
        raise ValueError(f"fps = {fps}: frames per second are positive")
    if not hold >= 0:
        raise ValueError(f"hold = {hold}: the seconds on the last frame are 0 or more")
    pictures = [_picture(draw(frame)) for frame in frames]
    if not pictures:
        raise ValueError("there is no frame to draw: frames is empty")
    if not -len(pictures) <= still < len(pictures):
        raise ValueError(f"still = {still}: the {len(pictures)} frames have the indices 0 to {len(pictures) - 1}")
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) > 1:
        raise ValueError(f"frames of {len(sizes)} sizes, {sizes[0]} and {sizes[-1]} pixels: give all the same figsize")

    first, *rest = _share_colours([pictures[still], *pictures])
    durations = [1000 / fps] * (len(rest) - 1) + [1000 / fps + 1000 * hold]
    file = io.BytesIO()
    first.save(
        file, "png", save_all=True, append_images=rest, default_image=True, duration=durations, loop=0, optimize=True
    )
    png = file.getvalue()
    if len(png) > 1000 * LIMIT_KB:
        h, w = sizes[0]
        raise ValueError(
            f"the animation of {len(rest)} frames of {w} x {h} pixels has {len(png) / 1000:.0f} kB, more than "
            f"{LIMIT_KB}: draw fewer frames, a smaller figsize, or less that changes between frames"
        )
    if path is not None:
        Path(path).write_bytes(png)
    return Animation(png, len(rest))


def _picture(drawn: "matplotlib.axes.Axes | matplotlib.figure.Figure") -> np.ndarray:
    """The pixels [h w 4] of the figure that `draw` returned, which no notebook then shows a second time."""
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = drawn if isinstance(drawn, Figure) else getattr(drawn, "figure", None)
    if figure is None:
        raise TypeError(f"draw returned {type(drawn).__name__}: return the axes or the figure that it drew on")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pyplot.close(figure)
    return np.array(canvas.buffer_rgba())


def _share_colours(pictures: list[np.ndarray]) -> "list[PIL.Image.Image]":
    """Pictures of one palette, common to all: a byte for a pixel, and equal pixels stay equal from frame to frame."""
    from PIL import Image

    strip = Image.fromarray(np.concatenate(pictures))
    strip = strip.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    h, w = pictures[0].shape[:2]
    return [strip.crop((0, i * h, w, (i + 1) * h)) for i in range(len(pictures))]
