"""What the page on detection draws."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.errors import KINDS, Errors
from helpers.localization.detection.experiments import (
    DETECTORS,
    SHAPES,
    Scenes,
)
from helpers.localization.detection.nms import Step
from helpers.plotting import COLOURS, INK, boxes, heat_map, image_grid

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Figure = "matplotlib.figure.Figure"
HUES = dict(zip(DETECTORS, (*COLOURS, INK), strict=False))
"""A colour for each detector."""
BESIDE = {"sliding window": ((-8, -8), "right"), "R-FCN": ((-8, -16), "right")}
"""Names that stand beside their dots, since others are near."""


def panels(scene: Float[Tensor, "1 3 h w"], count: int, height: float) -> tuple[Figure, list]:
    """A figure with `count` axes in a row, the scene in each."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, count, figsize=(6.4, height), dpi=90)
    for ax in axes:
        image_grid(scene.cpu(), ax=ax)
    return figure, axes


def over(ax: "matplotlib.axes.Axes", values: Tensor, side: int, alpha: float, **options) -> None:
    """A map of values, laid over a whole scene of `side` pixels."""
    ax.imshow(values.detach().cpu(), extent=(0, side, side, 0), alpha=alpha, **options)


def names_of(labels: Tensor) -> list[str]:
    """Labels as words."""
    return [SHAPES[i] for i in labels.tolist()]


def scenes(truth: Scenes, chosen: Sequence[int]) -> Figure:
    """Four scenes with their true boxes; the first has the names, too."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(6.4, 1.9), dpi=80)
    for n, (ax, i) in enumerate(zip(axes, chosen, strict=True)):
        image_grid(truth.images[[i]].cpu(), ax=ax)
        boxes(ax, truth.boxes[i], None if n else names_of(truth.labels[i]))
    return figure


def one_cell(
    scene: Float[Tensor, "1 3 h w"],
    anchors: Float[Tensor, "n 4"],
    use: Float[Tensor, "h w"],
    *,
    step: int,
) -> Figure:
    """The centres of all cells with the anchors at one of them, and which pixels that cell depends on."""
    figure, (left, right) = panels(scene, 2, 3.2)
    side = scene.shape[-1]
    at = torch.arange(step / 2, side, step)
    left.plot(*torch.cartesian_prod(at, at).T, ".", color=INK, markersize=3)
    boxes(left, anchors, colour=COLOURS[1])
    left.set_title("cells, and three anchors at one")
    over(right, use / use.max(), side, 0.75)
    right.set_title("what that cell looks at")
    return figure


def windows(
    scene: Float[Tensor, "1 3 h w"],
    levels: Sequence[Float[Tensor, "_ _"]],
    sizes: Sequence[float],
    left: Float[Tensor, "n 4"],
) -> Figure:
    """The probability of an object in windows of three sizes, and the windows that are left."""
    figure, axes = panels(scene, 4, 1.9)
    side = scene.shape[-1]
    for ax, level, size in zip(axes, levels, sizes):
        edge = (size - size / 5) / 2  # half of what is no middle of a window
        extent = (edge, side - edge, side - edge, edge)
        ax.imshow(level.cpu(), extent=extent, alpha=0.7, vmin=0, vmax=1)
        ax.set_title(f"windows of {size:.0f}")
    boxes(axes[3], left)
    axes[3].set_title("what is left")
    return figure


def proposals(scene: Float[Tensor, "1 3 h w"], proposed: Float[Tensor, "n 4"], best: Float[Tensor, "m 4"]) -> Figure:
    """The first thirty proposals, and the best one for each object."""
    figure, axes = panels(scene, 2, 3.2)
    boxes(axes[0], proposed[:30], colour=COLOURS[0])
    axes[0].set_title("30 proposals")
    boxes(axes[1], best, colour=COLOURS[2])
    axes[1].set_title("the best for each object")
    return figure


def roi_pooling(
    scene: Float[Tensor, "1 3 h w"], features: Float[Tensor, "1 c _ _"], region: Float[Tensor, "1 4"], *, step: int
) -> Figure:
    """Where RoI pooling and RoIAlign with 4x4 bins of 2x2 points read the map of a region."""
    figure, axes = panels(scene, 2, 3.2)
    side = scene.shape[-1]
    for ax in axes:
        over(ax, features.norm(dim=1)[0], side, 0.55)
        boxes(ax, region, colour=COLOURS[1])
    rounded = (region / step).round() * step + region.new_tensor([0, 0, step, step])
    boxes(axes[0], rounded.clamp(max=side), colour=COLOURS[4])
    axes[0].set_title("RoI pooling: rounded")
    x1, y1, x2, y2 = region[0].tolist()
    share = (torch.arange(8) + 0.5) / 8
    points = torch.cartesian_prod(x1 + share * (x2 - x1), y1 + share * (y2 - y1))
    axes[1].plot(*points.T, ".", color="white", markersize=3)
    axes[1].set_title("RoIAlign: 4x4 bins of 2x2 points")
    return figure


def proposing(
    scene: Float[Tensor, "1 3 h w"], objectness: Float[Tensor, "_ _"], proposed: Float[Tensor, "n 4"]
) -> Figure:
    """Where a region proposal network sees an object, and its first sixteen proposals."""
    figure, axes = panels(scene, 2, 3.2)
    over(axes[0], objectness, scene.shape[-1], 0.7, vmin=0, vmax=1)
    axes[0].set_title("an object here?")
    boxes(axes[1], proposed[:16], colour=COLOURS[0])
    axes[1].set_title("16 proposals")
    return figure


def recalls(
    numbers: Sequence[int], curves: Mapping[float, Mapping[str, Sequence[Sequence[float]]]]
) -> Figure:
    """Recall against the number of proposals: a panel for each overlap, a colour for each source, a line a run."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(6.4, 2.8), dpi=90, sharey=True)
    for ax, (overlap, sources) in zip(axes, curves.items(), strict=True):
        for (name, runs), hue in zip(sources.items(), COLOURS):
            for i, heights in enumerate(runs):
                ax.plot(numbers, heights, "o-", color=hue, label=None if i else name)
        ax.set(xscale="log", xlabel="proposals", title=f"overlap {overlap}", ylim=(0, 1.03))
        ax.set_xticks([5, 20, 100, 300], ["5", "20", "100", "300"])
        ax.minorticks_off()
    axes[0].set_ylabel("recall")
    axes[1].legend(loc="center right", bbox_to_anchor=(1, 0.42))
    return figure


