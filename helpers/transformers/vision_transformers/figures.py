"""What the page on vision transformers draws."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from helpers.plotting import COLOURS, INK, boxes, image_grid
from helpers.transformers.vision_transformers.experiments import cosines, partition
from helpers.transformers.vision_transformers.vit import patches

if TYPE_CHECKING:
    import matplotlib.figure


def words_of_a_picture(photo: Float[Tensor, "1 3 224 224"], asking: int) -> "matplotlib.figure.Figure":
    """A photograph, its 49 squares, what the square number `asking` looks at untrained, and all squares in a row.

    Query and key of a square are its colours less the mean of all squares, and of length 1; scores are times 8.
    """
    from matplotlib import pyplot

    words = patches(photo, 32)[0]
    directions = F.normalize(words - words.mean(0), dim=1)
    weights = (8 * directions @ directions[asking]).softmax(0)
    light = 0.15 + 0.85 * (weights / weights.topk(2).values[1]).clamp(max=1)
    seen = F.fold((words * light[:, None]).mT, 224, 32, stride=32)[None]
    squares = words.unflatten(1, (3, 32, 32))

    figure = pyplot.figure(figsize=(6.4, 3.9), dpi=80, layout="none")
    for i, (pictures, title) in enumerate(
        [(photo, "a picture"), (squares, "49 words"), (seen, "what one looks at")]
    ):
        ax = figure.add_axes([i / 3 + 0.005, 0.36, 0.32, 0.58])
        image_grid(pictures, columns=7, ax=ax)
        ax.set_title(title)
    row, column = divmod(asking, 7)
    boxes(ax, 32.0 * torch.tensor([[column, row, column + 1, row + 1]]), colour=COLOURS[1])
    image_grid(squares, columns=17, ax=figure.add_axes([0.005, 0.0, 0.985, 0.3]))
    return figure


def position_maps(before: Float[Tensor, "64 d"], after: Float[Tensor, "64 d"]) -> "matplotlib.figure.Figure":
    """Cosines of the positions of an 8x8 grid, a small map for each, before and after training."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(6.4, 3.3))
    for ax, positions, title in zip(axes, (before, after), ("before", "after"), strict=True):
        maps = F.pad(cosines(positions).view(8, 8, 8, 8), (0, 1, 0, 1), value=torch.nan)
        ax.imshow(maps.transpose(1, 2).flatten(2).flatten(0, 1), vmin=-1, vmax=1)
        ax.set_title(title)
        ax.axis("off")
    return figure


def looks_of_squares(
    picture: Float[Tensor, "1 1 h w"], weights: Float[Tensor, "65 65"], places: Sequence[int]
) -> "matplotlib.figure.Figure":
    """A picture, and where three of its 64 squares look, each marked, by the weights of one head."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(6.4, 1.9))
    image_grid(picture.clamp(-1.5, 1.5), limits=(-1.5, 1.5), ax=axes[0])
    axes[0].set_title("the picture")
    for ax, i in zip(axes[1:], places, strict=True):
        ax.imshow(weights[1 + i, 1:].view(8, 8))  # 0 is the class token
        ax.plot(i % 8, i // 8, "s", color=COLOURS[1], markersize=9, mfc="none")
        ax.axis("off")
    axes[2].set_title("what three squares look at")
    return figure


def partitions() -> "matplotlib.figure.Figure":
    """A map of 8x8 tokens in windows of 4, the windows moved by 2, and the moved parts after rolling the map."""
    from matplotlib import pyplot

    moved = partition(8, 4, 2)
    maps = {
        "partition": partition(8, 4, 0),
        "moved by half a window": moved,
        "rolled": moved.roll((-2, -2), (0, 1)),
    }
    figure, axes = pyplot.subplots(1, 3, figsize=(6.4, 2.5))
    for ax, (title, parts) in zip(axes, maps.items(), strict=True):
        ax.imshow(parts.unique(return_inverse=True)[1], cmap="tab10", vmin=0, vmax=9, alpha=0.75)
        if title != "moved by half a window":
            ax.axvline(3.5, color=INK)
            ax.axhline(3.5, color=INK)
        ax.set_title(title)
        ax.axis("off")
    return figure
