"""The aperture: the page's arithmetic is that of Lucas-Kanade on an edge, and keys and a phone can move the bar."""

import pytest
import torch

from helpers.video.optical_flow import lucas_kanade

FIGURE = "optical_flow", "aperture"


def edge(angle: float, motion: torch.Tensor) -> torch.Tensor:
    """A soft edge that runs at an angle, in degrees against the clock, moved by a motion [right, down]."""
    y, x = torch.meshgrid(*2 * [torch.arange(33.0).double() - 16], indexing="ij")
    turn = torch.deg2rad(torch.tensor(angle + 90.0))
    across = torch.stack([turn.cos(), -turn.sin()]).double()
    return torch.sigmoid(0.7 * ((x - motion[0]) * across[0] + (y - motion[1]) * across[1]))[None, None]


@pytest.mark.browser
@pytest.mark.parametrize("angle", [0.0, 45.0, 110.0])
def test_motion_through_the_hole_is_what_lucas_kanade_finds(reader, angle):
    play = reader()
    for motion in ([0.8, 0.0], [0.3, -0.6]):
        truth = torch.tensor(motion).double()
        found = lucas_kanade(edge(angle, 0 * truth), edge(angle, truth), levels=1, steps=10)[0, :, 16, 16]
        seen = torch.tensor(play.call("seen", motion, angle)).double()
        torch.testing.assert_close(seen, found, rtol=0, atol=0.03)


@pytest.mark.browser
def test_keys_move_and_turn_the_bar(reader):
    play = reader()
    assert "by 1.0 to the right and 0.0 down. Through the hole it seems to move by 0.5 and 0.5" in play.verdict()
    moment, direction, slope = (play.page.locator("input[type=range]").nth(i) for i in range(3))
    for _ in range(9):
        direction.press("ArrowRight")
    assert "0.7 to the right and \u22120.7 down. Through the hole it seems to rest" in play.verdict()
    slope.press("Home")
    assert "seems to move by 0.0 and \u22120.7, straight across its edge" in play.verdict()
    direction.press("Home")
    slope.press("End")
    for _ in range(17):
        slope.press("ArrowLeft")
    assert "\u22121.0 to the right and 0.0 down" in play.verdict() and "which is right" in play.verdict()
    before = play.page.locator(".play-bar-moves").get_attribute("transform")
    moment.press("End")
    assert play.page.locator(".play-bar-moves").get_attribute("transform") != before


@pytest.mark.browser
def test_the_screen_hides_the_ends_and_can_be_taken_away(reader):
    """Wherever the bar is, its ends stay outside the hole, but inside the picture."""
    play = reader()
    direction = play.page.locator("input[type=range]").nth(1)
    for _ in range(9):
        direction.press("ArrowRight")  # along the bar
    play.page.locator("input[type=range]").first.press("End")
    ends = """(() => { const bar = document.querySelector('.play-bar-moves'), matrix = bar.getCTM();
      const svg = bar.ownerSVGElement, scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      return [-96, 96].map(x => { const p = new DOMPoint(x, 0).matrixTransform(matrix);
        return [p.x / scale, p.y / scale]; }); })()"""
    for x, y in play.page.evaluate(ends):
        assert ((x - 130) ** 2 + (y - 130) ** 2) ** 0.5 > 62 and 0 < x < 260 and 0 < y < 260
    box = play.page.locator("input[type=checkbox]")
    assert play.page.locator(".play-screen").is_visible()
    box.check()
    assert not play.page.locator(".play-screen").is_visible()
    box.uncheck()
    assert play.page.locator(".play-screen").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(reader, scheme):
    play = reader(width=390, color_scheme=scheme)
    assert play.overflow() <= 0
    hole, last = (play.page.locator(name).bounding_box() for name in (".play-hole >> nth=0", ".play-verdict"))
    assert last["y"] + last["height"] - hole["y"] < 600  # all in one view
    assert play.page.locator(".play-fallback").is_hidden()


@pytest.mark.browser
def test_two_on_a_page_do_not_share_a_hole(reader):
    play = reader("", "")
    assert len({node.get_attribute("id") for node in play.page.locator("clipPath").all()}) == 2
    play.page.locator("input[type=checkbox]").first.check()
    assert play.page.locator("input[type=checkbox]:checked").count() == 1
