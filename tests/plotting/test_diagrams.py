"""Drawings of machines: boxes lie where they are asked for, arrows end where they should."""

import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch

from helpers.plotting import COLOURS
from helpers.plotting.diagrams import arrow, box, diagram, write


@pytest.fixture
def ax():
    yield diagram(4, 3, scale=0.5)
    pyplot.close("all")


def test_a_diagram_has_the_size_that_it_is_asked_for(ax):
    assert (*ax.get_xlim(), *ax.get_ylim()) == (0, 4, 0, 3)
    assert list(ax.figure.get_size_inches()) == [2, 1.5]
    assert not ax.axison


def test_a_box_surrounds_its_middle_and_its_words(ax):
    box(ax, (2, 1), "cell", width=1.5, height=0.5, colour=COLOURS[1])
    (patch,) = (p for p in ax.patches if isinstance(p, FancyBboxPatch))
    assert (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) == (1.25, 0.75, 1.5, 0.5)
    (text,) = ax.texts
    assert text.get_text() == "cell" and text.get_position() == (2, 1)
    assert to_hex(patch.get_edgecolor()) == to_hex(text.get_color()) == to_hex(COLOURS[1])


def test_an_arrow_passes_its_points_and_ends_at_the_last(ax):
    arrow(ax, [(0, 0), (1, 0), (1, 2)], style="--")
    (line,), (head,) = ax.lines, ax.texts
    assert list(zip(*line.get_data(), strict=True)) == [(0, 0), (1, 0)]
    assert head.xy == (1, 2) and head.get_position() == (1, 0)


def test_words_begin_where_they_are_asked_to(ax):
    write(ax, (1, 1), "h", align="left")
    assert ax.texts[0].get_ha() == "left"


def test_bad_input_is_named(ax):
    with pytest.raises(ValueError, match="1 points: an arrow leads from one to another"):
        arrow(ax, [(0, 0)])
    with pytest.raises(ValueError, match="height = 0: it is positive"):
        diagram(1, 0)
