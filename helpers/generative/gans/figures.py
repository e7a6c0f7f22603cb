"""What the page on GANs draws."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.generative.gans.experiments import SPAN, Quality, Turns, View, World
from helpers.plotting import COLOURS, INK, animate, curves, dots
from helpers.plotting.diagrams import arrow, box, diagram, write

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

    from helpers.plotting.animation import Animation

BLUE, ORANGE, GREEN = COLOURS[:3]
LEVELS = [0, 0.2, 0.4, 0.6, 0.8, 1]  # of a probability
LIMITS = dict(aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))


def tint() -> "matplotlib.colors.Colormap":
    """From orange, fake, to blue, real."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("fake to real", [ORANGE, "#cccccc", BLUE])


def games(world: World, watched: Mapping[str, Sequence[View]], *, fps: float = 4) -> "Animation":
    """Games side by side as they went on, each with as many views: opinion as ground, centres and samples on it."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(watched), figsize=(3.2 * len(watched), 3.3), dpi=70, squeeze=False)
    colours = tint()

    def draw(frame: int) -> "matplotlib.figure.Figure":
        for ax, (name, views) in zip(axes[0], watched.items(), strict=True):
            ax.clear()
            ax.contourf(SPAN, SPAN, views[frame].opinion, LEVELS, cmap=colours, alpha=0.6)
            ax.plot(*world.centres.T, "+", color=INK, markersize=9)
            ax.plot(*views[frame].points.T, ".", color="black", markersize=3)
            ax.set(title=name, xticks=[], yticks=[], **LIMITS)
            ax.grid(False)
        return figure

    return animate(draw, range(min(map(len, watched.values()))), fps=fps)


def players() -> "matplotlib.axes.Axes":
    """The two players: how samples go to the discriminator, and how the two gradients come back."""
    ax = diagram(10.4, 5.4, scale=0.5)
    write(ax, (0.5, 3.9), "noise z")
    box(ax, (3.0, 3.9), "generator\nG", width=2.2, height=1.3, colour=ORANGE)
    write(ax, (5.15, 4.25), "G(z)", colour=ORANGE)
    write(ax, (3.0, 1.5), "data x", colour=BLUE)
    box(ax, (7.3, 2.7), "discriminator\nD", width=2.6, height=1.3, colour=GREEN)
    write(ax, (9.75, 3.05), "D(x)", colour=GREEN)
    arrow(ax, [(1.2, 3.9), (1.9, 3.9)])
    arrow(ax, [(4.1, 3.9), (6.4, 3.9), (6.4, 3.35)], colour=ORANGE)
    arrow(ax, [(3.75, 1.5), (6.4, 1.5), (6.4, 2.05)], colour=BLUE)
    arrow(ax, [(8.6, 2.7), (10.2, 2.7)], colour=GREEN)
    arrow(ax, [(9.5, 2.6), (9.5, 1.1), (7.6, 1.1), (7.6, 2.05)], colour=GREEN, style="--")
    write(ax, (7.0, 0.55), "D's turn: data up, samples down", colour=GREEN)
    arrow(ax, [(7.6, 3.35), (7.6, 4.95), (3.0, 4.95), (3.0, 4.55)], colour=ORANGE, style="--")
    write(ax, (5.3, 5.2), "G's turn: samples up, through D", colour=ORANGE)
    return ax


def turns(moment: Turns) -> "matplotlib.figure.Figure":
    """The change that ten steps of D make to its opinion, and the gradient at each sample."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.4, 3.4))
    change = moment.after - moment.before
    most = change.abs().max()
    left.pcolormesh(SPAN, SPAN, change, cmap="PuOr", vmin=-most, vmax=most, alpha=0.8)
    left.plot(*moment.real.T, ".", color=BLUE, markersize=3, label="real")
    left.plot(*moment.points.T, ".", color="black", markersize=3, label="fake")
    left.set_title("D's turn: its opinion changes")
    right.contourf(SPAN, SPAN, moment.after, LEVELS, cmap=tint(), alpha=0.6)
    uphill = -moment.pull / moment.pull.norm(dim=1).mean() * 0.4
    right.quiver(*moment.points.T, *uphill.T, angles="xy", width=0.005, scale_units="xy", scale=1)
    right.set_title("G's turn: the fakes climb it")
    for ax in (left, right):
        ax.set(**LIMITS)
        ax.grid(False)
    return figure


