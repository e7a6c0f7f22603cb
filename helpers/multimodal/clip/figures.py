"""What the page on CLIP draws: the two towers, pull and push, the matrix of cosines, prompts, batches, the gap."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.plotting import COLOURS, INK, heat_map

if TYPE_CHECKING:
    import matplotlib.figure


def two_towers(pairs: int = 4) -> "matplotlib.figure.Figure":
    """Pictures through one encoder (rows), sentences through another (columns), all cosines, matches on the diagonal."""
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    figure, ax = pyplot.subplots(figsize=(5.2, 4.2))
    end = 5.2 + pairs
    ax.set(xlim=(-0.2, end + 0.2), ylim=(-pairs - 0.4, 4.2), aspect="equal")
    ax.set_axis_off()
    middle = 5 + pairs / 2
    for x, y, text in ((0.7, -pairs / 2, "pictures"), (middle, 3.8, "sentences")):
        ax.text(x, y, text, ha="center", va="center", color=INK)
    towers = ((1.75, -pairs / 2 - 0.7, 1.8, 1.4, "image\nencoder"), (middle - 0.9, 1.9, 1.8, 1.2, "text\nencoder"))
    for x, y, width, height, text in towers:
        ax.add_patch(Rectangle((x, y), width, height, facecolor="none", edgecolor=COLOURS[0], lw=1.5))
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", color=INK, size=9)
    arrow = dict(arrowstyle="-|>", color=INK)
    arrows = (
        ((1.45, -pairs / 2), (1.75, -pairs / 2)),
        ((3.55, -pairs / 2), (4.0, -pairs / 2)),
        ((middle, 3.5), (middle, 3.1)),
        ((middle, 1.9), (middle, 1.15)),
    )
    for tail, head in arrows:
        ax.annotate("", head, tail, arrowprops=arrow)
    for i in range(pairs):
        ax.text(4.45, -i - 0.5, f"$I_{i + 1}$", ha="center", va="center", color=INK)
        ax.text(5.5 + i, 0.5, f"$T_{i + 1}$", ha="center", va="center", color=INK)
        for j in range(pairs):
            face = COLOURS[1] if i == j else "none"
            ax.add_patch(Rectangle((5 + j, -i - 1), 1, 1, facecolor=face, edgecolor=INK, lw=0.8, alpha=0.6))
            ax.text(5.5 + j, -i - 0.5, f"$I_{i + 1}T_{j + 1}$", ha="center", va="center", color=INK, size=8)
    return figure


def pull_and_push(
    pictures: Float[Tensor, "n 2"],
    texts: Float[Tensor, "n 2"],
    pull: Float[Tensor, "n 2"],
    push: Float[Tensor, "n 2"],
    places: Sequence[tuple[float, float]],
) -> "matplotlib.figure.Figure":
    """Features on the unit circle, and half of each picture's pull and push; `places` of labels, from the pictures."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(4.6, 4.4))
    ax.add_patch(pyplot.Circle((0, 0), 1, fill=False, color=INK, alpha=0.3))
    for i, (x, y) in enumerate(pictures.tolist()):
        ax.plot(x, y, "o", color=INK)
        dx, dy = places[i]
        ax.text(x + dx, y + dy, f"picture {i}", va="center", ha="left" if dx > 0 else "right")
        ax.plot(*texts[i], "s", color=INK, markerfacecolor="none")
        ax.text(*0.82 * texts[i], f"text {i}", ha="center", va="center", size=8)
        for (dx, dy), colour in ((0.5 * pull[i], COLOURS[2]), (-0.5 * push[i], COLOURS[3])):
            arrow = dict(arrowstyle="->", color=colour, lw=2)
            ax.annotate("", (x + float(dx), y + float(dy)), (x, y), arrowprops=arrow)
    for colour, name in ((COLOURS[2], "pull"), (COLOURS[3], "push, away")):
        ax.plot([], [], color=colour, lw=2, label=name)
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
    ax.axis("off")
    ax.legend(loc="upper left")
    return figure


def cosine_matrix(
    cosines: Float[Tensor, "n n"], pictures: Float[Tensor, "n 3 h w"], names: Sequence[str]
) -> "matplotlib.figure.Figure":
    """Cosines of pictures (rows, as thumbnails) with sentences (columns)."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 5.2))
    n = len(names)
    heat_map(cosines, ax=ax, rows=[""] * n, values=False, diverging=True, columns=names)
    for i, picture in enumerate(pictures):
        inset = ax.inset_axes((-0.1, 1 - (i + 0.95) / n, 0.09, 0.09))
        inset.imshow(picture.permute(1, 2, 0))
        inset.axis("off")
    return figure


def prompt_bars(
    asked: Mapping[str, Sequence[float]], familiar: Collection[str], strange: Collection[str]
) -> "matplotlib.figure.Figure":
    """Accuracy by wording, a dot for each seed: familiar wordings blue, others orange, averages green."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 3.6))
    for i, (prompt, row) in enumerate(asked.items()):
        colour = COLOURS[0 if prompt in familiar else 1 if prompt in strange else 2]
        ax.barh(i, sum(row) / len(row), color=colour, alpha=0.6)
        ax.plot(row, [i] * len(row), "o", color=colour, markersize=4)
    ax.set_yticks(range(len(asked)), asked)
    ax.invert_yaxis()
    ax.set(xlabel="held out, right among 48 (dots: seeds)", xlim=(0, None))
    return figure


def batch_panels(
    panels: Mapping[str, tuple[str, Sequence[int], Float[Tensor, "seeds sizes 2"]]],
) -> "matplotlib.figure.Figure":
    """Accuracy on seen and on held-out combinations by size, a dot for each seed; a title gives (label, sizes, scores)."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(6.4, 3.1), sharey=True)
    for ax, (title, (label, sizes, scores)) in zip(axes, panels.items()):
        for k, name in enumerate(("seen", "held out")):
            ax.plot(sizes, scores[..., k].mean(0), color=COLOURS[k], label=name)
            ax.plot(sizes, scores[..., k].T, "o", color=COLOURS[k], markersize=4)
        ax.set(xscale="log", xlabel=label, title=title)
        ax.set_xticks(sizes, sizes)
        ax.minorticks_off()
    axes[0].set(ylim=(0, None), ylabel="right, of 48 (dots: seeds)")
    axes[0].legend(loc="lower right")
    return figure


def gap_scatter(
    stages: Mapping[str, tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]],
) -> "matplotlib.figure.Figure":
    """Features of pictures and of sentences along their two main directions, a panel for each stage."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(stages), figsize=(6.4, 3.1))
    for ax, (stage, pair) in zip(axes, stages.items()):
        _, _, directions = torch.pca_lowrank(torch.cat(pair), 2)
        for features, name in zip(pair, ("pictures", "sentences")):
            ax.plot(*(features @ directions).T, "o", markersize=3, alpha=0.7, label=name)
        ax.set(title=stage, xticks=[], yticks=[])
    axes[0].legend()
    return figure
