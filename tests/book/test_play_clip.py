"""Cosines at a temperature: the page's loss is torch's, its pictures are the chapter's, and keys and a phone can turn it."""

import base64
import io
import json
import re

import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms.v2.functional import pil_to_tensor

from helpers.data.scenes import split_combinations
from helpers.multimodal.clip import Tokenizer, train_merges
from helpers.multimodal.clip import experiments as ex
from helpers.multimodal.clip import play as script

FIGURE = "clip", "clip-temperature"
SEEN, HELD = split_combinations(ex.SHAPES, held_out=0.2, seed=0)


def stored():
    """What the script for the page holds, read without a browser."""
    text = script.SCRIPT.read_text()
    assert text.startswith(script.HEADER)
    return json.loads(re.search(r"DLE\.clip = (\{.*\})", text, re.DOTALL).group(1))


def pixels(entry):
    file = io.BytesIO(base64.b64decode(entry["png"]))
    return pil_to_tensor(Image.open(file)) / 255


def test_stored_pictures_are_of_combinations_that_training_lacks():
    content = stored()
    names = [text.split(" ", 1)[1] for text in content["sentences"]]
    assert {tuple(name.split()[::-1]) for name in names} == set(HELD) and len(names) == 10
    test = ex.captioned(1000, ex.scene_rules(1, HELD), seed=3)
    places = script.first_of_each(ex.class_labels(test.scenes), names)
    for place, entry in zip(places, content["pictures"], strict=True):
        assert (pixels(entry) - test.images[place]).abs().max() <= 0.5 / 255 + 1e-6
    cosines = torch.tensor([entry["cosines"] for entry in content["pictures"]])
    assert cosines.abs().max() <= 1 and 0.01 < content["temperature"] < 0.2
    right = cosines.argmax(1) == torch.arange(10)
    assert 7 <= right.sum() < 10  # a wrong one, for which a cold softmax costs most, must be there


def test_script_is_written_from_any_model(tmp_path, monkeypatch):
    data = script.training_pairs(SEEN, n=64)
    tokenizer = Tokenizer(train_merges(data.captions, 300))
    model = script.train_model(data, tokenizer, steps=12)
    test = ex.captioned(300, ex.scene_rules(1, HELD), seed=5)
    names = ["orange disk", "pink cross", "red square"]
    monkeypatch.setattr(script, "SCRIPT", tmp_path / "answers.js")
    script.SCRIPT.write_text(script.script(model, tokenizer, test, names))
    content = stored()
    assert content["sentences"] == ["an orange disk", "a pink cross", "a red square"]
    images = test.images[script.first_of_each(ex.class_labels(test.scenes), names)]
    tokens = tokenizer(content["sentences"], context=script.CONTEXT, truncate=True)
    with torch.no_grad():
        x, y, scale = model(images, tokens)
    cosines = torch.tensor([entry["cosines"] for entry in content["pictures"]])
    assert (cosines - x @ y.T).abs().max() < 0.00051
    assert content["temperature"] == pytest.approx(1 / scale.item(), abs=5.1e-5)


@pytest.mark.browser
def test_loss_matches_python(reader):
    play, content = reader(), stored()
    cosines = torch.tensor([entry["cosines"] for entry in content["pictures"]])
    for T in (0.01, content["temperature"], 0.3, 1):
        expected = F.cross_entropy(cosines / T, torch.arange(10), reduction="none")
        found = torch.tensor([play.call("loss", i, T) for i in range(10)])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert play.call("average", T) == pytest.approx(expected.mean().item(), rel=1e-4)


@pytest.mark.browser
def test_keys_turn_the_temperature_and_choose_the_picture(reader):
    play, content = reader(), stored()
    text = f"{content['temperature']:.2g}"
    first = content["sentences"][3]
    assert play.verdict().startswith(f"At τ = {text}, “{first}” has ")
    slider = play.page.locator("input[type=range]")
    slider.focus()
    for key, T in (("End", 1), ("Home", 0.01)):
        slider.press(key)
        assert play.verdict().startswith(f"At τ = {T}, ")
        shares = (torch.tensor(content["pictures"][3]["cosines"]) / T).softmax(0)
        bars = play.page.locator(".play-sentences rect").all()
        wide = torch.tensor([float(bar.get_attribute("width")) for bar in bars])
        torch.testing.assert_close(wide / wide.sum(), shares, rtol=0, atol=1e-3)
    play.page.locator("input[type=radio]").nth(3).focus()
    play.page.keyboard.press("ArrowRight")
    assert f"“{content['sentences'][4]}” has" in play.verdict()
    cosines = torch.tensor([entry["cosines"] for entry in content["pictures"]])
    for i, best in enumerate(cosines.argmax(1).tolist()):
        play.page.locator("input[type=radio]").nth(i).check(force=True)
        told = f"The model takes it for {content['sentences'][best]}."
        assert play.verdict().endswith(told) == (best != i)
        assert play.page.locator(".play-sentences rect.play-label").count() == 1
    box = play.page.locator(".play-pictures img").first
    assert box.evaluate("image => image.complete && image.naturalWidth") == 32


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(reader, scheme):
    play = reader(width=390, color_scheme=scheme)
    assert play.overflow() <= 0
    assert play.page.locator(".play-fallback").is_hidden()
    for one in play.page.locator(".play-pictures label").all():
        assert min(one.bounding_box()["width"], one.bounding_box()["height"]) >= 40  # a finger's width


@pytest.mark.browser
def test_two_on_a_page_do_not_share_a_choice(reader):
    play = reader("", "")
    play.page.locator("input[type=radio]").nth(1).check(force=True)
    assert play.page.locator("input[type=radio]:checked").count() == 2
    inside = [node.get_attribute("id") for node in play.page.locator("clipPath").all()]
    assert len(set(inside)) == 2
