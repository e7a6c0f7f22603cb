"""What the page draws: pictures and their edges, labelled line drawings, surfaces, cuts, matches, and accuracies."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from helpers.foundations.early_vision.edges import Crossings
from helpers.foundations.early_vision.labelling import CATALOGUE, Drawing
from helpers.foundations.early_vision.sift import Features
from helpers.plotting import COLOURS, INK

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

NARROW = 5.2  # inches: legible on a phone
DPI = 72  # of figures that are mostly photographs, whose files are large
FINEST = 96  # pixels down a picture that is shown
CONVEX, CONCAVE, OCCLUDING = COLOURS[0], COLOURS[1], COLOURS[2]


def show(ax: "matplotlib.axes.Axes", image: Tensor, title: str = "", finest: int = FINEST, **options) -> None:
    """A picture without ticks, grey from 0 to 1 unless `options` say otherwise; in its own pixels' coordinates.

    What has more than `finest` rows is shown in coarser pixels, each the mean of those that it covers.
    """
    h, w = image.shape[-2:]
    step = -(-h // finest)
    if step > 1:
        image = avg_pool2d(image.reshape(1, -1, h, w), step)[0].reshape(*image.shape[:-2], h // step, w // step)
    if image.ndim == 3 and len(image) == 3:
        image = image.permute(1, 2, 0)
    extent = (-0.5, w - 0.5, h - 0.5, -0.5)
    usual = {"cmap": "gray", "vmin": 0, "vmax": 1, "extent": extent, "interpolation": "nearest"}
    ax.imshow(image.numpy(), **{**usual, **options})
    bare(ax, title)


def bare(ax: "matplotlib.axes.Axes", title: str = "") -> None:
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=10)
    for spine in ax.spines.values():
        spine.set_visible(False)


def dotted(
    ax: "matplotlib.axes.Axes", crossings: Crossings, shape: Sequence[int], title: str = "", size: float | int = 0.6
) -> None:
    """Zero crossings as dots, with the extent of the picture that they come from."""
    ax.scatter(*crossings.places.T.numpy(), s=size, color=INK, linewidths=0, rasterized=True)
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5), aspect="equal")
    bare(ax, title)


def draw_labels(ax: "matplotlib.axes.Axes", drawing: Drawing, labels: Sequence[str] | None = None, title: str = "") -> None:
    """A line drawing, each line in the colour of its kind with + or - beside it, or an arrow along it."""
    points = np.array(drawing.points)
    size = np.ptp(points, axis=0).max()
    middle = points.mean(0)
    for i, (a, b) in enumerate(drawing.lines):
        label = labels[i] if labels is not None else ""
        colour = {"+": CONVEX, "-": CONCAVE, "": INK}.get(label, OCCLUDING)
        start, end = (points[b], points[a]) if label == "<" else (points[a], points[b])
        ax.plot(*np.stack([start, end]).T, "-", color=colour, lw=1.8, solid_capstyle="round")
        half = start + 0.58 * (end - start)
        if label in ("<", ">"):
            head = dict(arrowstyle="-|>", color=colour, lw=1.8, mutation_scale=13, shrinkA=0, shrinkB=0)
            ax.annotate("", half, start + 0.4 * (end - start), arrowprops=head)
        elif label:
            side = np.array([-(end - start)[1], (end - start)[0]])
            side = side / np.linalg.norm(side) * np.sign(side @ (middle - half) or 1)
            place = (start + end) / 2 + 0.075 * size * side
            ax.text(*place, {"-": "−"}.get(label, label), color=colour, ha="center", va="center", size=13, weight="bold")
    ax.set(aspect="equal")
    ax.margins(0.08)
    bare(ax, title)


def opening_figure(
    block: Tensor,
    block_edges: Crossings,
    drawing: Drawing,
    labels: Sequence[str],
    photo: Tensor,
    edges: Crossings,
    features: Features,
) -> "matplotlib.figure.Figure":
    """Left a rendered block, right a photograph; from top to bottom picture, edges, and what is made of them."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 2, figsize=(NARROW, 7.6), dpi=DPI)
    show(axes[0, 0], block, "a rendered block")
    show(axes[0, 1], photo, "a photograph")
    dotted(axes[1, 0], block_edges, block.shape, "zero crossings", size=1.5)
    dotted(axes[1, 1], edges, photo.shape, "zero crossings")
    draw_labels(axes[2, 0], drawing, labels, "labelled lines")
    show(axes[2, 1], photo, "keypoints", alpha=0.6)
    draw_keypoints(axes[2, 1], features)
    return figure


