"""What the page on autoencoders runs and draws: optima that are known, measures of strokes, classifiers on splits."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from torch import nn
from torch.testing import assert_close

from helpers.data import ImageSet
from helpers.generative.autoencoders_vae import experiments, figures, mlp_vae

matplotlib.use("Agg")


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_network_is_that_of_its_seed_in_the_precision_of_its_data():
    x = torch.rand(200, 1, 4, 4, generator=random()).double()
    made = [
        experiments.train_network(
            mlp_vae, experiments.negative_bound, (x,), run, steps=3, image=(1, 4, 4), dim=2, hidden=(8,)
        )
        for run in (0, 0, 1)
    ]
    weights = [nn.utils.parameters_to_vector(model.parameters()) for model, _ in made]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert weights[0].dtype == torch.float64 and len(made[0][1]["elbo"]) == 3


def test_a_linear_autoencoder_ends_at_the_error_of_its_rank():
    flat = torch.randn(60, 5, generator=random()).double() * torch.tensor([3.0, 2, 1, 0.5, 0.2]).double()
    error, weight = experiments.linear_autoencoder(flat, 0, dim=2, iterations=200)
    rest = torch.linalg.svdvals(flat - flat.mean(0))[2:].square().sum() / len(flat)
    assert error == pytest.approx(rest.item(), rel=1e-3) and weight.shape == (5, 2)


def test_latents_live_where_the_data_vary_more_than_the_noise():
    u = torch.randn(100, 3, generator=random()).double()
    u = torch.linalg.qr(u - u.mean(0)).Q
    spread = torch.tensor([4.0, 1.0, 0.2]).double()
    points = u * (100 * spread).sqrt()
    law = (1 - 0.5 / spread).clamp(min=0)
    assert_close(experiments.activity(points, 0.5, 0), law, rtol=0, atol=1e-2)
    assert_close(experiments.activity(points, 0.25, 0, beta=2.0), law, rtol=0, atol=1e-2)


def strokes(slope: float, width: int) -> torch.Tensor:
    image = torch.zeros(1, 1, 16, 16)
    for y in range(2, 14):
        at = round(8 - slope * (y - 8))
        image[0, 0, y, at : at + width] = 1
    return image


def test_ink_and_lean_are_measured():
    assert experiments.ink(torch.cat([strokes(0, 1), strokes(0, 3)])).tolist() == [12, 36]
    upright, leaning = experiments.lean(torch.cat([strokes(0, 2), strokes(0.5, 2)]))
    assert upright == pytest.approx(0, abs=1e-5) and leaning == pytest.approx(0.5, abs=0.05)
    before, after = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.5])
    real, bold = torch.tensor([1.0, 3.0]), torch.tensor([False, True])
    assert experiments.rise(before, after, real, bold) == pytest.approx((0.5, 0.125))


def test_moves_of_codes_are_those_of_means():
    letters = ImageSet(
        torch.rand(120, 1, 8, 8, generator=random()),
        torch.zeros(120).long(),
        ("H",),
        {"bold": torch.arange(120) % 2, "slanted": torch.arange(120) // 2 % 2},
    )
    moved = experiments.moved_codes(letters, 0, steps=2)
    assert [tuple(x.shape) for x in moved] == [(30, 1, 8, 8)] * 4
    assert not torch.equal(moved[1], moved[2]) and not torch.equal(moved[2], moved[3])


def test_few_labels_are_balanced():
    labels = torch.arange(300) % 10
    chosen = experiments.balanced(labels, 30, 0)
    assert labels[chosen].bincount().tolist() == [3] * 10 and len(chosen.unique()) == 30
    assert not torch.equal(chosen, experiments.balanced(labels, 30, 1))


def blobs(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 10
    centres = 4 * torch.randn(10, 6, generator=random()).double()
    return centres[labels] + torch.randn(n, 6, generator=random(1)).double(), labels


def test_classifiers_are_compared_on_held_out_parts():
    images, labels = blobs()
    found = experiments.compare_classifiers(images, labels, sizes=(20, 240), splits=(0, 1))
    assert set(found) == set(experiments.STRENGTHS)
    assert all(x.shape == (2, 2) and x[:, 1].min() > 0.8 for x in found.values())
    scrambled = labels[torch.randperm(len(labels), generator=random())]
    chance = experiments.compare_classifiers(images, scrambled, sizes=(240,), splits=(0,))
    assert all(x.max() < 0.4 for x in chance.values())


def test_fine_tuning_leaves_the_encoder_as_it_was():
    labels = torch.arange(100) % 10
    images = nn.functional.one_hot(labels, 16).float().view(-1, 1, 4, 4)
    data = ImageSet(images, labels, tuple("0123456789"))
    encoder = mlp_vae(image=(1, 4, 4), dim=16).encoder.requires_grad_(False)
    before = nn.utils.parameters_to_vector(encoder.parameters()).clone()
    assert experiments.fine_tune(encoder, data, data, torch.arange(100), 0) > 0.9
    assert torch.equal(nn.utils.parameters_to_vector(encoder.parameters()), before)


def test_figures_show_what_they_are_given():
    assert {"μ", "σ", "noise ε"} <= {text.get_text() for text in figures.vae().texts}
    code = torch.randn(40, 2, generator=random())
    figure = figures.codes({"AE": code, "VAE": code}, torch.arange(40) % 10, circles="VAE")
    assert [len(ax.patches) for ax in figure.axes] == [0, 2]
    assert [len(ax.lines) for ax in figure.axes] == [10, 10]
    pyplot.close("all")
