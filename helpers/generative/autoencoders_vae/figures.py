"""What the page on autoencoders and VAEs draws."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float, Int64
from torch import Tensor

from helpers.plotting import COLOURS, INK
from helpers.plotting.diagrams import arrow, box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

BLUE, ORANGE, GREEN = COLOURS[:3]


def vae() -> "matplotlib.axes.Axes":
    """The variational autoencoder: encoder, sample with noise from outside, decoder, and the two terms of its loss."""
    ax = diagram(12.4, 6.0, scale=0.43)
    write(ax, (0.6, 3.6), "x")
    box(ax, (2.3, 3.6), "encoder\nq(z|x)", width=1.9, height=1.5, colour=BLUE)
    box(ax, (4.9, 3.6), "", width=1.5, height=3.0, colour=ORANGE)  # the code's distribution, which the rate judges
    box(ax, (4.9, 4.4), "μ", width=0.8, height=0.8, colour=BLUE)
    box(ax, (4.9, 2.8), "σ", width=0.8, height=0.8, colour=BLUE)
    box(ax, (7.2, 3.6), "z = μ + σ ε", width=2.2, height=0.9)
    write(ax, (7.2, 5.6), "noise ε")
    box(ax, (10.0, 3.6), "decoder\np(x|z)", width=1.9, height=1.5, colour=GREEN)
    write(ax, (12.0, 3.6), "x̂", colour=GREEN)
    arrow(ax, [(0.85, 3.6), (1.35, 3.6)])
    for y in (4.4, 2.8):
        arrow(ax, [(3.25, 3.6), (3.8, 3.6), (3.8, y), (4.5, y)], colour=BLUE)
        arrow(ax, [(5.3, y), (5.75, y), (5.75, 3.6), (6.1, 3.6)], colour=BLUE)
    arrow(ax, [(7.2, 5.3), (7.2, 4.05)])
    arrow(ax, [(8.3, 3.6), (9.05, 3.6)])
    arrow(ax, [(10.95, 3.6), (11.7, 3.6)], colour=GREEN)
    arrow(ax, [(4.9, 2.1), (4.9, 1.35)], colour=ORANGE, style="--")
    write(ax, (4.9, 0.9), "KL(q, N(0, I)): rate", colour=ORANGE)
    arrow(ax, [(10.0, 2.85), (10.0, 1.35)], colour=ORANGE, style="--")
    write(ax, (10.0, 0.9), "−log p(x|z): distortion", colour=ORANGE)
    return ax


def codes(
    found: Mapping[str, Float[Tensor, "n 2"]], labels: Int64[Tensor, "n"], circles: str
) -> "matplotlib.figure.Figure":
    """Codes of two numbers, each as its digit, a panel for each network; one and two deviations around 0 in `circles`."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(6.4, 3.3), dpi=80)
    for ax, (name, code) in zip(axes, found.items(), strict=True):
        for k in range(10):  # six colours, so that two classes share one
            points = code[labels == k].cpu()
            ax.plot(*points.T, ls="", marker=f"${k}$", color=COLOURS[k % 6], markersize=5, mew=0.4)
        if name == circles:
            for radius in (1, 2):
                ax.add_patch(pyplot.Circle((0, 0), radius, fill=False, color=INK, lw=1))
        ax.set(title=name, aspect="equal")
        ax.grid(False)
    return figure
