"""What the page on distillation draws: teacher and student, one answer at several temperatures, accuracy by data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.convnets.architectures.figures import draw_block
from helpers.efficiency.distillation.targets import soft_targets
from helpers.plotting import COLOURS, INK, curves, heat_map, image_grid
from helpers.plotting.canvas import Number

if TYPE_CHECKING:
    import matplotlib.figure


def temperatures(
    image: Float[Tensor, "c h w"], logits: Float[Tensor, " k"], label: int, degrees: Sequence[Number] = (1, 2, 5, 20)
) -> "matplotlib.figure.Figure":
    """A digit, and the teacher's answer at several temperatures; the bar of the label is orange."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 1 + len(degrees), figsize=(6.4, 2.1), width_ratios=[1.3, *[1] * len(degrees)])
    image_grid(image[None].cpu(), ax=axes[0])
    for ax, T in zip(axes[1:], degrees):
        bars = ax.bar(range(len(logits)), soft_targets(logits[None], T)[0].cpu(), color=COLOURS[0])
        bars[label].set_color(COLOURS[1])
        ax.set(title=f"T = {T}", xticks=[0, 3, 6, 9], ylim=(0, 1.02), yticks=[0, 0.5, 1] if ax is axes[1] else [])
    axes[1].set(ylabel="share")
    figure.supxlabel("digit", fontsize=11)
    return figure


def teacher_and_student() -> "matplotlib.figure.Figure":
    """Both networks read the same images; the student's answer is compared with the teacher's and with the label."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(5.2, 3.4))
    parts = {
        "images": (1, 0, "images"),
        "teacher": (0, 1, "teacher, fixed"),
        "student": (2, 1, "student"),
        "targets": (0, 2, "softmax(v / T)"),
        "soft answer": (1.3, 2, "softmax(z / T)"),
        "answer": (2.5, 2, "softmax(z)"),
        "labels": (3.5, 2, "labels"),
        "soft": (0.65, 3, "soft loss"),
        "hard": (3.0, 3, "hard loss"),
        "sum": (1.8, 4, "w T² · soft + (1 − w) · hard"),
    }
    arrows = [
        ("images", "teacher"),
        ("images", "student"),
        ("teacher", "targets"),
        ("student", "soft answer"),
        ("student", "answer"),
        ("targets", "soft"),
        ("soft answer", "soft"),
        ("answer", "hard"),
        ("labels", "hard"),
        ("soft", "sum"),
        ("hard", "sum"),
    ]
    draw_block(ax, parts, arrows)
    return figure


def accuracy_by_size(
    sizes: Sequence[int], runs: Mapping[str, Float[Tensor, "seeds sizes"]], teacher: float, *, what: str
) -> "matplotlib.figure.Figure":
    """Test accuracy against the number of training samples, a band of one deviation; dotted the teacher's."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(5.4, 3.3))
    curves(sizes, runs, band="std", ax=ax)
    ax.axhline(teacher, color=INK, ls=":")
    ax.set(xscale="log", xlabel=f"training {what}", ylabel="test accuracy")
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    return figure


def likeness_maps(said: Float[Tensor, "k k"], pixels: Float[Tensor, "k k"]) -> "matplotlib.figure.Figure":
    """Which digits the teacher takes for each other, beside the correlation of mean images; no diagonals."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(6.4, 3.4))
    for ax, matrix, name in zip(axes, (said, pixels), ("soft targets", "pixels")):
        matrix = matrix.clone().fill_diagonal_(torch.nan)
        heat_map(matrix, ax=ax, values=False, rows=range(len(matrix)), columns=range(len(matrix)))
        ax.set(title=name, xlabel="looks like")
    axes[0].set(ylabel="digit")
    return figure
