"""The dictionary that mixes: its weights are torch's, and hands, keys and phones can turn the query."""

import re

import pytest
import torch

FIGURE = "attention", "lookup"

pytestmark = pytest.mark.browser


def by_torch(angle, length):
    """Weights and answer of the page's six entries."""
    turn = torch.arange(6, dtype=torch.float64) * torch.pi / 3
    keys = torch.stack([turn.cos(), turn.sin()], 1)
    direction = torch.deg2rad(torch.tensor(angle, dtype=torch.float64))
    weights = (keys @ (length * torch.stack([direction.cos(), direction.sin()]))).softmax(0)
    return weights, (weights @ torch.arange(10, 70, 10, dtype=torch.float64)).item()


def test_weights_match_torch(reader):
    play = reader()
    for angle, length in ((80, 4), (0, 0), (213, 1), (359, 40)):
        found = play.call("look", angle, length)
        weights, answer = by_torch(angle, length)
        assert found["weights"] == pytest.approx(weights.tolist(), abs=1e-9)
        assert found["answer"] == pytest.approx(answer, abs=1e-9)


def test_keys_turn_and_stretch_the_query(reader):
    play = reader()
    angle, length = play.page.locator("input[type=range]").all()
    assert f"the answer is {by_torch(80, 4)[1]:.1f}" in play.verdict()
    length.press("End")
    assert "At length 40 the key of 20 has" in play.verdict() and "the answer is 20.0" in play.verdict()
    angle.press("Home")
    assert "the key of 10 has" in play.verdict()
    length.press("Home")
    assert "all keys have the same weight; the answer is 35.0" in play.verdict()
    assert play.page.locator(".play-query").get_attribute("d") == ""


def test_a_hand_turns_the_query(reader):
    play = reader()
    x, y = play.place(".play-grip")
    plane = play.page.locator("svg").first.bounding_box()
    play.page.mouse.move(x, y)
    play.page.mouse.down()
    play.page.mouse.move(plane["x"] + 0.1 * plane["width"], plane["y"] + plane["height"] / 2, steps=4)
    play.page.mouse.up()
    assert play.page.locator(".play-slider output").first.text_content() == "180°"
    assert "the key of 40 has" in play.verdict()


def test_bars_are_as_tall_as_the_weights(reader):
    play = reader()
    tall = torch.tensor([float(bar.get_attribute("height")) for bar in play.page.locator("rect").all()])
    torch.testing.assert_close((tall / tall.sum()).double(), by_torch(80, 4)[0], atol=1e-3, rtol=0)
    labels = play.page.locator("svg").nth(1).locator("text").all_text_contents()[::2]
    assert [int(label or 0) for label in labels] == [
        round(100 * w) if w >= 0.01 else 0 for w in by_torch(80, 4)[0].tolist()
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(reader, scheme):
    play = reader(width=390, color_scheme=scheme)
    assert play.overflow() <= 0
    assert play.page.locator(".play-fallback").is_hidden()


def test_two_on_a_page_are_turned_one_by_one(reader):
    play = reader("", "")
    play.page.locator("input[type=range]").nth(2).press("Home")
    first, second = play.page.locator(".play-verdict").all_text_contents()
    assert re.search("the key of 20", first) and re.search("the key of 10", second)
