"""Images and what is drawn on them: grids, boxes, masks, and optical flow as colours."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from helpers.plotting.canvas import Labels, Number, Range, array, axes, check_count, inches, limits_of, words
from helpers.plotting.style import COLOURS, INK, WIDTH, ink_on

if TYPE_CHECKING:
    import matplotlib.axes

Image = Shaped[Tensor, "c h w"] | Shaped[Tensor, "h w"]


def image_grid(
    images: Shaped[Tensor, "n c h w"] | Shaped[Tensor, "n h w"],
    labels: Labels | None = None,
    columns: int = 8,
    *,
    rows: Labels | None = None,
    limits: Range | None = (0.0, 1.0),
    width: Number | None = None,
    ax: "matplotlib.axes.Axes | None" = None,
) -> "matplotlib.axes.Axes":
    """Show n grey or RGB images in rows of `columns`, `labels` above the images and the names `rows` left of the rows.

    `limits` are the values shown as black and white; `None` stretches each image to its own range. Bytes (uint8) span 0
    to 255 by themselves. `width` in inches; by default up to a page. One unit of the axes is a pixel, and the first
    image covers (0, 0) to (w, h), so that `boxes` and `masks` fit a grid of one image.
    """
    if not columns >= 1:
        raise ValueError(f"columns = {columns}: a grid has at least 1")
    if len(images) == 0:
        raise ValueError("images: there is no image to show")
    labels, rows = words(labels), words(rows)
    pixels = [_pixels(image, limits) for image in images]
    if sizes := {image.shape[:2] for image in pixels[1:]} - {pixels[0].shape[:2]}:
        raise ValueError(
            f"images of {pixels[0].shape[:2]} and {sizes.pop()} pixels: a grid takes one size, resize them"
        )
    columns = min(columns, len(pixels))
    lines = math.ceil(len(pixels) / columns)
    check_count("labels", labels, len(pixels), "images")
    check_count("names in rows", rows, lines, "rows of images")

    h, w = pixels[0].shape[:2]
    width = width or min(WIDTH, 1.6 * max(columns, 2))
    gap = 0.06 * max(h, w)
    across = columns * (w + gap) - gap
    inch = across / (width if ax is None else inches(ax)[0])  # pixels of the images per inch of the figure
    above = 0.2 * inch if labels is not None else 0.0
    down = lines * (h + gap + above) - gap
    ax = axes(ax, width=width, height=max(0.4, down / inch))
    ax.set(xlim=(-0.01 * w, across + 0.01 * w), ylim=(down - above + 0.01 * h, -above - 0.01 * h), aspect="equal")
    ax.set_axis_off()

    longest = max(map(len, labels or ["1"]))
    size = min(10.0, max(6.5, 72 * (w + gap) / inch / (0.58 * max(longest, 1))))
    for index, image in enumerate(pixels):
        x, y = (index % columns) * (w + gap), (index // columns) * (h + gap + above)
        _show(ax, image, x, y)
        if labels is not None:
            ax.text(x + w / 2, y - 0.04 * inch, labels[index], ha="center", va="bottom", color=INK, size=size)
    for line, name in enumerate(rows or ()):
        y = line * (h + gap + above) + h / 2
        ax.text(-0.08 * inch, y, name, ha="right", va="center", color=INK, size=10)
    return ax


def boxes(
    target: "matplotlib.axes.Axes | Image",
    boxes: Shaped[Tensor, "n 4"],
    labels: Labels | None = None,
    scores: Float[Tensor, "n"] | Sequence[Number] | None = None,
    *,
    colour: str | None = None,
    limits: Range | None = (0.0, 1.0),
) -> "matplotlib.axes.Axes":
    """Draw boxes (x1, y1, x2, y2), in pixels from the upper left corner, on axes or on an image that is shown first.

    Boxes with the same label share a colour, unless `colour` is given; scores stand behind the labels.
    """
    from matplotlib.patches import Rectangle

    corners, labels = array(boxes), words(labels)
    check_count("labels", labels, len(corners), "boxes")
    check_count("scores", scores, len(corners), "boxes")
    for corner in corners.tolist():
        if not (corner[2] >= corner[0] and corner[3] >= corner[1]):
            raise ValueError(f"box {corner}: boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2, not (x, y, w, h)")
    ax = _canvas(target, limits)
    names = list(dict.fromkeys(labels or ()))
    for index, (x1, y1, x2, y2) in enumerate(corners.tolist()):
        name = "" if labels is None else labels[index]
        edge = colour or COLOURS[names.index(name) % len(COLOURS) if names else 1]
        frame = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=2)
        frame.set_path_effects(_halo(3))
        ax.add_patch(frame)
        text = [name] if name else []
        if scores is not None:
            text.append(f"{float(scores[index]):.2f}")
        if text:
            _tag(ax, x1, y1, " ".join(text), edge, va="bottom")
    return ax


def masks(
    target: "matplotlib.axes.Axes | Image",
    masks: Shaped[Tensor, "n h w"],
    labels: Labels | None = None,
    *,
    opacity: Number = 0.5,
    limits: Range | None = (0.0, 1.0),
) -> "matplotlib.axes.Axes":
    """Lay n masks, booleans or probabilities, over axes or over an image that is shown first; outlines at one half.

    On axes that already show an image a mask covers that image, whatever the mask's resolution.
    """
    from matplotlib.colors import to_rgb

    weight, labels = array(masks).astype(float), words(labels)
    check_count("labels", labels, len(weight), "masks")
    if weight.size and not (weight.min() >= 0 and weight.max() <= 1):
        raise ValueError(f"masks from {weight.min():.3g} to {weight.max():.3g}: give probabilities, masks.sigmoid()")
    ax = _canvas(target, limits)
    h, w = weight.shape[1:]
    left, right, bottom, top = ax.images[0].get_extent() if ax.images else (0, w, h, 0)
    for index, mask in enumerate(weight):
        colour = COLOURS[index % len(COLOURS)]
        layer = np.empty((h, w, 4))
        layer[..., :3], layer[..., 3] = to_rgb(colour), opacity * mask
        ax.imshow(layer, extent=(left, right, bottom, top), interpolation="nearest")
        inside = mask >= 0.5
        if inside.any():
            # A frame of zeros closes the outlines of masks that touch the border.
            x = left + (np.arange(-1, w + 1) + 0.5) * (right - left) / w
            y = top + (np.arange(-1, h + 1) + 0.5) * (bottom - top) / h
            ax.contour(x, y, np.pad(mask, 1), levels=[0.5], colors=[colour], linewidths=1.5)
            if labels is not None:
                row, column = np.argwhere(inside).mean(0)
                _tag(ax, x[round(column) + 1], y[round(row) + 1], labels[index], colour, ha="center", va="center")
    return ax


def flow_colours(flow: Float[Tensor, "2 h w"], limit: Number | None = None) -> Float[Tensor, "3 h w"]:
    """Colour an optical flow by its direction (hue) and length (saturation), as Baker et al. (2011) do.

    `flow` holds the displacement to the right and downwards, in pixels. The length `limit`, by default the longest of
    this flow, gets full saturation; longer ones turn dark. Values in [0, 1].
    """
    if limit is not None and not limit > 0:
        raise ValueError(f"limit = {limit}: the length with full saturation is positive")
    flow = flow.float()
    length = flow.norm(dim=0)
    if not length.isfinite().all():
        raise ValueError(f"the flow has {int((~length.isfinite()).sum())} pixels that are not finite: mask them first")
    length = length / (length.max() + torch.finfo(length.dtype).eps if limit is None else limit)
    wheel = _wheel().to(flow.device)
    turn = (torch.atan2(-flow[1], -flow[0]) / math.pi + 1) / 2 * (len(wheel) - 1)
    start = turn.floor().long()
    hue = torch.lerp(wheel[start], wheel[(start + 1) % len(wheel)], (turn - start)[..., None])
    colour = torch.where(length[..., None] <= 1, 1 - length[..., None] * (1 - hue), 0.75 * hue)
    return colour.permute(2, 0, 1)


def _wheel() -> Float[Tensor, "55 3"]:
    """The colour wheel: six arcs, red to yellow, green, cyan, blue, magenta and red, longer where the eye sees more."""
    corners = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]]).float()
    arcs = zip(corners, corners[1:], (15, 6, 4, 11, 13, 6), strict=False)
    return torch.cat([start + torch.arange(n)[:, None] / n * (end - start) for start, end, n in arcs])


def _pixels(image: Image, limits: Range | None) -> np.ndarray:
    """An image as [h w 3] in [0, 1]; refuses values outside `limits`."""
    if image.ndim == 3 and len(image) not in (1, 3):
        raise ValueError(f"image of shape {tuple(image.shape)}: 1 or 3 channels come first, as in [3, h, w]")
    values = array(image).astype(float)
    if image.dtype == torch.uint8:
        values, limits = values / 255, (0.0, 1.0)
    low, high = (values.min(), values.max()) if limits is None else limits_of(values, limits)
    if not np.isfinite(values).all():
        raise ValueError(f"the image has {(~np.isfinite(values)).sum()} values that are not finite")
    slack = 1e-3 * (high - low)
    if values.min() < low - slack or values.max() > high + slack:
        raise ValueError(
            f"image values from {values.min():.3g} to {values.max():.3g} exceed limits = ({low:g}, {high:g}): clamp "
            "them, name the limits, or pass limits=None to stretch each image to its own range"
        )
    values = ((values - low) / (high - low if high > low else 1.0)).clip(0, 1)
    values = values[None] if values.ndim == 2 else values
    return np.broadcast_to(values, (3, *values.shape[1:])).transpose(1, 2, 0)


def _show(ax: "matplotlib.axes.Axes", pixels: np.ndarray, x: Number = 0, y: Number = 0) -> None:
    """Put an image at (x, y), with a hairline: black on a dark page and white on a white one keep their edge."""
    from matplotlib.patches import Rectangle

    h, w = pixels.shape[:2]
    xlim, ylim = ax.get_xlim(), ax.get_ylim()
    ax.imshow(pixels, extent=(x, x + w, y + h, y), interpolation="auto", aspect=ax.get_aspect())
    ax.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=INK, linewidth=0.5, alpha=0.6))
    ax.set(xlim=xlim, ylim=ylim)


def _canvas(target: "matplotlib.axes.Axes | Image", limits: Range | None) -> "matplotlib.axes.Axes":
    """Axes as they are; an image becomes axes that show it."""
    if not isinstance(target, Tensor):
        return target
    wide = max(1.0, target.shape[-1] / target.shape[-2])
    return image_grid(target[None], limits=limits, width=min(WIDTH, 3.4 * wide))


def _tag(ax: "matplotlib.axes.Axes", x: Number, y: Number, text: str, colour: str, **align: str) -> None:
    """Words on a patch of `colour`."""
    from matplotlib.colors import to_rgb

    patch = dict(facecolor=colour, edgecolor="none", pad=1.5)
    ax.text(x, y, text, color=ink_on(to_rgb(colour)), size=9, bbox=patch, **align)


def _halo(linewidth: Number) -> list:
    """A dark rim, so that a line stands out from a picture of its own colour."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=linewidth, foreground="black", alpha=0.5)]
