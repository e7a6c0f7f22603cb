"""Each chart holds what it was given: lines, bands, numbers, levels and arrows are read back from the artists."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from helpers import plotting
from helpers.plotting.style import luminance


def bowl(points):
    return points[..., 0] ** 2 + 4 * points[..., 1] ** 2


def band_of(ax):
    vertices = ax.collections[0].get_paths()[0].vertices
    return {x: (vertices[vertices[:, 0] == x, 1].min(), vertices[vertices[:, 0] == x, 1].max()) for x in vertices[:, 0]}


def test_curves_show_mean_and_range():
    y = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 7.0]])
    ax = plotting.curves([10, 20, 40], y)
    assert ax.lines[0].get_xdata().tolist() == [10, 20, 40]
    assert ax.lines[0].get_ydata().tolist() == [2, 2, 5]
    assert band_of(ax) == {10: (1, 3), 20: (2, 2), 40: (3, 7)}
    assert ax.get_legend().get_title().get_text() == "mean and range of 2 seeds"


def test_curves_show_standard_deviation():
    ax = plotting.curves(None, torch.tensor([[1.0, 2.0], [3.0, 2.0]]), band="std")
    assert band_of(ax) == {0: (1, 3), 1: (2, 2)}  # the standard deviation of {1, 3} is 1
    assert "one std" in ax.get_legend().get_title().get_text()


def test_curves_by_name():
    ax = plotting.curves(range(4), {"Adam": torch.rand(3, 4), "SGD": torch.rand(5, 4), "one": torch.rand(4)})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Adam", "SGD", "one"]
    assert ax.get_legend().get_title().get_text() == "mean and range of 3 to 5 seeds"
    assert len(ax.lines) == 3 and len(ax.collections) == 2
    assert to_rgb(ax.lines[1].get_color()) == tuple(ax.collections[1].get_facecolor()[0, :3])
    assert plotting.curves(None, torch.rand(4)).get_legend() is None


def test_curves_leave_a_gap_where_a_seed_diverged():
    y = torch.tensor([[1.0, 2.0, float("inf")], [1.0, 2.0, 3.0]])
    assert np.isnan(plotting.curves(None, y).lines[0].get_ydata()).tolist() == [False, False, True]


@pytest.mark.parametrize("diverging", [False, True])
def test_heat_map_prints_legible_values(diverging):
    matrix = torch.linspace(-1, 1, 12).reshape(3, 4)
    ax = plotting.heat_map(matrix, rows="abc", columns=["p", "q", "r", "s"], diverging=diverging)
    (picture,) = ax.images
    np.testing.assert_allclose(picture.get_array(), matrix)
    assert len(ax.figure.axes) == 1  # values instead of a colour bar
    assert [text.get_text() for text in ax.texts] == [f"{v:.2f}" for v in matrix.flatten().tolist()]
    assert [tuple(text.get_position()) for text in ax.texts[:5]] == [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1)]
    for text, value in zip(ax.texts, matrix.flatten().tolist(), strict=True):
        dark, light = sorted(map(luminance, (picture.cmap(picture.norm(value)), to_rgb(text.get_color()))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]


def test_names_of_rows_and_columns_may_be_tensors():
    ax = plotting.heat_map(torch.rand(2, 3), rows=torch.tensor([4, 5]), columns=np.array(["x", "y", "z"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["4", "5"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]


def test_a_small_loss_is_no_negative_zero():
    assert [text.get_text() for text in plotting.heat_map(torch.tensor([[-0.001, 0.5]])).texts] == ["0.00", "0.50"]


def test_heat_map_of_many_cells_has_a_bar():
    ax = plotting.heat_map(torch.rand(40, 50))
    assert not ax.texts and len(ax.figure.axes) == 2
    assert not plotting.heat_map(torch.rand(3, 3), values=False).texts


def test_heat_map_limits_and_kinds():
    for values in ([[-1.0, 3.0]], [[-3.0, 1.0]]):
        assert plotting.heat_map(torch.tensor(values), diverging=True).images[0].get_clim() == (-3, 3)
    assert plotting.heat_map(torch.tensor([[0.2, 0.4]]), limits=(0, 1)).images[0].get_clim() == (0, 1)
    assert [t.get_text() for t in plotting.heat_map(torch.tensor([[1200, 3]])).texts] == ["1,200", "3"]
    assert [t.get_text() for t in plotting.heat_map(torch.tensor([[True, False]])).texts] == ["1", "0"]
    assert [t.get_text() for t in plotting.heat_map(torch.tensor([[float("-inf"), 1.0]])).texts] == ["1.00"]
    plotting.heat_map(torch.zeros(2, 2)).figure.canvas.draw()


def test_contours_are_level_lines():
    ax = plotting.contours(bowl, (-2, 2), (-1, 1), levels=4)
    filled, lines = ax.collections
    assert lines.levels == pytest.approx([8 * (i / 4) ** 2 for i in (1, 2, 3)], abs=0.01)
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        assert bowl(torch.tensor(path.vertices)).numpy() == pytest.approx(level, abs=0.02)
    assert ax.get_xlim() == (-2, 2) and ax.get_ylim() == (-1, 1)


def test_contours_keep_the_axes_apart():
    """x runs along the first coordinate: a function of it alone has vertical lines."""
    lines = plotting.contours(lambda p: p[..., 0].exp(), (0, 1), (0, 5), levels=3, power=1).collections[1]
    for path in lines.get_paths():
        assert path.vertices[:, 0].std() < 1e-3 and path.vertices[:, 1].max() == 5


def test_paths_keep_the_picture():
    ax = plotting.contours(bowl, (-2, 2), (-1, 1))
    walk = torch.tensor([[1.0, 1.0], [9.0, 9.0]])
    plotting.paths(ax, {"GD": walk, "Adam": walk / 2})
    assert [line.get_xydata().tolist() for line in ax.lines[::2]] == [walk.tolist(), (walk / 2).tolist()]
    assert [line.get_color() for line in ax.lines] == [c for c in plotting.COLOURS[:2] for _ in range(2)]
    assert ax.get_xlim() == (-2, 2)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["GD", "Adam"]


def test_paths_on_empty_axes():
    ax = plotting.paths(pyplot.subplots()[1], torch.tensor([[[0.0, 0.0], [9.0, 9.0]]] * 3))
    assert len(ax.lines) == 6 and ax.get_xlim()[1] > 9 and ax.get_legend() is None


def test_vector_field_of_an_image():
    field = torch.stack([torch.ones(3, 4), torch.zeros(3, 4)])
    field[1, 2, 1] = 2.0
    ax = plotting.vector_field(field)
    (arrows,) = ax.collections
    assert arrows.XY[:4].tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [3.5, 0.5]]
    assert arrows.U.tolist() == [1.0] * 12 and arrows.V[9] == 2 and np.count_nonzero(arrows.V) == 1
    assert ax.yaxis_inverted()
    assert np.hypot(arrows.U, arrows.V).max() / arrows.scale == pytest.approx(1)  # the longest spans one pixel


def test_vector_field_in_the_plane():
    ax = plotting.vector_field(torch.ones(2, 50, 50), xlim=(-1, 1), ylim=(0, 4), scale=0.5, arrows=10)
    (arrows,) = ax.collections
    assert len(arrows.U) == 100 and arrows.scale == 2
    assert not ax.yaxis_inverted() and np.diff(np.unique(arrows.XY[:, 1])) == pytest.approx(5 * 4 / 49)
    assert plotting.vector_field(torch.zeros(2, 3, 3), ax=ax) is ax  # a field of zeros is drawn, as dots


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plotting.curves([1, 2], torch.rand(3)), "x has 2 values and y '' 3: y is .t. or .seeds, t."),
        (lambda: plotting.curves(None, torch.rand(0, 3)), "holds no seed"),
        (lambda: plotting.curves(None, {}), "y has no curve: give one at least"),
        (lambda: plotting.contours(bowl, (0, 1), (0, 1), levels=1), "levels = 1, .*: at least 2"),
        (lambda: plotting.vector_field(torch.rand(2, 3, 3), xlim=(0, 0), ylim=(0, 1)), "the two ends differ"),
        (lambda: plotting.heat_map(torch.rand(0, 3)), "there is no cell to show"),
        (lambda: plotting.heat_map(torch.rand(2, 3), rows="abc"), "3 names in rows for 2 rows: give one for each"),
        (lambda: plotting.heat_map(torch.rand(2, 3), limits=(1, 0)), r"limits = \(1, 0\): the first is the smaller"),
        (lambda: plotting.contours(bowl, (1, 0), (0, 1)), r"xlim = \(1, 0\): the first is the smaller one"),
        (lambda: plotting.contours(lambda p: p[:, 0] * 0, (0, 1), (0, 1)), "a constant has no level lines"),
        (lambda: plotting.vector_field(torch.rand(2, 3, 3), xlim=(0, 1)), "give both, or neither for the pixels"),
        (lambda: plotting.vector_field(torch.rand(2, 3, 3), scale=-1), "scale = -1: .* is positive"),
        (lambda: plotting.vector_field(torch.rand(2, 3, 3), arrows=0), "arrows = 0: at least 1"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_refuses_a_function_of_the_wrong_shape():
    with pytest.raises(ValueError, match="take the coordinates as p.*0. and p.*1."):
        plotting.contours(lambda p: (p**2).sum(), (0, 1), (0, 1))


def test_refuses_complex_numbers():
    with pytest.raises(TypeError, match="complex64: draw the real part"):
        plotting.heat_map(torch.ones(2, 2, dtype=torch.complex64))
