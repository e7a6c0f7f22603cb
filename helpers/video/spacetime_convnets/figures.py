"""What the page on convolutions in space and time draws."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.plotting import COLOURS, INK, curves, image_grid
from helpers.training import History
from helpers.video.spacetime_convnets.experiments import right_in_test
from helpers.video.spacetime_convnets.laterals import pathways
from helpers.video.spacetime_convnets.slowfast import SlowFast
from helpers.video.spacetime_convnets.trips import WAYS, Trips

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure


def strips(
    rows: Mapping[str, Float[Tensor, "f 3 h w"]], framed: Sequence[int]
) -> "matplotlib.axes.Axes":
    """Clips as strips of frames under each other, some columns framed."""
    from matplotlib.patches import Rectangle

    videos = torch.cat(list(rows.values()))
    frames, side = len(videos) // len(rows), videos.shape[3]
    ax = image_grid(videos, columns=frames, width=6.4, rows=list(rows))
    pitch = side * 1.06  # a frame and the gap behind it
    for frame in framed:
        corner, tall = (pitch * frame - 1.5, -2), pitch * len(rows)
        box = dict(lw=2, fill=False, edgecolor=COLOURS[1], zorder=5)
        ax.add_patch(Rectangle(corner, side + 3, tall, **box))
    return ax


def moment(twins: Trips, t: int) -> "matplotlib.figure.Figure":
    """Frame `t` of four twins; below, what the slow frames show by then."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(4.2, 2.5), dpi=72)
    last = twins.videos.shape[1] - 1
    every, slow = twins.videos[:, t], twins.videos[:, last * (t == last)]
    image_grid(
        torch.cat([every, slow]),
        columns=len(WAYS),
        ax=ax,
        rows=["all frames", "slow frames"],
        labels=[*WAYS, *[""] * len(WAYS)],
    )
    return figure


def what_and_way(
    lessons: Mapping[str, Sequence[History]],
) -> "matplotlib.figure.Figure":
    """Learning curves of both answers, a panel each; dotted: chance."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(6.4, 2.9), sharey=True)
    steps = next(iter(lessons.values()))[0].steps("test way").tolist()
    for ax, asked in zip(axes, ("what", "way")):
        right = {
            name: right_in_test(histories, asked)
            for name, histories in lessons.items()
        }
        curves(steps, right, ax=ax)
        ax.axhline(1 / 4, color=INK, ls=":")
        ax.set(xlabel="steps", ylabel=f"right: {asked}", ylim=(0, 1.02))
    title = axes[0].get_legend().get_title().get_text()
    entries = axes[0].get_legend_handles_labels()
    for ax in axes:
        ax.get_legend().remove()
    figure.legend(
        *entries,
        ncols=2,
        loc="outside upper center",
        title=title,
        alignment="left",
    )
    return figure


def filters(
    before: Float[Tensor, "o c 3 h w"], after: Float[Tensor, "o c 3 h w"]
) -> "matplotlib.axes.Axes":
    """The eight filters that change most along time, frame by frame."""
    moves = (after - after.mean(2, keepdim=True)).flatten(1).norm(dim=1)
    eight = moves.argsort(descending=True)[:8]
    reach = after[eight].abs().amax((1, 2, 3, 4)).view(-1, 1, 1, 1)
    rows, pictures = [], []
    for when, bank in (("before", before[eight]), ("after", after[eight])):
        for t in range(3):
            rows.append(f"{when}, frame {t + 1}")
            pictures.append(0.5 + bank[:, :, t] / reach / 2)
    return image_grid(
        torch.cat(pictures).clamp(0, 1), columns=8, width=4.6, rows=rows
    )


def two_pathways(
    network: SlowFast, frames: int, image: int
) -> "matplotlib.figure.Figure":
    """SlowFast's forward pass: each level of both pathways with its sizes.

    `network` is on the meta device. A block is as tall as its maps have
    frames, and as wide as the root of their channels.
    """
    from matplotlib import pyplot
    from matplotlib.patches import FancyBboxPatch

    clip = torch.empty(1, frames, 3, image, image, device="meta")
    paths = dict(zip("01", pathways(clip, network.alpha)))
    figure, ax = pyplot.subplots(figsize=(6.4, 3.3))
    levels = network.blocks[:-2]
    for i, level in enumerate(levels):
        for row, x in paths.items():
            part = level.multipathway_blocks[row](x)
            channels, time, side = part.shape[1:4]
            y, tall = 1.6 * (row == "0"), 0.25 + 0.025 * time
            wide = 0.10 + 0.012 * channels**0.5
            box = FancyBboxPatch(
                (i - wide / 2, y - tall / 2),
                wide,
                tall,
                lw=0,
                boxstyle="round,pad=0.02",
                color=COLOURS[row == "1"],
            )
            ax.add_patch(box)
            text = f"{time} x {side}²\n{channels} channels"
            below = y - 1.05 if row == "1" else y + 0.34
            ax.text(i, below, text, ha="center", size=8.5)
        paths = level(paths)
        if level.multipathway_fusion is not None:
            told = level.multipathway_fusion.outputs
            arrow = dict(arrowstyle="->", color=COLOURS[2], lw=1.6)
            ends = (i + 0.42, 1.5), (i + 0.06, 0.55)
            ax.annotate("", *ends, arrowprops=arrow)
            ax.text(i + 0.3, 0.85, f"+ {told}", color=COLOURS[2], size=8.5)
        if i + 1 < len(levels):  # on to the next level
            for y in (0, 1.6):
                arrow = dict(arrowstyle="->", color=INK, lw=0.8)
                ends = (i + 0.7, y), (i + 0.45, y)
                ax.annotate("", *ends, arrowprops=arrow)
    stages = [f"stage {i + 1}" for i in range(1, len(levels))]
    ax.set(
        xlim=(-0.6, len(levels) - 0.4),
        ylim=(-1.2, 2.5),
        xticks=range(len(levels)),
        yticks=(0, 1.6),
    )
    ax.set_xticklabels(["stem", *stages])
    ax.set_yticklabels(["fast", "slow"])
    ax.grid(False)
    return figure