def draw_keypoints(ax: "matplotlib.axes.Axes", features: Features, colour: str = COLOURS[1]) -> None:
    """Circles of three sigmas with the orientation as a radius."""
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.patches import Circle

    limits = ax.get_xlim(), ax.get_ylim()
    circles = [Circle(place, 3 * sigma) for place, sigma in zip(features.places.tolist(), features.sigmas.tolist())]
    ax.add_collection(PatchCollection(circles, facecolor="none", edgecolor=colour, linewidths=0.9))
    ends = features.places + 3 * features.sigmas[:, None] * torch.stack([features.angles.cos(), features.angles.sin()], 1)
    ax.add_collection(LineCollection(torch.stack([features.places, ends], 1).numpy(), colors=colour, linewidths=0.9))
    ax.set(xlim=limits[0], ylim=limits[1])


def scale_figure(
    sigmas: Sequence[float], straight: Float[Tensor, "places sigmas"], places: Sequence[float], radii: Mapping[float, Tensor]
) -> "matplotlib.figure.Figure":
    """Above: how far the zero crossing of a straight edge lies from it, by sigma. Below: of discs."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 5.2), sharex=True)
    for i, place in enumerate(places):
        above.plot(sigmas, (straight[i] - place).numpy(), "o-", ms=4, color=COLOURS[i], label=f"edge at {place}")
    above.set(ylabel="found − true, pixels", ylim=(-1, 1), title="straight edge")
    above.legend()
    for i, (radius, found) in enumerate(radii.items()):
        below.plot(sigmas, (found - radius).numpy(), "o-", ms=4, color=COLOURS[i], label=f"disc of radius {radius:g}")
    below.set(xlabel="σ, pixels", ylabel="found − true, pixels", title="curved edge")
    below.legend()
    return figure


def crossings_figure(pictures: Mapping[str, tuple[Crossings, Sequence[int]]]) -> "matplotlib.figure.Figure":
    """Zero crossings of one picture at several scales, two panels in a row."""
    from matplotlib import pyplot

    rows = (len(pictures) + 1) // 2
    figure, axes = pyplot.subplots(rows, 2, figsize=(NARROW, 2.8 * rows), dpi=DPI)
    for ax, (title, (crossings, shape)) in zip(axes.flat, pictures.items()):
        dotted(ax, crossings, shape, title)
    return figure


def token_figure(photo: Tensor, bars: Tensor, blobs: Float[Tensor, "n 4"]) -> "matplotlib.figure.Figure":
    """Left the strength of bars, right the photograph with its blobs as circles, bright ones orange and dark ones blue."""
    from matplotlib import pyplot
    from matplotlib.patches import Circle

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(NARROW, 2.9), dpi=DPI)
    show(left, bars / bars.max(), "bars, σ = 2", cmap="gray_r")
    show(right, photo, "blobs", alpha=0.55)
    for x, y, radius, sign in blobs.tolist():
        right.add_patch(Circle((x, y), radius, fill=False, lw=1.3, color=COLOURS[1] if sign > 0 else COLOURS[0]))
    return figure


def catalogue_figure() -> "matplotlib.figure.Figure":
    """Every labelling that a junction may have, a row a kind."""
    from matplotlib import pyplot

    angles = {"L": (330, 90), "arrow": (205, 270, 335), "fork": (90, 210, 330), "T": (270, 0, 180)}
    figure, axes = pyplot.subplots(4, 6, figsize=(NARROW, 3.9))
    for row, (kind, options) in zip(axes, CATALOGUE.items()):
        shown = sorted(options)
        for ax in row:
            bare(ax)
            ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
        row[0].set_ylabel(kind, rotation=0, ha="right", va="center", color=INK)
        for ax, option in zip(row, shown):
            for angle, label in zip(angles[kind], option):
                end = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
                colour = {"+": CONVEX, "-": CONCAVE}.get(label, OCCLUDING)
                ax.plot([0, end[0]], [0, end[1]], "-", color=colour, lw=1.8)
                if label in ("+", "-"):
                    side = 0.62 * end + 0.3 * np.array([-end[1], end[0]])
                    ax.text(*side, {"-": "−"}.get(label, label), color=colour, ha="center", va="center", weight="bold", size=11)
                else:
                    way = (0.4 * end, 0.75 * end) if label == "out" else (0.8 * end, 0.4 * end)
                    head = dict(arrowstyle="-|>", color=colour, lw=1.8, mutation_scale=11, shrinkA=0, shrinkB=0)
                    ax.annotate("", way[1], way[0], arrowprops=head)
    return figure


def labellings_figure(
    drawings: Sequence[tuple[str, Drawing, Sequence[str] | None]], columns: int = 2
) -> "matplotlib.figure.Figure":
    """Line drawings with titles, and with labels where they have any."""
    from matplotlib import pyplot

    rows = -(-len(drawings) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(NARROW, 2.4 * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (title, drawing, labels) in zip(axes.flat, drawings):
        draw_labels(ax, drawing, labels, title)
    return figure


def noise_figure(noises: Sequence[float], errors: Float[Tensor, "noises boxes"]) -> "matplotlib.figure.Figure":
    """A dot a block: the error of its sides by the noise of its corners, and the mean as a line."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 3))
    for noise, row in zip(noises, errors):
        ax.plot(np.full(len(row), noise), 100 * row.numpy(), "o", ms=4, color=COLOURS[0], alpha=0.5)
    ax.plot(noises, 100 * errors.mean(1).numpy(), color=COLOURS[1], label="mean")
    ax.set(xlabel="noise of each coordinate, pixels", ylabel="error of the sides, %", ylim=(0, None))
    ax.legend()
    return figure


