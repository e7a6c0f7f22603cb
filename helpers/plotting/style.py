"""The book's figure style: transparent figures whose ink and colours read on a white page and on a dark one."""

import sys

INK = "#797979"
"""The grey of axes and text: contrast 4.3 on white and on #121212."""

COLOURS = ("#2370c8", "#dd8c00", "#009a70", "#d06fae", "#b5420f", "#44aaea")
"""Blue, orange, green, pink, rust, sky: the hues of Okabe and Ito (2008), moved to a contrast of at least 2.5 on white
and on #121212, and still told apart by readers who are colour-blind."""

WIDTH = 6.4
"""Inches across a page."""


def use_style() -> None:
    """Set matplotlib's defaults for this process: what every notebook of the book begins with.

    Figures are transparent, 6.4 inches wide, with text of 10 and 11 points, so that a page 700 pixels wide and a phone
    both show them legibly. The seventh line of a plot repeats the first colour, dashed. PNG files name no program, so
    that their bytes depend on the picture alone. For a picture of your own inside `plt.imshow`, turn the grid off:
    `ax.grid(False)`.
    """
    import matplotlib
    from cycler import cycler

    matplotlib.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.8),
            "figure.dpi": 120,
            "figure.facecolor": "none",
            "figure.edgecolor": "none",
            "figure.constrained_layout.use": True,
            "savefig.dpi": "figure",
            "savefig.facecolor": "none",
            "savefig.edgecolor": "none",
            "savefig.bbox": "tight",
            "savefig.pad_inches": 0.05,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "figure.titlesize": 12,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "legend.title_fontsize": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "patch.edgecolor": INK,
            "hatch.color": INK,
            "boxplot.flierprops.markeredgecolor": INK,
            "boxplot.boxprops.color": INK,
            "boxplot.whiskerprops.color": INK,
            "boxplot.capprops.color": INK,
            "axes.facecolor": "none",
            "axes.prop_cycle": cycler(linestyle=["-", "--"]) * cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": INK,
            "grid.alpha": 0.22,
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "legend.frameon": False,
            "image.cmap": "viridis",
            "svg.hashsalt": "deep-learning-executed",
        }
    )
    if "IPython" in sys.modules:
        _set_inline_metadata()


def ink_on(colour: tuple[float, ...]) -> str:
    """Black or white, whichever contrasts more with the opaque sRGB `colour` (three or four numbers in [0, 1])."""
    return "black" if luminance(colour) > 0.179 else "white"


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of an sRGB colour, from 0 (black) to 1 (white), as WCAG 2 defines it."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in map(float, colour[:3]))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _set_inline_metadata() -> None:
    """Leave the program's name and version out of the PNGs that a notebook stores."""
    from IPython import get_ipython

    shell = get_ipython()
    if not hasattr(shell, "kernel"):
        return  # a terminal shows no inline figures
    from matplotlib_inline.backend_inline import set_matplotlib_formats
    from matplotlib_inline.config import InlineBackend

    config = InlineBackend.instance(parent=shell)
    if not config.figure_formats <= {"png", "retina", "png2x"}:
        return  # the SVG and PDF writers refuse the key
    config.print_figure_kwargs = {**config.print_figure_kwargs, "metadata": {"Software": None}}
    set_matplotlib_formats(*config.figure_formats)
