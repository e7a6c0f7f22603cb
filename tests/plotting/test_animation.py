"""An animation is a PNG: its chunks, frames, still and size are read back from the bytes."""

import io
import struct

import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from helpers import plotting
from helpers.plotting import animation


def draw(step):
    """A new figure with a bar as wide as `step`."""
    _, ax = pyplot.subplots(figsize=(2, 1))
    ax.set(xlim=(0, 4), ylim=(0, 1))
    ax.barh(0.5, step, color="#2370c8")
    return ax


def chunks(png):
    position = 8
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        yield png[position + 4 : position + 8].decode(), png[position + 8 : position + 8 + length]
        position += 12 + length


def ink(image):
    """Pixels of the bar's blue."""
    pixels = np.asarray(image.convert("RGBA")).astype(int)
    return int((abs(pixels - np.array([0x23, 0x70, 0xC8, 255])).max(-1) < 24).sum())


def test_frames_and_still():
    result = plotting.animate(draw, [0, 1, 2, 4], fps=4, hold=2)
    assert result.png.startswith(b"\x89PNG") and result.frames == 4
    parts = list(chunks(result.png))
    control = [data for name, data in parts if name == "acTL"]
    assert [struct.unpack(">II", data) for data in control] == [(4, 0)]  # four frames, for ever
    names = [name for name, _ in parts]
    assert names.index("IDAT") < names.index(
        "fcTL"
    )  # the still stands before the first frame: no part of the animation
    delays = [struct.unpack(">HH", data[20:24]) for name, data in parts if name == "fcTL"]
    assert [n / d for n, d in delays] == pytest.approx([0.25, 0.25, 0.25, 2.25], abs=1e-3)

    image = Image.open(io.BytesIO(result.png))
    bars = []
    for index in range(image.n_frames):
        image.seek(index)
        bars.append(ink(image))
    still, *frames = bars
    assert still == frames[-1] and frames[0] == 0
    assert frames[1:] == pytest.approx([frames[1], 2 * frames[1], 4 * frames[1]], rel=0.1)


def test_still_is_a_choice():
    image = Image.open(io.BytesIO(plotting.animate(draw, [4, 1, 0], still=0).png))
    assert ink(image) > 100
    assert image.convert("RGBA").getpixel((0, 0))[3] == 0  # transparent, as every figure


def test_same_bytes_twice(tmp_path):
    first = plotting.animate(draw, range(3), tmp_path / "a.png")
    assert plotting.animate(draw, range(3)) == first
    assert (tmp_path / "a.png").read_bytes() == first.png


def test_one_figure_may_be_drawn_on_again():
    figure, ax = pyplot.subplots(figsize=(2, 1))
    (line,) = ax.plot([0, 1], [0, 0])
    ax.set(ylim=(0, 1))

    def move(step):
        line.set_ydata([0, step])
        return figure

    assert plotting.animate(move, [0, 0.5, 1]).frames == 3


def test_notebook_shows_a_png_once():
    result = plotting.animate(draw, [1, 2])
    assert result._repr_png_() == result.png
    assert repr(result) == "Animation(frames=2)"
    assert not pyplot.get_fignums()  # nothing left for the notebook to show beside it


def test_equal_frames_are_still_frames():
    assert struct.unpack(">II", dict(chunks(plotting.animate(draw, [1, 1, 2]).png))["acTL"])[0] >= 2
    assert plotting.animate(draw, [1]).frames == 1


def test_refuses_a_large_file(monkeypatch):
    monkeypatch.setattr(animation, "LIMIT_KB", 1)
    with pytest.raises(ValueError, match=r"4 frames of 240 x 120 pixels has \d+ kB, more than 1: draw fewer frames"):
        plotting.animate(draw, range(4))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: plotting.animate(draw, []), ValueError, "there is no frame to draw"),
        (lambda: plotting.animate(draw, [1], fps=0), ValueError, "fps = 0: frames per second are positive"),
        (lambda: plotting.animate(draw, [1], hold=-1), ValueError, "hold = -1: the seconds on the last frame"),
        (
            lambda: plotting.animate(draw, [1, 2], still=2),
            ValueError,
            "still = 2: the 2 frames have the indices 0 to 1",
        ),
        (lambda: plotting.animate(lambda i: pyplot.figure(figsize=(1, 1 + i)), [1, 2]), ValueError, "same figsize"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_refuses_a_draw_that_returns_nothing():
    with pytest.raises(TypeError, match="draw returned NoneType: return the axes or the figure"):
        plotting.animate(lambda i: None, [1])
