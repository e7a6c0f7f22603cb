import math
import string

import pytest
import torch

from helpers.data import FONTS, draw_glyphs, glyphs
from helpers.data.glyphs import ELASTIC, RANGES

PARAMETERS = ("rotation", "shear", "stretch", "scale", "right", "down", "thickness")


def nearest(train, test):
    """Share of `test` whose nearest neighbour in `train` has the same label."""
    distances = torch.cdist(test.images.flatten(1), train.images.flatten(1))
    return (train.labels[distances.argmin(1)] == test.labels).float().mean().item()


def draw(character="5", font="sans", size=28, **attributes):
    """One glyph with these attributes, everything else at rest."""
    columns = {name: torch.tensor([float(value)]) for name, value in attributes.items()}
    columns["font"] = torch.tensor([tuple(FONTS).index(font)])
    return draw_glyphs(torch.tensor([0]), columns, characters=character, size=size)[0, 0]


def centre(image):
    """Centre of the ink as (x, y) in pixels."""
    y, x = (image.nonzero() + 0.5).T
    ink = image[image > 0]
    return ((x * ink).sum() / ink.sum()).item(), ((y * ink).sum() / ink.sum()).item()


def test_a_set_has_what_was_asked_for():
    data = glyphs(500, seed=0, characters="AbZ9", size=20, fonts=["serif", "mono bold"])
    assert data.images.shape == (500, 1, 20, 20) and data.classes == ("A", "b", "Z", "9")
    assert data.labels.unique().tolist() == [0, 1, 2, 3] and data.labels.bincount().min() > 90
    font = data.attributes["font"]
    assert torch.equal(font, data.attributes["bold"]) and font.unique().tolist() == [0, 1]
    assert set(data.attributes) == {"font", "bold", "slanted", "elastic", *PARAMETERS} and tuple(RANGES) == PARAMETERS
    assert all(len(values) == 500 for values in data.attributes.values())


def test_the_same_seed_gives_the_same_glyphs_whatever_the_number():
    many, few, other = glyphs(1500, seed=5), glyphs(70, seed=5), glyphs(70, seed=6)
    assert torch.equal(many.images[:70], few.images) and torch.equal(many.labels[:70], few.labels)
    assert all(torch.equal(many.attributes[name][:70], values) for name, values in few.attributes.items())
    assert not torch.equal(few.labels, other.labels)


def test_attributes_are_all_there_is_to_a_glyph():
    data = glyphs(50, seed=1, characters=string.ascii_letters)
    again = draw_glyphs(data.labels, data.attributes, characters=string.ascii_letters)
    torch.testing.assert_close(again, data.images, rtol=0, atol=0)


def test_attributes_fill_their_ranges():
    data, doubled = glyphs(2000, seed=0), glyphs(2000, seed=0, distortion=2.0)
    for name, width in (RANGES | {"elastic": ELASTIC}).items():
        values = data.attributes[name]
        assert 0.97 * width < values.abs().max() <= width and abs(values.mean()) < 0.06 * width, name
        torch.testing.assert_close(doubled.attributes[name], 2 * values)


def test_without_distortion_glyphs_are_clean():
    data = glyphs(300, seed=0, distortion=0.0)
    pairs = {(label, font) for label, font in zip(data.labels.tolist(), data.attributes["font"].tolist(), strict=True)}
    assert len(data.images.flatten(1).unique(dim=0)) == len(pairs)


def test_parameters_do_what_their_names_say():
    rest = draw()
    x, y = centre(rest)
    assert centre(draw(right=0.1))[0] == pytest.approx(x + 2.8, abs=0.1)
    assert centre(draw(down=0.1))[1] == pytest.approx(y + 2.8, abs=0.1)
    rows, columns = draw("l", size=56).any(1).sum(), draw("l", size=56).any(0).sum()
    larger = draw("l", size=56, scale=math.log(1.25))
    assert larger.any(1).sum() / rows == pytest.approx(1.25, abs=0.06)
    assert (
        draw("l", size=56, stretch=0.8).any(0).sum() > columns and draw("l", size=56, stretch=0.8).any(1).sum() < rows
    )
    assert draw(thickness=0.02).sum() > 1.2 * rest.sum() > 1.44 * draw(thickness=-0.02).sum()
    # Counter-clockwise on the page: a quarter turn equals that of torch.rot90.
    torch.testing.assert_close(draw(rotation=math.pi / 2), rest.rot90(), atol=0.02, rtol=0)
    top, bottom = (centre(half)[0] for half in draw("l", shear=0.3).split(14))
    assert top > bottom + 2


def test_elastic_displaces_to_the_right_and_down():
    rest = draw()
    field = torch.zeros(1, 2, 5, 5)
    field[:, 0], field[:, 1] = 0.1, -0.05  # the same everywhere: a shift
    font = torch.tensor([0])
    moved = draw_glyphs(torch.tensor([0]), {"font": font, "elastic": field}, characters="5")[0, 0]
    torch.testing.assert_close(moved, draw(right=0.1, down=-0.05), atol=1e-4, rtol=0)
    field[:] = 0
    field[:, 0, 0] = 0.1  # the upper edge alone: the lower half stays
    bent = draw_glyphs(torch.tensor([0]), {"font": font, "elastic": field}, characters="5")[0, 0]
    assert centre(bent[:10])[0] > centre(rest[:10])[0] + 0.3
    torch.testing.assert_close(bent[16:], rest[16:], atol=0.1, rtol=0)


