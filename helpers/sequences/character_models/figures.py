"""What the page on character models draws."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from helpers.plotting import COLOURS, INK
from helpers.sequences.character_models.earthquakes import Records

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

BLANK = "·"
"""Stands for a space on a line that holds nothing else."""


def lines_of(text: str, columns: int) -> list[str]:
    """Lines of at most `columns` characters; where there is nothing but spaces they are seen."""
    broken = [
        part
        for line in text.strip("\n").split("\n")
        for part in wrap(line, columns, drop_whitespace=False, replace_whitespace=False) or [""]
    ]
    return [line.replace(" ", BLANK) if line.isspace() else line for line in broken]


def pages(samples: Mapping[str, str], *, lines: int = 7, columns: int = 70) -> "matplotlib.figure.Figure":
    """The first lines of pieces of text, each under its title."""
    from matplotlib import pyplot

    rows = len(samples) * (lines + 2)
    figure, ax = pyplot.subplots(figsize=(6.4, 0.155 * rows))
    ax.set(xlim=(0, columns), ylim=(rows, 0))
    ax.axis("off")
    for i, (title, text) in enumerate(samples.items()):
        top = i * (lines + 2) + 0.5
        ax.text(0, top, title, color=COLOURS[0], weight="bold", size=9.5)
        for j, line in enumerate(lines_of(text, columns)[:lines]):
            ax.text(0, top + 1.1 + j, line, family="monospace", size=8.6, parse_math=False)
    return figure


def bits(found: Mapping[str, Sequence[float]]) -> "matplotlib.figure.Figure":
    """Bits per character of each method as bars, with the range of the seeds."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(6.4, 4.4))
    kinds = {"gram": 0, "alone": 1, "primed": 2}
    for row, (name, values) in enumerate(found.items()):
        kind = next((k for key, k in kinds.items() if key in name), 4)
        ax.barh(row, np.mean(values), color=COLOURS[kind], height=0.7)
        if len(values) > 1:
            ax.plot([min(values), max(values)], [row, row], color=INK, lw=3)
        ax.text(max(values) + 0.05, row, f"{np.mean(values):.2f}", va="center", size=9)
    ax.set(yticks=range(len(found)), yticklabels=list(found), ylim=(len(found) - 0.4, -0.6))
    ax.set(xlabel="bits per character of held-out text", xlim=(0, 5.4))
    ax.grid(False)
    return figure


def record(test: Records, heads: Float[Tensor, "b 3 t"], one: int) -> "matplotlib.figure.Figure":
    """A record with its true arrivals, and the three outputs of a network beneath it."""
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, 1, figsize=(6.4, 3.6), sharex=True)
    seconds = np.arange(test.waves.shape[2]) / 25
    for i, wave in enumerate(test.waves[one]):
        upper.plot(seconds, wave / 6 - i, lw=0.8, color=INK)
    for head, label, colour in zip(heads[one], ("event", "P", "S"), COLOURS, strict=False):
        lower.plot(seconds, head, label=label, color=colour)
    for arrival, colour in ((test.p, COLOURS[1]), (test.s, COLOURS[2])):
        upper.axvline(arrival[one] / 25, color=colour)
    upper.set(yticks=[0, -1, -2], yticklabels=["vertical", "north", "east"])
    lower.set(xlabel="seconds", ylabel="probability", ylim=(-0.05, 1.05))
    lower.legend(loc="upper right")
    return figure
