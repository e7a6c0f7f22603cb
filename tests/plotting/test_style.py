"""The style reads on a white page and on a dark one: contrast is computed, not asserted."""

import io
import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from PIL import Image

from helpers import plotting
from helpers.plotting.style import ink_on, luminance

PAGES = ("#ffffff", "#121212")
INKS = ("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor", "xtick.color", "ytick.color")
# What a reader without green receptors sees, on linear RGB (Machado et al. 2009).
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


@pytest.fixture
def styled():
    with matplotlib.rc_context():
        plotting.use_style()
        yield
    pyplot.close("all")


def contrast(one, other):
    dark, light = sorted((luminance(to_rgb(one)), luminance(to_rgb(other))))
    return (light + 0.05) / (dark + 0.05)


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(xyz / np.array([0.9505, 1, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_luminance_of_known_contrasts():
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#767676", "white") == pytest.approx(4.54, abs=0.01)  # the grey that WCAG's own example passes


@pytest.mark.parametrize("page", PAGES)
def test_contrast_of_every_colour(styled, page):
    for key in INKS:
        assert contrast(matplotlib.rcParams[key], page) >= 4, key
    for colour in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]:
        assert contrast(colour, page) >= 2.5, colour


def test_colours_differ_for_colour_blind_readers():
    for view in (np.eye(3), DEUTERANOPIA):
        seen = [lab((view @ linear(colour)).clip(0, 1)) for colour in plotting.COLOURS]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20


@pytest.mark.parametrize("grey", np.linspace(0, 1, 21))
def test_ink_on_any_ground_contrasts(grey):
    assert contrast(ink_on((grey, grey, grey)), (grey, grey, grey)) >= 4.5


def test_figure_is_transparent_and_legible(styled):
    figure, ax = pyplot.subplots()
    ax.set(xlabel="x", title="title")
    file = io.BytesIO()
    figure.savefig(file, metadata={"Software": None})
    image = Image.open(file)
    assert image.mode == "RGBA" and image.getpixel((0, 0))[3] == 0
    assert image.info.keys() == {"dpi"}
    assert figure.get_figwidth() == 6.4 and 700 <= image.width <= 800
    sizes = [ax.xaxis.label, ax.title, *ax.get_xticklabels()]
    assert all(text.get_fontsize() >= 9 for text in sizes)
    assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()
    assert not ax.legend(handles=[]).get_frame_on()


def test_same_figure_same_bytes(styled):
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        figure, ax = pyplot.subplots()
        ax.plot([1, 3, 2])
        figure.savefig(file)
    assert files[0].getvalue() == files[1].getvalue()


def test_seventh_line_is_dashed(styled):
    _, ax = pyplot.subplots()
    lines = [ax.plot([0, 1])[0] for _ in range(7)]
    assert [line.get_linestyle() for line in lines] == ["-"] * 6 + ["--"]
    assert lines[6].get_color() == lines[0].get_color()


def test_import_changes_nothing():
    code = "import sys, helpers.plotting; print([m for m in sys.modules if m.startswith('matplotlib')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