def test_bold_is_heavier_and_slanted_leans():
    def ink(font):
        return draw("H", font).sum()

    def lean(font):
        top, bottom = (centre(half)[0] for half in draw("H", font).split(14))
        return top - bottom

    for family in ("sans", "mono", "serif", "times", "modern"):
        assert ink(f"{family} bold") > 1.2 * ink(family), family
    for upright, slanted in [("sans", "sans oblique"), ("times", "times italic")]:
        assert lean(slanted) > lean(upright) + 1, slanted


def test_every_character_is_whole_in_every_font():
    characters = string.digits + string.ascii_letters
    n = len(characters) * len(FONTS)
    labels, font = torch.arange(n) // len(FONTS), torch.arange(n) % len(FONTS)
    images = draw_glyphs(labels, {"font": font}, characters=characters)
    border = torch.cat([images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]], -1)
    assert border.max() == 0
    assert images.amax((1, 2, 3)).min() > 0.5 and images.sum((1, 2, 3)).min() > 15
    large = draw_glyphs(labels, {"font": font}, characters=characters, size=84)[:, 0] > 0.3
    for across in (1, 2):  # the ink of each is centred, to half a pixel of the small size
        ink = large.any(across).int()
        assert (ink.argmax(1) - ink.flip(1).argmax(1)).abs().max() <= 3
    for i, name in enumerate(FONTS):  # a font draws the same box for all that it lacks; I and l may be alike
        assert len(images[font == i].flatten(1).unique(dim=0)) >= len(characters) - 1, name


def test_ink_stays_inside_and_looks_like_mnist():
    data = glyphs(2000, seed=2)
    assert 0.08 < data.images.mean() < 0.18  # MNIST: 0.13
    outside = data.images.clone()
    outside[:, :, 2:-2, 2:-2] = 0
    assert outside.sum() < 0.01 * data.images.sum()
    assert data.images.sum((1, 2, 3)).min() > 10


def test_glyphs_are_legible_and_not_trivial():
    train, test = glyphs(3000, seed=0), glyphs(500, seed=1)
    assert 0.9 < nearest(train, test) < 1
    assert nearest(train.subset(slice(30)), test) < 0.7
    wild = glyphs(500, seed=1, distortion=2.0)
    assert nearest(train, wild) < nearest(train, test)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(n=0), "n = 0: a set holds at least 1 glyph"),
        (dict(characters=""), "characters = '': name one or more letters"),
        (dict(characters="aba"), "characters = 'aba'"),
        (dict(characters="a b"), "characters = 'a b'"),
        (dict(characters="é"), "characters = 'é'"),
        (dict(fonts=["comic sans"]), r"fonts \['comic sans'\] are not there: choose one or more of sans, sans bold"),
        (dict(fonts=[]), r"fonts \(\) are not there"),
        (dict(size=4), "size = 4: a glyph can be read from 8 pixels on"),
        (dict(distortion=-1.0), "distortion = -1.0"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        glyphs(**(dict(n=3, seed=0) | options))


@pytest.mark.parametrize(
    "labels, change, message",
    [
        ([0, 3], {}, "labels reach from 0 to 3: there are 0 to 2"),
        ([-1, 0], {}, "labels reach from -1 to 0"),
        ([0, 1], {"font": torch.tensor([0, 2])}, "font reach from 0 to 2: there are 0 to 1"),
        ([0, 1], {"rotaton": torch.zeros(2)}, "attributes font, rotaton: font must be there, and may bold"),
        ([0, 1], {"shear": torch.zeros(1)}, r"attribute 'shear' of shape \[1\]: a finite value for each of 2"),
        ([0, 1], {"shear": torch.tensor([0.0, math.nan])}, "attribute 'shear' of shape .2.: a finite value"),
    ],
)
def test_what_would_be_drawn_as_something_else_is_named(labels, change, message):
    """The third font of two is the first one of the next character."""
    attributes = {"font": torch.tensor([0, 1])} | change
    with pytest.raises(ValueError, match=message):
        draw_glyphs(torch.tensor(labels), attributes, characters="abc", fonts=("sans", "serif"))


@pytest.mark.parametrize("distortion", [math.nan, math.inf])
def test_distortion_that_is_no_number(distortion):
    with pytest.raises(ValueError, match=f"distortion = {distortion}: 0 leaves"):
        glyphs(3, seed=0, distortion=distortion)


def test_thickness_grows_a_stroke_alike_at_every_scale():
    def growth(scale):
        thin, thick = (draw("l", size=112, scale=scale, thickness=t)[56].sum().item() for t in (0.01, 0.03))
        return thick - thin

    assert growth(-0.4) == pytest.approx(growth(0.0), rel=0.2) and growth(0.4) == pytest.approx(growth(0.0), rel=0.2)