def stereo_figure(
    images: Float[Tensor, "k h w"], normals: Float[Tensor, "h w 3"], albedo: Float[Tensor, "h w"]
) -> "matplotlib.figure.Figure":
    """Pictures under lamps, the normals as colours (right red, up green, towards us blue), the albedo."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 2, figsize=(NARROW, 7.6), dpi=DPI)
    for i, (ax, image) in enumerate(zip(axes.flat, images)):
        show(ax, image, f"lamp {i + 1}", finest=64)
    show(axes[2, 0], (normals.nan_to_num() + 1).permute(2, 0, 1) / 2, "normals")
    show(axes[2, 1], albedo.nan_to_num(), "albedo", finest=64)
    return figure


def sketch_figure(depth: Tensor, broken: Bool[Tensor, "h w"], creased: Bool[Tensor, "h w"]) -> "matplotlib.figure.Figure":
    """Above the depth, below the edges of depth and of orientation in the colours of the labels."""
    from matplotlib import pyplot
    from matplotlib.colors import to_rgba

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(NARROW, 2.9))
    show(left, depth, "depth: near is dark", vmin=None, vmax=None)
    picture = np.zeros((*broken.shape, 4))
    picture[creased.numpy()] = to_rgba(CONVEX)
    picture[broken.numpy()] = to_rgba(OCCLUDING)
    right.imshow(picture, interpolation="nearest")
    bare(right, "edges")
    right.text(0.98, 0.08, "depth", color=OCCLUDING, ha="right", transform=right.transAxes)
    right.text(0.98, 0.0, "orientation", color=CONVEX, ha="right", transform=right.transAxes)
    return figure


def superquadric_figure(points: Float[Tensor, "n 3"], surface: Float[Tensor, "m 3"]) -> "matplotlib.figure.Figure":
    """Points that were seen and points of the fitted body, from above and from the front."""
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(NARROW, 5.6), dpi=DPI)
    for ax, (i, j), names in ((above, (0, 1), ("x", "y (away)")), (below, (0, 2), ("x", "z (up)"))):
        ax.plot(*surface[:, [i, j]].T.numpy(), ".", ms=2, color=COLOURS[0], label="fitted superquadric", zorder=1)
        ax.plot(*points[:, [i, j]].T.numpy(), ".", ms=4, color=COLOURS[1], label="points seen", zorder=2)
        ax.set(xlabel=names[0], ylabel=names[1], aspect="equal")
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2)
    return figure


def cuts_figure(
    images: Float[Tensor, "n 3 h w"], vectors: Float[Tensor, "n h w"], figures: Bool[Tensor, "n h w"]
) -> "matplotlib.figure.Figure":
    """A column a picture: the picture, the second eigenvector, the figure."""
    from matplotlib import pyplot

    n = len(images)
    figure, axes = pyplot.subplots(3, n, figsize=(NARROW, 3.3))
    for i in range(n):
        show(axes[0, i], images[i])
        show(axes[1, i], vectors[i], vmin=None, vmax=None, cmap="cividis")
        show(axes[2, i], figures[i].float())
    for ax, name in zip(axes[:, 0], ("picture", "2nd vector", "figure")):
        ax.set_ylabel(name, color=INK)
    return figure


def matches_figure(
    first: Tensor, second: Tensor, ways: Mapping[str, tuple[Float[Tensor, "k 2"], Float[Tensor, "k 2"], Bool[Tensor, " k"]]]
) -> "matplotlib.figure.Figure":
    """A picture and its turned copy side by side for each way, and its matches: right ones green, wrong ones rust."""
    from matplotlib import pyplot
    from matplotlib.collections import LineCollection

    figure, axes = pyplot.subplots(len(ways), 1, figsize=(NARROW, 2.8 * len(ways)), dpi=DPI)
    both = torch.cat([first, second], 1)
    for ax, (name, (a, b, right)) in zip(np.atleast_1d(axes), ways.items()):
        show(ax, both, f"{name}: {int(right.sum())} of {len(right)} right", alpha=0.75)
        lines = torch.stack([a, b + torch.tensor([float(first.shape[1]), 0.0])], 1).numpy()
        colours = [COLOURS[2] if good else COLOURS[4] for good in right.tolist()]
        ax.add_collection(LineCollection(lines, colors=colours, linewidths=[0.5 if g else 0.9 for g in right.tolist()]))
    return figure


def hog_figure(photo: Tensor, cells: Float[Tensor, "rows columns bins"], cell: int) -> "matplotlib.figure.Figure":
    """A picture, and for each cell a stroke along the edges of each direction, darker where there are more."""
    from matplotlib import pyplot
    from matplotlib.collections import LineCollection

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(NARROW, 2.9), dpi=DPI)
    show(left, photo)
    rows, columns, bins = cells.shape
    strength = (cells / cells.max()).clamp(max=1).sqrt()
    lines, weights = [], []
    for r in range(rows):
        for c in range(columns):
            for k in range(bins):
                angle = np.pi * (k + 0.5) / bins + np.pi / 2  # an edge runs across its gradient
                half = 0.5 * cell * np.array([np.cos(angle), np.sin(angle)])
                middle = cell * (np.array([c, r]) + 0.5)
                lines.append([middle - half, middle + half])
                weights.append(float(strength[r, c, k]))
    right.add_collection(LineCollection(lines, colors=INK, linewidths=1.2, alpha=weights))
    right.set(xlim=(0, columns * cell), ylim=(rows * cell, 0), aspect="equal")
    bare(right)
    return figure


def size_figure(sizes: Sequence[int], results: Mapping[str, Float[Tensor, "seeds sizes"]]) -> "matplotlib.figure.Figure":
    """Test accuracy by number of training pictures: the mean over seeds as a line, their range as a band."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(NARROW, 4.4))
    for i, (name, runs) in enumerate(results.items()):
        ax.plot(sizes, runs.mean(0).numpy(), "o-", ms=4, color=COLOURS[i], label=name)
        ax.fill_between(sizes, runs.amin(0).numpy(), runs.amax(0).numpy(), color=COLOURS[i], alpha=0.15, lw=0)
    ax.set(xscale="log", xlabel="training pictures", ylabel="test accuracy", ylim=(0, 1))
    ax.set_xticks(list(sizes), [str(size) for size in sizes])
    ax.minorticks_off()
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    return figure
