"""The pulls under focal loss: the page's arithmetic is autograd's, and keys and a phone can turn it."""

import pytest
import torch

from helpers.localization.segmentation_losses import focal_loss

FIGURE = "segmentation_losses", "focal"
SETTINGS = [(0.0, 0.5), (2.0, 0.25), (5.0, 0.9)]


@pytest.mark.browser
def test_pulls_are_the_gradients_of_focal_loss(reader):
    figure = reader()
    for gamma, alpha in SETTINGS:
        for p in (0.003, 0.3, 0.9):
            for name, g in (("foreground", 1.0), ("background", 0.0)):
                z = torch.tensor([[p]], dtype=torch.float64).logit().requires_grad_()
                focal_loss(z, torch.tensor([[g]]), alpha, gamma).backward()
                assert figure.call(name, p, gamma, alpha) == pytest.approx(z.grad.abs().item(), rel=1e-9)


@pytest.mark.browser
def test_the_balance_is_the_best_constant_answer(reader):
    figure = reader()
    grid = torch.linspace(0.0005, 0.9995, 2000, dtype=torch.float64)
    for gamma, alpha in SETTINGS:
        for hits in (10, 300):
            truth = (torch.arange(1000) < hits).double()[None]
            losses = [focal_loss(p.logit().repeat(1, 1000), truth, alpha, gamma) for p in grid[::5]]
            best = grid[::5][torch.stack(losses).argmin()].item()
            assert figure.call("balance", gamma, alpha, hits / 1000) == pytest.approx(best, abs=0.003)


@pytest.mark.browser
def test_keys_turn_the_three_sliders(reader):
    figure = reader()
    assert "With 1 % foreground, γ = 2.0 and α = 0.25 the pulls are equal at p = 0.11" in figure.verdict()
    gamma, alpha, share = figure.page.locator("input[type=range]").all()
    gamma.press("Home")
    for _ in range(5):
        alpha.press("ArrowRight")
    assert "equal at p = 0.010: that is the best constant answer. That is the cross-entropy." in figure.verdict()
    share.press("End")
    assert "With 50 % foreground" in figure.verdict() and "equal at p = 0.50" in figure.verdict()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(reader, scheme):
    figure = reader(width=390, color_scheme=scheme)
    assert figure.overflow() <= 0
    assert figure.page.locator(".play-fallback").is_hidden()
