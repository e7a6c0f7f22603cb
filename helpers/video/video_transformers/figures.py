"""What the page on video transformers draws."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from helpers.plotting import COLOURS, image_grid
from helpers.video.optical_flow import flow_to_rgb
from helpers.video.video_transformers.experiments import changes
from helpers.video.video_transformers.plans import neighbourhood

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

MARKS = "osD^vP*"


def neighbourhoods(
    schemes: Mapping[str, str],
    at: tuple[int, int, int],
    sizes: tuple[int, int, int],
) -> "matplotlib.axes.Axes":
    """A row of frames for each plan: whom one patch attends to, by step.

    `schemes` names the plans; `at` and `sizes` are (t, h, w), in patches.
    """
    from matplotlib.colors import to_rgb

    hues = torch.tensor([to_rgb(c) for c in COLOURS[:3]])
    panels = []
    for plan in schemes:
        canvas = torch.full((*sizes, 3), 0.85)
        for step, hue in zip(neighbourhood(plan, at, sizes), hues):
            canvas[step.bool()] = hue
        canvas[at] = 0
        panels.append(canvas.permute(0, 3, 1, 2))
    large = torch.cat(panels).repeat_interleave(9, 2).repeat_interleave(9, 3)
    large[:, :, ::9] = large[:, :, :, ::9] = 1.0
    labels = [f"frame {t + 1}" for t in range(sizes[0])]
    return image_grid(
        large,
        columns=sizes[0],
        width=4.6,
        rows=[name.replace(" ", "\n", 1) for name in schemes.values()],
        labels=labels + [""] * (len(large) - sizes[0]),
    )


def costs(
    schemes: Mapping[str, str],
    lengths: Sequence[int],
    longer: Mapping[str, Sequence[float]],
    sides: Sequence[int],
    sharper: Mapping[str, Sequence[float]],
) -> "matplotlib.figure.Figure":
    """10¹² multiply-adds of each plan against frames, and against pixels."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(6.4, 3.0), sharey=True)
    for ax, x, work in zip(axes, (lengths, sides), (longer, sharper)):
        for (plan, label), mark, colour in zip(
            schemes.items(), MARKS, COLOURS
        ):
            ax.plot(x, work[plan], mark + "-", color=colour, ms=5, label=label)
        ax.set(xticks=x, ylim=(0, None))
    axes[0].set(xlabel="frames of 224 pixels", ylabel="10¹² multiply-adds")
    axes[1].set(xlabel="pixels a side, 8 frames")
    axes[0].legend(fontsize=8)
    return figure


def three_inputs(
    video: Float[Tensor, "f 3 h w"], flow: Float[Tensor, "l 2 h w"]
) -> "matplotlib.axes.Axes":
    """The first eight frames of a clip, what changes there, and its flow."""
    seen = changes(video[None])[0, :8].cpu()
    grey = 0.5 + seen / seen.abs().max() / 2  # what rests
    strip = [video[:8].cpu(), grey, flow_to_rgb(flow[:8].cpu())]
    return image_grid(
        torch.cat(strip),
        columns=8,
        width=6.4,
        rows=["frames", "changes", "flow"],
    )


def lit(
    video: Float[Tensor, "f 3 h w"], maps: Float[Tensor, "f p q"]
) -> "matplotlib.axes.Axes":
    """The first eight frames of a clip, and below as bright as a map is."""
    clip = video[:8].cpu()
    light = F.interpolate(maps[:8, None], size=clip.shape[2:], mode="bilinear")
    light = (light / light.max()).clamp(0, 1).cpu()
    return image_grid(
        torch.cat([clip, clip * (0.15 + 0.85 * light)]),
        columns=8,
        width=6.4,
        rows=["frames", "attention"],
    )


def right_and_fast(
    right: Mapping[str, float], speed: Mapping[str, tuple[float, float]]
) -> "matplotlib.figure.Figure":
    """Right answers against clips per second, without and with finding flow.

    `speed` has both, as `speeds` gives them; where they differ the slower
    one is hollow.
    """
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 3.0))
    for j, (name, y) in enumerate(right.items()):
        colour, mark = COLOURS[j % len(COLOURS)], MARKS[j % len(MARKS)]
        alone, slower = speed[name]
        ax.plot(alone, y, mark, color=colour, ms=8, label=name)
        if slower < alone:
            ax.plot([slower, alone], [y, y], ":", color=colour)
            ax.plot(slower, y, mark, color=colour, ms=8, mfc="none")
    ax.set(
        xscale="log",
        xlabel="clips per second, one thread (hollow: with finding the flow)",
        ylabel="right answers",
        ylim=(0, 1),
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