def score_maps(scene: Float[Tensor, "1 3 h w"], maps: Float[Tensor, "9 _ _"], name: str) -> Figure:
    """R-FCN's nine position-sensitive maps of one class."""
    figure, axes = panels(scene, 9, 0.95)
    for ax, group in zip(axes, maps, strict=True):
        over(ax, group, scene.shape[-1], 0.8)
    figure.suptitle(f"nine votes for {name}, from upper left to lower right")
    return figure


def responsible(
    scene: Float[Tensor, "1 3 h w"], truth: Float[Tensor, "n 4"], matched: Float[Tensor, "m 4"], *, cell: int
) -> Figure:
    """YOLO's cells with the centres of the objects, and the default boxes that are matched to objects."""
    figure, axes = panels(scene, 2, 3.2)
    side = scene.shape[-1]
    for line in range(0, side + 1, cell):
        axes[0].plot([0, side], [line, line], color="white", lw=0.8)
        axes[0].plot([line, line], [0, side], color="white", lw=0.8)
    centre = (truth[:, :2] + truth[:, 2:]) / 2
    axes[0].plot(*centre.T.cpu(), "o", color=COLOURS[1])
    axes[0].set_title("YOLO: whose cell?")
    boxes(axes[1], matched.clamp(0, side), colour=COLOURS[1])
    axes[1].set_title("SSD: matched default boxes")
    return figure


def matching(
    scene: Float[Tensor, "1 3 h w"], anchors: Sequence[Float[Tensor, "_ 4"]], names: Sequence[str], truth: Tensor
) -> Figure:
    """Anchors of several fates, a panel for each, with the true boxes in grey."""
    figure, axes = panels(scene, len(names), 2.3)
    for ax, some, name, hue in zip(axes, anchors, names, (COLOURS[2], COLOURS[1], COLOURS[0])):
        boxes(ax, some.clamp(0, scene.shape[-1]), colour=hue)
        boxes(ax, truth, colour=INK)
        ax.set_title(f"{len(some)} {name}")
    return figure


def all_detectors(
    scene: Float[Tensor, "1 3 h w"], truth: Float[Tensor, "n 4"], labels: Tensor, found: Mapping[str, Detections]
) -> Figure:
    """The scene with its true boxes and their names, and once more with the boxes and confidences of each of seven
    detectors; a colour stands for a class."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(6.4, 3.9), dpi=80)
    first, *others = axes.flat
    image_grid(scene.cpu(), ax=first)
    first.set_title("the truth", pad=8)
    for box, label in zip(truth, labels.tolist(), strict=True):
        boxes(first, box[None], [SHAPES[label]], colour=COLOURS[label])
    for ax, (name, d) in zip(others, found.items(), strict=True):
        image_grid(scene.cpu(), ax=ax)
        ax.set_title(name, pad=8)
        for box, score, label in zip(d.boxes, d.scores, d.labels.tolist(), strict=True):
            boxes(ax, box[None], scores=score[None], colour=COLOURS[label])
    return figure


def sheet(
    values: Mapping[str, Float[Tensor, "n"]], rates: Mapping[str, float], columns: Sequence[str]
) -> Figure:
    """A row of numbers for each detector, its images per second behind the name."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 3.4), dpi=85)
    rows = [f"{name}, {rates[name]:.0f}/s" for name in values]
    numbers = torch.stack(list(values.values())).float()
    heat_map(numbers, limits=(0, 1), values=True, ax=ax, rows=rows, columns=columns)
    pyplot.setp(ax.get_xticklabels(), rotation=40, ha="right")
    return figure


