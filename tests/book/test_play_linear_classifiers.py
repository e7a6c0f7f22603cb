"""Three scores and two losses: the page's losses and pulls are the package's, and keys and a phone can move the scores."""

import pytest
import torch

from helpers.foundations.linear_classifiers import softmax_gradient, softmax_loss, svm_gradient, svm_loss

FIGURE = "linear_classifiers", "two-losses"


@pytest.mark.browser
def test_losses_and_pulls_match_python(reader):
    figure = reader()
    scores = 2 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row in scores.tolist():
        batch, label = torch.tensor([row], dtype=torch.float64), torch.tensor([0])
        assert figure.call("hinge", row) == pytest.approx(svm_loss(batch, label).item())
        assert figure.call("hingePulls", row) == pytest.approx((-svm_gradient(batch, label))[0].tolist())
        assert figure.call("softmaxLoss", row) == pytest.approx(softmax_loss(batch, label).item())
        assert figure.call("softmaxPulls", row) == pytest.approx((-softmax_gradient(batch, label))[0].tolist())


@pytest.mark.browser
def test_keys_move_the_scores_and_the_sentence_follows(reader):
    figure = reader()
    assert "One wrong class is within the margin: the hinge is 0.70." in figure.verdict()
    assert "49 %" in figure.verdict() and "0.71" in figure.verdict()
    sliders = figure.page.locator("input[type=range]")
    sliders.nth(0).focus()
    for _ in range(7):  # from 0.6 to 1.3: exactly the margin before 0.3
        figure.page.keyboard.press("ArrowRight")
    assert "The margin is kept: the hinge is 0 and pulls at nothing." in figure.verdict()
    assert "still pulls" in figure.verdict()
    sliders.nth(1).press("End")
    assert "One wrong class is within the margin: the hinge is 3.70." in figure.verdict()
    sliders.nth(2).press("End")
    assert "Two wrong classes are within the margin" in figure.verdict()
    labels = [node.get_attribute("aria-label") for node in figure.page.locator("svg").all()]
    assert labels[0] == "Hinge: pulls falling 2.00, rising \N{MINUS SIGN}1.00, bar \N{MINUS SIGN}1.00"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(reader, scheme):
    figure = reader(width=390, color_scheme=scheme)
    assert figure.overflow() <= 0
    assert figure.page.locator(".play-fallback").is_hidden()


@pytest.mark.browser
def test_two_on_a_page_keep_their_own_scores(reader):
    figure = reader("", "")
    sliders = figure.page.locator("input[type=range]")
    sliders.nth(0).press("End")
    assert sliders.nth(3).input_value() == "0.6"
    assert len({box.get_attribute("id") for box in sliders.all()}) == 6
