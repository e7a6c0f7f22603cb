"""What the page on optical flow draws, and bars for all pages on video."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.plotting import COLOURS, INK, grouped_bars, image_grid
from helpers.plotting.diagrams import arrow, box, diagram, write
from helpers.video.optical_flow.clips import KINDS
from helpers.video.optical_flow.experiments import Clips, Comparison
from helpers.video.optical_flow.flow import flow_to_rgb
from helpers.video.optical_flow.light import even_light, stack_changes

if TYPE_CHECKING:
    import matplotlib.figure


def bars(
    comparison: Comparison, names: Sequence[str], chance: float
) -> "matplotlib.axes.Axes":
    """Right answers by network and kind: the mean as a bar, runs as dots."""
    pairs = ((name, kind) for name in names for kind in KINDS)
    return right_bars(
        {pair: comparison.right(*pair) for pair in pairs}, chance
    )


def right_bars(
    right: Mapping[tuple[str, str], Sequence[float]], chance: float
) -> "matplotlib.axes.Axes":
    """Bars of right answers by name and group; `chance` is a dotted line."""
    ax = grouped_bars(right)
    ax.axvline(chance, color=INK, ls=":")
    ax.set(xlabel="right answers (dots: seeds; dotted: chance)", xlim=(0, 1.02))
    return ax


def wheel(side: int) -> Float[Tensor, "1 3 {side} {side}"]:
    """A disk whose colours say which way a flow points, and how far."""
    steps = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return flow_to_rgb((torch.stack([x, y]) * (x.hypot(y) <= 1))[None])


def same_middle(
    videos: Mapping[str, Float[Tensor, "f 3 h w"]],
    flows: Mapping[str, Float[Tensor, "l 2 h w"]],
) -> "matplotlib.axes.Axes":
    """Clips as strips, their flow below, a wheel behind it; middle framed.

    Displacements of 5 pixels have the deepest colour.
    """
    from matplotlib.patches import Rectangle

    strips, rows = [], []
    for name, video in videos.items():
        side = video.shape[3]
        strips += [video, flow_to_rgb(flows[name], longest=5.0), wheel(side)]
        rows += [name.replace(" then ", ",\n"), ""]
    frames, pitch = len(video), side * 1.06  # a frame and the gap behind it
    ax = image_grid(torch.cat(strips), columns=frames, width=6.4, rows=rows)
    corner = (frames // 2 * pitch - 1.5, -2)
    box = dict(lw=2, fill=False, edgecolor=COLOURS[1], zorder=5)
    ax.add_patch(Rectangle(corner, side + 3.5, pitch * len(rows), **box))
    return ax


def moment(
    videos: Mapping[str, Float[Tensor, "f 3 h w"]],
    flows: Mapping[str, Float[Tensor, "l 2 h w"]],
    t: int,
) -> "matplotlib.figure.Figure":
    """Frame `t` of some clips side by side, and their flow below."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(4.6, 2.7), dpi=72)
    frames = [video[t] for video in videos.values()]
    colours = [flow_to_rgb(flows[name], longest=5.0)[t] for name in videos]
    image_grid(
        torch.stack(frames + colours),
        columns=len(videos),
        ax=ax,
        labels=[*videos, *[""] * len(videos)],
    )
    return figure


def flows_side_by_side(
    frames: Float[Tensor, "n 3 h w"],
    flows: Mapping[str, Float[Tensor, "n 2 h w"]],
) -> "matplotlib.axes.Axes":
    """A row for each frame: the frame, then flows by several methods."""
    shown = []
    for i, frame in enumerate(frames):
        colours = [flow_to_rgb(f[[i]], longest=3.0)[0] for f in flows.values()]
        shown += [frame, *colours]
    blank = [""] * (len(shown) - len(flows) - 1)
    return image_grid(
        torch.stack(shown),
        columns=len(flows) + 1,
        labels=["first frame", *flows, *blank],
    )


def two_streams(
    video: Float[Tensor, "f 3 h w"], flow: Float[Tensor, "l 2 h w"]
) -> "matplotlib.axes.Axes":
    """A clip, its frames on the way through one network and its flow through another, fused late."""
    from matplotlib.patches import Rectangle

    ax = diagram(12.0, 5.6, scale=0.45)
    rows = (
        (4.1, video, "one frame at a time", "spatial stream", COLOURS[0]),
        (1.3, flow_to_rgb(flow, longest=3.0), "all fields, stacked", "temporal stream", COLOURS[1]),
    )
    for y, pictures, words, name, colour in rows:
        for k, picture in enumerate(pictures[:: max(1, len(pictures) // 4)][:4]):
            left, low = 0.3 + 0.35 * k, y - 0.95 + 0.15 * k
            extent = (left, left + 1.6, low, low + 1.6)
            ax.imshow(picture.permute(1, 2, 0).cpu(), extent=extent, aspect="auto", zorder=k)
            ax.add_patch(Rectangle((left, low), 1.6, 1.6, fill=False, ec=INK, lw=0.6, zorder=k))
        write(ax, (1.6, y - 1.2), words, size=9)
        arrow(ax, [(3.15, y), (3.8, y)], colour=colour)
        box(ax, (5.3, y), f"{name}\nconvolutions", width=3.0, height=1.3, colour=colour)
        arrow(ax, [(6.8, y), (7.1, y)], colour=colour)
        write(ax, (7.85, y), "scores", colour=colour)
        arrow(ax, [(8.55, y), (9.2, y), (9.2, 2.7), (9.6, 2.7)], colour=colour)
    box(ax, (10.5, 2.7), "average\nor SVM", width=1.7, height=1.2)
    write(ax, (10.5, 1.75), "action", size=9)
    ax.set(xlim=(0, 12.0), ylim=(0, 5.6))
    return ax


def disparities(
    photograph: Float[Tensor, "3 h w"],
    known: Float[Tensor, "h w"],
    found: Float[Tensor, "h w"],
) -> "matplotlib.figure.Figure":
    """A photograph above the known and the found disparity, in pixels.

    Both maps have one scale, which a bar shows.
    """
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(4.6, 7.6), dpi=70)
    longest = known[known.isfinite()].max()
    titles = "left eye", "disparity, measured", "flow to the left, found"
    pictures = photograph.permute(1, 2, 0), known, found
    for ax, title, picture in zip(axes, titles, pictures):
        image = ax.imshow(picture, vmin=0, vmax=longest)
        ax.set(title=title, xticks=[], yticks=[])
        ax.grid(False)
    figure.colorbar(image, ax=axes[1:], label="pixels", shrink=0.8)
    return figure


def two_lights(
    even: Clips, flickering: Clips, i: int
) -> "matplotlib.axes.Axes":
    """Every second frame of clip `i`, its flow and its changes, by light."""
    rows: list[list[Tensor]] = [[], [], []]
    across = slice(0, even.flow.shape[1], 2)
    for clips in (even, flickering):
        grey = even_light(clips.videos[i : i + 1])
        changes = stack_changes(grey)[0, across, None] / 4 + 0.5
        parts = (
            clips.videos[i, across],
            flow_to_rgb(clips.flow[i, across], longest=3.0),
            changes.clamp(0, 1).expand(-1, 3, -1, -1),
        )
        for row, part in zip(rows, parts):
            row.append(part.cpu())
    ax = image_grid(
        torch.cat([part for row in rows for part in row]),
        columns=2 * len(rows[0][0]),
        rows=["frames", "flow", "changes"],
    )
    for quarter, light in ((1, "even light"), (3, "flickering")):
        x = quarter * ax.get_xlim()[1] / 4
        ax.text(x, -2, light, ha="center", color=INK)
    return ax