def speed_and_accuracy(
    rates: Mapping[str, float],
    heights: Mapping[str, Float[Tensor, "runs"]],
    variants: Mapping[str, tuple[str, Sequence[tuple[float, float]]]],
) -> Figure:
    """Accuracy against images per second, a dot a run, with a dashed line for each variant.

    A variant has the name of its detector, and points of speed and accuracy of which the last is named.
    """
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 4), dpi=90)
    for name, runs in heights.items():
        x, top = rates[name], runs.max().item()
        ax.plot([x] * len(runs), runs, "o", color=HUES[name], markersize=7)
        place, side = BESIDE.get(name, ((0, 7), "center"))
        ax.annotate(name, (x, top), color=HUES[name], xytext=place, ha=side, textcoords="offset points")
    for text, (name, points) in variants.items():
        ax.plot(*zip(*points), ".--", color=HUES[name], lw=1)
        ax.annotate(text, points[-1], size=9, xytext=(0, -12), ha="center", textcoords="offset points")
    ax.set(xscale="log", xlabel="images per second", ylim=(-0.05, None), ylabel="mAP, overlap 0.5 to 0.95")
    ax.set_xticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
    ax.minorticks_off()
    ax.margins(x=0.12)
    return figure


def base_networks(
    rates: Mapping[tuple[str, str], float],
    heights: Mapping[tuple[str, str], Float[Tensor, "runs"]],
    parameters: Mapping[str, int],
) -> Figure:
    """A panel for each detector: accuracy over images per second, a dot a run, a colour for each base network."""
    from matplotlib import pyplot

    detectors = list(dict.fromkeys(detector for _, detector in heights))
    figure, axes = pyplot.subplots(len(detectors), 1, figsize=(5.2, 2.6 * len(detectors) + 0.6), dpi=90, sharey=True)
    for ax, detector in zip(axes, detectors):
        for (family, count), colour in zip(parameters.items(), COLOURS):
            runs = heights[family, detector]
            name = f"{family}, {count / 1000:.0f}k parameters"
            ax.plot([rates[family, detector]] * len(runs), runs, "o", color=colour, markersize=7, label=name)
        ax.set(title=detector, xlabel="images per second", ylabel="mAP, 0.5 to 0.95", ylim=(0, None))
        ax.margins(x=0.15)
    axes[0].legend(ncols=2, loc="lower center", bbox_to_anchor=(0.45, 1.12))
    return figure


def suppression(
    scene: Float[Tensor, "1 3 h w"], raw: Detections, steps: Sequence[Step], frame: int
) -> Figure:
    """All boxes (frame 0), or a step of non-maximum suppression: kept, struck out now, still waiting."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(3.4, 3.7), dpi=72)
    image_grid(scene.cpu(), ax=ax)
    corners = raw.boxes.cpu()
    if frame == 0:
        boxes(ax, corners, colour=INK)
        ax.set_title(f"{len(corners)} boxes")
        return figure
    step = steps[min(frame, len(steps)) - 1]
    boxes(ax, corners[step.waiting], colour=INK)
    boxes(ax, corners[step.struck], colour=COLOURS[1])
    boxes(ax, corners[step.kept], colour=COLOURS[0])
    ax.set_title(f"kept {len(step.kept)}, struck out {len(step.struck)}")
    return figure


def errors(sorted_out: Mapping[str, Errors], objects: int) -> Figure:
    """Correct detections, errors of each kind and missed objects, for each true object."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 3.2))
    names = list(sorted_out)
    left = torch.zeros(len(names))
    hues = [COLOURS[2], *COLOURS[:2], *COLOURS[3:5], INK]
    for kind, hue in zip([*KINDS, "missed"], hues, strict=True):
        width = torch.tensor([one.counts()[kind] / objects for one in sorted_out.values()])
        ax.barh(names, width, left=left, color=hue, label=kind)
        left = left + width
    ax.invert_yaxis()
    ax.set_xlabel("per true object")
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.45, 1))
    return figure


def precision_and_recall(curves: Mapping[float, Mapping[str, tuple[Tensor, Tensor]]], what: str) -> Figure:
    """Precision against recall, a panel for each overlap and a line for each detector, with six marks."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(6.4, 3), dpi=90, sharey=True)
    for ax, (overlap, lines) in zip(axes, curves.items(), strict=True):
        for (name, (precision, recall)), mark in zip(lines.items(), "os^vDPX"):
            every = max(1, len(recall) // 6)
            ax.plot(
                recall, precision, color=HUES[name], lw=1.4, label=name, marker=mark, markevery=every, markersize=4
            )
        ax.set(xlabel="recall", title=f"{what}, overlap {overlap}", xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 0.5, 1))
    axes[0].set_ylabel("precision")
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def gallery(truth: Scenes, found: Sequence[Detections], chosen: Sequence[int]) -> Figure:
    """Eight scenes in two rows: true boxes grey, detections coloured."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(6.4, 3.6), dpi=70)
    for ax, i in zip(axes.flat, chosen, strict=True):
        image_grid(truth.images[[i]].cpu(), ax=ax)
        boxes(ax, truth.boxes[i], colour=INK)
        boxes(ax, found[i].boxes, names_of(found[i].labels))
    return figure