def on_the_formula(
    line: Float[Tensor, "n"],
    density: Float[Tensor, "n"],
    trained: Mapping[str, Float[Tensor, "seeds n"]],
    formulas: Mapping[str, Float[Tensor, "n"]],
) -> "matplotlib.figure.Figure":
    """Trained discriminators over the formula of the best one, a panel for each loss."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(trained), figsize=(6.4, 3))
    for ax, (name, runs) in zip(axes, trained.items(), strict=True):
        ax.plot(line, runs.T, color=BLUE, lw=1)
        ax.plot(line, formulas[name], "--", color=ORANGE, lw=2)
        ax.fill_between(line, density, color=INK, alpha=0.25, lw=0)
        ax.set(title=name, xlabel="x")
    axes[0].set_ylabel("D(x)")
    return figure


def gradients(
    stages: Sequence[int], lengths: Mapping[str, Float[Tensor, "seeds stages"]]
) -> "matplotlib.figure.Figure":
    """The generator's gradient while the discriminator becomes sure, and the slope of three losses of a fake."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.4, 3.2))
    curves(stages, lengths, ax=left)
    left.set(yscale="log", xlabel="steps of D alone", ylabel="|gradient of G|")
    left.get_legend().set_title(None)
    outputs = torch.linspace(-6, 6, 200)
    right.plot(outputs, outputs.sigmoid(), label="minimax")
    right.plot(outputs, (-outputs).sigmoid(), label="non-saturating")
    right.plot(outputs, outputs.abs(), label="least squares")
    right.text(2.3, 2.05, "least squares", color=GREEN)
    right.set(xlabel="output of D on a fake", ylabel="|d loss / d output|", ylim=(0, 3))
    return figure


def critics(distance: Float[Tensor, "means"], readings: Mapping[str, Float[Tensor, "seeds means"]]) -> "matplotlib.axes.Axes":
    """What critics read over the true distance, a line for each seed."""
    from matplotlib import pyplot

    _, ax = pyplot.subplots(figsize=(5.4, 3.2))
    for (name, runs), colour in zip(readings.items(), COLOURS, strict=False):
        lines = ax.plot(distance, runs.T, "o-", color=colour)
        lines[0].set_label(name)
    ax.axhline(1, color=INK, ls=":")
    ax.legend()
    ax.set(xlabel="scipy's W₁", ylabel="critic / W₁", ylim=(0, 1.3))
    return ax


def scores(
    found: Mapping[tuple[str, str], Sequence[tuple[int, float]]], modes: Mapping[str, int], losses: Sequence[str]
) -> "matplotlib.figure.Figure":
    """Modes covered and the fraction of good samples of (world, loss), a row of panels for each world."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(modes), 2, figsize=(6.4, 2 * len(modes)), sharey=True)
    for row, (world, most) in zip(axes, modes.items(), strict=True):
        for i, ax in enumerate(row):
            dots({name: [result[i] for result in found.get((world, name), [])] for name in losses}, ax=ax)
        row[0].set(xlim=(-0.5, most + 0.5), title=f"{world}: modes of {most}")
        row[1].set(xlim=(-0.03, 1.03), title=f"{world}: good samples")
    return figure


def samples(
    made: Mapping[tuple[str, str], Float[Tensor, "n 2"]], worlds: Mapping[str, World], losses: Sequence[str]
) -> "matplotlib.figure.Figure":
    """700 samples of each loss, a row of panels for each world, on the centres."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(worlds), len(losses), figsize=(6.4, 1.45 * len(worlds)), squeeze=False)
    for row, (name, world) in zip(axes, worlds.items(), strict=True):
        for ax, loss in zip(row, losses, strict=True):
            ax.plot(*made[name, loss][:700].T, ".", color=BLUE, markersize=1.5)
            ax.plot(*world.centres.T, "+", color=ORANGE, markersize=5)
            ax.set(xticks=[], yticks=[], **LIMITS)
    for ax, loss in zip(axes[0], losses, strict=True):
        ax.set_title(loss, size=8)
    return figure


def quality(judged: Mapping[str, Sequence[Quality]]) -> "matplotlib.figure.Figure":
    """The three measures of each source of images, a dot for each seed."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(6.4, 2.2), sharey=True)
    for i, (ax, title) in enumerate(zip(axes, ("Fréchet / variance", "precision", "recall"), strict=True)):
        dots({name: [row[i] for row in rows] for name, rows in judged.items()}, spread=0, ax=ax)
        ax.set(title=title, xlim=(0, 1.03 if i else None))
    return figure
