"""The plane of digits: the page's decoder computes what torch does, and keys, mouse and phone can walk it."""

import json
import re
from base64 import b64decode
from math import exp

import numpy as np
import pytest
import torch
from torch import nn

from helpers.generative.autoencoders_vae import experiments, mlp_decoder, mlp_vae
from helpers.generative.autoencoders_vae import play as written

FIGURE = "autoencoders_vae", "digit-plane"


def stored():
    """What the script for the page holds, read without a browser."""
    text = written.SCRIPT.read_text()
    return json.loads(re.search(r"= (\{.*\});", text, re.DOTALL).group(1))


def numbers(entry):
    return torch.from_numpy(np.frombuffer(b64decode(entry["bytes"]), np.int8) * entry["scale"]).float()


def decoder(content):
    net = mlp_decoder(image=(1, written.SIZE, written.SIZE), dim=2, hidden=experiments.PLANE_HIDDEN)
    for layer, entry in zip([m for m in net if isinstance(m, nn.Linear)], content["layers"], strict=True):
        layer.weight.data = numbers(entry["weight"]).view_as(layer.weight)
        layer.bias.data = numbers(entry["bias"])
    return net.requires_grad_(False)


def test_stored_decoder_rebuilds_the_digits():
    content = stored()
    codes = numbers(content["codes"]).view(-1, 2)
    data = written.shown_digits()
    assert content["labels"] == "".join(map(str, data.labels.tolist())) and len(codes) == written.SHOWN
    assert data.labels.bincount().tolist() == [written.SHOWN // 10] * 10
    x = data.images
    error = (decoder(content)(codes) - x).square().sum((1, 2, 3)).mean()
    assert error < 0.7 * (x - x.mean(0)).square().sum((1, 2, 3)).mean()
    assert written.SCRIPT.stat().st_size < 60_000 and written.SCRIPT.read_text().startswith(written.HEADER)


def test_packing_keeps_the_decoder(tmp_path, monkeypatch):
    model = experiments.train_plane(steps=30)
    monkeypatch.setattr(written, "SCRIPT", tmp_path / "weights.js")
    written.SCRIPT.write_text(written.script(model))
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert (decoder(stored())(z) - model.decode(z)).abs().max() < 0.03
    with torch.no_grad():
        codes = model.encode(written.shown_digits().images)[0].clamp(-written.REACH, written.REACH)
    assert (numbers(stored()["codes"]).view(-1, 2) - codes).abs().max() <= written.REACH / 127 / 2 + 1e-6
    with pytest.raises(ValueError, match="the page walks through two numbers"):
        written.script(mlp_vae(image=(1, 8, 8), dim=3))


@pytest.mark.browser
def test_decoder_and_its_company_match_python(reader):
    play, content = reader(), stored()
    codes = numbers(content["codes"]).view(-1, 2)
    z = torch.cat([torch.zeros(1, 2), 1.5 * torch.randn(40, 2, generator=torch.Generator().manual_seed(1))])
    found = torch.tensor([play.call("decode", point) for point in z.tolist()])
    torch.testing.assert_close(found, decoder(content)(z).flatten(1), rtol=1e-4, atol=1e-4)
    digit = [content["labels"][i] for i in torch.cdist(z, codes).argmin(1)]
    assert [play.call("nearest", point) for point in z.tolist()] == digit and len(set(digit)) > 5
    for point in z.tolist():
        assert play.call("closer", point) == pytest.approx(1 - exp(-(point[0] ** 2 + point[1] ** 2) / 2))


def pixels(play):
    read = "document.querySelector('.play-digit').getContext('2d').getImageData(0, 0, 16, 16).data"
    return torch.tensor(play.page.evaluate(f"Array.from({read})")).view(256, 4)


def shown(play):
    """The two numbers that the sliders show."""
    text = play.page.locator(".play-slider output").all_text_contents()
    return [float(t.replace("−", "-")) for t in text]


@pytest.mark.browser
def test_keys_move_the_point_and_the_digit_follows(reader):
    play = reader()
    assert shown(play) == [0, 0] and "Of the draws from the prior 0 %" in play.verdict()
    for label, keys, expected in (
        ("First number", ["ArrowRight"] * 3, [0.15, 0.0]),
        ("Second number", ["End"], [0.15, 3.0]),
        ("First number", ["Home"], [-3.0, 3.0]),
    ):
        play.page.get_by_label(label).focus()
        for key in keys:
            play.page.keyboard.press(key)
        assert shown(play) == pytest.approx(expected)
        grey = (decoder(stored())(torch.tensor([expected])).clamp(0, 1) * 255).flatten()
        assert (pixels(play)[:, 0] - grey).abs().max() <= 1 and (pixels(play)[:, 3] == 255).all()
        assert play.call("nearest", expected) in play.verdict()


@pytest.mark.browser
def test_pointer_and_finger_choose_a_point(reader):
    play = reader()
    box = play.page.locator(".play-latent").bounding_box()
    unit = box["width"] / 7  # the plane shows -3.5 to 3.5
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    play.page.mouse.click(x + unit, y - 2 * unit)
    assert shown(play) == pytest.approx([1, 2], abs=0.051)
    play.page.mouse.move(x + unit, y - 2 * unit)
    play.page.mouse.down()
    play.page.mouse.move(x - 5 * unit, y + unit, steps=4)
    play.page.mouse.up()
    assert shown(play) == pytest.approx([-3, -1], abs=0.051)  # held at the edge
    play = reader(width=390, has_touch=True)
    box = play.page.locator(".play-latent").bounding_box()
    play.page.touchscreen.tap(box["x"] + box["width"] * 4.5 / 7, box["y"] + box["height"] * 3.5 / 7)
    assert shown(play) == pytest.approx([1, 0], abs=0.051)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(reader, scheme):
    play = reader(width=390, color_scheme=scheme)
    assert play.overflow() <= 0
    nameless = """[...document.querySelectorAll('.play-app :is(input, svg, canvas)')].filter(e =>
        !(e.labels?.length || e.getAttribute('aria-label'))).length"""
    assert play.page.evaluate(nameless) == 0


@pytest.mark.browser
def test_still_remains_without_script_and_on_paper(reader):
    assert reader(java_script_enabled=False).page.get_by_text("A still.").is_visible()
    play = reader()
    assert not play.page.get_by_text("A still.").is_visible()
    play.page.emulate_media(media="print")
    assert play.page.get_by_text("A still.").is_visible() and not play.page.locator(".play-app").is_visible()
