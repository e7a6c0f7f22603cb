"""Rows of dots and grouped bars hold every value that they were given, at the height of its name."""

import pytest
import torch

from helpers import plotting


def test_a_dot_for_each_seed_at_the_height_of_its_name():
    ax = plotting.dots({"a": torch.tensor([1.0, 2.0, 4.0]), "none": [], "b": [3]}, spread=0.25)
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2, 4], [], [3]]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[-0.25, 0, 0.25], [], [2]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "none", "b"]
    low, high = ax.get_ylim()
    assert low > high  # the first name is on top
    colours = [line.get_color() for line in ax.lines]
    assert colours == list(plotting.COLOURS[:3])  # a row without dots keeps its colour


def test_rows_that_would_touch_are_refused():
    with pytest.raises(ValueError, match="spread = 0.5: from 0 to below 0.5"):
        plotting.dots({"a": [1]}, spread=0.5)


def test_bars_of_a_row_lie_beside_each_other_with_their_seeds():
    values = {("a", "dark"): [0.2, 0.4], ("a", "light"): torch.tensor([0.5]), ("b", "light"): [1.0, 0.0]}
    ax = plotting.grouped_bars(values)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.3, 0.5, 0.5])
    assert [bar.get_y() + bar.get_height() / 2 for bar in ax.patches] == pytest.approx([-0.2, 0.2, 1.2])
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0.2, 0.4], [1, 0]]  # one seed is the bar itself
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["dark", "light"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    apart = plotting.grouped_bars({("a", "dark"): [1.0], ("b", "light"): [1.0]})  # a group that the first name lacks
    assert [text.get_text() for text in apart.get_legend().get_texts()] == ["dark", "light"]
    with pytest.raises(ValueError, match="wants values"):
        plotting.grouped_bars({})
