"""The temperature: the page's softmax is torch's, its logits are a teacher's, and keys and a phone can turn it."""

import json
import re

import pytest
import torch

from helpers.data import digits
from helpers.efficiency.distillation import experiments, play, soft_targets

FIGURE = "distillation", "temperature"


def stored():
    """What the script for the page holds, read without a browser."""
    text = play.SCRIPT.read_text()
    assert text.startswith(play.HEADER)
    return json.loads(re.search(r"digits: (\[.*\])", text, re.DOTALL).group(1))


def test_stored_digits_are_test_digits_that_the_teacher_reads_right():
    content = stored()
    _, test = digits().split(2 / 3, 1 / 3, generator=torch.Generator().manual_seed(0))
    held = {tuple((16 * image).round().long().flatten().tolist()): int(y) for image, y in zip(test.images, test.labels)}
    assert len(content) == play.SHOWN == len({entry["label"] for entry in content})
    for entry in content:
        assert held[tuple(entry["ink"])] == entry["label"]
        logits = torch.tensor(entry["logits"])
        first, second = logits.topk(2).values
        assert logits.argmax() == entry["label"] and 3 < first - second < 7


def test_script_is_written_from_any_teacher(tmp_path, monkeypatch):
    train, test = digits().split(0.5, 0.5, generator=torch.Generator().manual_seed(1))
    (teacher,) = experiments.teachers(train, experiments.label_loss, steps=25, seeds=[0])
    monkeypatch.setattr(play, "SCRIPT", tmp_path / "answers.js")
    play.SCRIPT.write_text(play.script(teacher, test))
    for entry in stored():
        image = torch.tensor(entry["ink"]).view(1, 1, 8, 8) / 16
        assert (teacher(image)[0] - torch.tensor(entry["logits"])).abs().max() < 0.051


@pytest.mark.browser
def test_shares_match_python(reader):
    figure = reader()
    for entry in stored():
        for T in (0.3, 1, 5, 100):
            shares = torch.tensor(figure.call("soften", entry["logits"], T))
            torch.testing.assert_close(
                shares, soft_targets(torch.tensor([entry["logits"]]), T)[0], rtol=1e-4, atol=1e-6
            )
            entropy = -torch.xlogy(shares, shares).sum().item()
            assert figure.call("entropy", shares.tolist()) == pytest.approx(entropy, abs=1e-5)


@pytest.mark.browser
def test_keys_turn_the_temperature_and_choose_the_digit(reader):
    figure = reader()
    first, second = stored()[:2]
    assert f"At T = 1.0 the {first['label']} has" in figure.verdict()
    slider = figure.page.locator("input[type=range]")
    slider.focus()
    slider.press("End")
    assert "At T = 100 " in figure.verdict() and "of at most 2.30 nats" in figure.verdict()
    slider.press("Home")
    assert "At T = 0.3 " in figure.verdict() and "more than 99 %" in figure.verdict() or "100 %" in figure.verdict()
    figure.page.locator("input[type=radio]").first.focus()
    figure.page.keyboard.press("ArrowRight")
    assert f"the {second['label']} has" in figure.verdict()
    read = "document.querySelector('.play-digit').getContext('2d').getImageData(0, 0, 8, 8).data"
    pixels = torch.tensor(figure.page.evaluate(f"Array.from({read})")).view(64, 4)
    assert (pixels[:, 0] - 255 * torch.tensor(second["ink"]) / 16).abs().max() <= 1
    tall = [float(bar.get_attribute("height")) for bar in figure.page.locator(".play-shares rect").all()]
    assert max(range(10), key=tall.__getitem__) == second["label"]
    assert figure.page.locator(".play-shares rect.play-label").count() == 1


@pytest.mark.browser
def test_bars_and_sentence_say_the_same(reader):
    """At T = 1 a bar of 0.6 % was labelled 1 while the sentence said less than 1 %."""
    figure = reader()
    slider = figure.page.locator("input[type=range]")
    for press in ["Home", *["ArrowRight"] * 30]:
        slider.press(press)
        sentence = figure.verdict()
        (first, one), (second, other) = re.findall(r"the (\d) has ([^,.]*\d+ %)", sentence)
        labels = [text.text_content() for text in figure.page.locator(".play-shares text").all()][::2]
        for digit, said in ((first, one), (second, other)):
            words = {"": "less than 1 %", ">99": "more than 99 %"}
            assert words.get(labels[int(digit)], f"{labels[int(digit)]} %") == said, sentence


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(reader, scheme):
    figure = reader(width=390, color_scheme=scheme)
    assert figure.overflow() <= 0
    assert figure.page.locator(".play-fallback").is_hidden()
    figure.page.emulate_media(media="print")


@pytest.mark.browser
def test_two_on_a_page_do_not_share_a_choice(reader):
    figure = reader("", "")
    figure.page.locator("input[type=radio]").nth(1).check()
    checked = figure.page.locator("input[type=radio]:checked")
    assert checked.count() == 2
    assert len({box.get_attribute("name") for box in figure.page.locator("input[type=radio]").all()}) == 2
