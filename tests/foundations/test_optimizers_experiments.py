"""What the page on optimizers runs and draws: each number against a formula, a matrix or a plain loop."""

from functools import partial

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from torch import nn

from helpers.foundations.optimizers import LBFGS, SGD, Adam, AdamW, Momentum, bowl, descend, experiments, figures


@pytest.fixture(autouse=True)
def no_figure_is_left():
    with matplotlib.rc_context({"backend": "agg"}):
        yield
    pyplot.close("all")


def matrix(lam: float, lr: float, rho: float) -> torch.Tensor:
    """A step of momentum along a direction of curvature lam, for (v, x)."""
    return torch.tensor([[rho, lam], [-lr * rho, 1 - lr * lam]], dtype=torch.float64)


def test_best_walk_has_the_lowest_mean_of_eleven_rates():
    landscape = experiments.LANDSCAPES["bowl"]
    best = experiments.best_walk(landscape, Momentum, 20, momentum=0.5)
    means = []
    for lr in np.geomspace(1e-4, 10, 11):
        walk = descend(landscape.height, landscape.start, partial(Momentum, lr=lr, momentum=0.5), 20)
        means.append(landscape.height(walk).nan_to_num(1e9).mean().item())
    assert landscape.height(best).mean().item() == min(means) and len(best) == 21


def test_factors_are_those_of_the_matrix():
    lr, rho = torch.meshgrid(
        torch.linspace(0.02, 0.2, 7).double(), torch.linspace(0.05, 0.9, 6).double(), indexing="xy"
    )
    measured = experiments.factor_per_step(lr, rho, (1.0, 10.0))
    for i, j in np.ndindex(*lr.shape):
        radii = [torch.linalg.eigvals(matrix(lam, lr[i, j].item(), rho[i, j].item())).abs().max() for lam in (1, 10)]
        assert measured[i, j].item() == pytest.approx(max(radii).item(), abs=0.01)


def test_walks_cross_the_minimum_beyond_critical_damping_alone():
    a = torch.tensor([0.1, 0.15, 0.5, 0.9], dtype=torch.float64)
    critical = (1 - a.sqrt()) ** 2
    assert not experiments.changes_sign(a, critical - 0.002).any()
    assert experiments.changes_sign(a, critical + 0.01).all()


@pytest.mark.parametrize("kappa", [4, 10, 100])
@pytest.mark.parametrize("smallest", [1.0, 0.5])
def test_polyak_makes_all_factors_equal_and_the_lowest(kappa, smallest):
    def factor(lr, rho):
        return max(
            torch.linalg.eigvals(matrix(lam, lr, rho)).abs().max().item() for lam in (smallest, kappa * smallest)
        )

    lr, rho = experiments.polyak(kappa, smallest)
    best = factor(lr, rho)
    assert best == pytest.approx((kappa**0.5 - 1) / (kappa**0.5 + 1), abs=1e-6)
    for other in np.random.default_rng(0).normal(0, 0.03, (50, 2)):
        assert factor(lr * (1 + other[0]), min(max(rho + other[1], 0), 0.99)) >= best - 1e-6


def test_steps_walked_are_those_of_the_formula():
    assert experiments.steps_walked(10) == experiments.steps_by_formula(10) == (69, 27)
    walk = torch.tensor([[8.0], [4.0], [0.5], [2.0], [0.9], [0.0]])
    assert experiments.steps_to(walk, 0.125) == 4


def test_random_bowls_have_their_condition():
    f = experiments.random_bowl(5, 100, 3)
    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(f, torch.zeros(5, dtype=torch.float64)))
    torch.testing.assert_close(values, torch.logspace(0, 2, 5, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("lr, rho", [(0.1, 0.0), (0.1, 0.9), (0.5, 0.5)])
def test_noise_floor_solves_the_equation_of_the_covariance(lr, rho):
    """P = M P Mᵀ + Q, where the noise enters v by 1 and x by -lr."""
    M = matrix(1.0, lr, rho)
    b = torch.tensor([1.0, -lr], dtype=torch.float64)
    P = torch.linalg.solve(torch.eye(4).double() - torch.kron(M, M), torch.outer(b, b).flatten()).view(2, 2)
    law = lr * (1 + rho) / ((1 - rho) * (2 * (1 + rho) - lr))
    assert P[1, 1].item() == pytest.approx(law)
    assert experiments.noise_floor(lr, rho, seed=0, walkers=20_000) == pytest.approx(law, rel=0.05)


def test_numbers_kept_and_their_memory():
    assert experiments.numbers_kept(SGD, 7) == 0
    assert experiments.numbers_kept(Adam, 7) == 14
    assert experiments.numbers_kept(LBFGS, 7, history_size=2) == 2 * 3 * 7
    assert [experiments.in_bytes(n) for n in (0, 200, 250, 25_557_032, 5e19)] == [
        "0 B", "800 B", "1 kB", "102 MB", "200 EB",
    ]  # fmt: skip


def test_critical_points_of_one_wave_sum_in_one_dimension_are_no_saddles():
    values = experiments.critical_points(1, seed=0)
    assert len(values) > 100 and (values > 0).any() and (values < 0).any()
    assert experiments.saddle_share(1, seed=0) == 0 < experiments.saddle_share(2, seed=0) < 1


def test_steps_out_follow_the_factor_of_the_way_out():
    """Gradient descent grows by 1 + lr a step near the saddle, from about 1e-4 to a half."""
    noise = torch.randn(2, generator=torch.Generator().manual_seed(1))[1].abs().item()
    assert experiments.steps_out(SGD, 1) == pytest.approx(np.log(0.5 / (1e-4 * noise)) / np.log(1.1), abs=4)
    assert experiments.steps_out(Momentum, 1) < experiments.steps_out(SGD, 1) / 2


@pytest.fixture
def task():
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(64, 1, 4, 4, generator=noise)
    return images, (images.flatten(1)[:, :10]).argmax(1)


def test_training_learns_and_repeats(task):
    model, losses = experiments.train(Adam, 0.03, *task, hidden=16, steps=60, seed=2, batch_size=16)
    again, same = experiments.train(Adam, 0.03, *task, hidden=16, steps=60, seed=2, batch_size=16)
    assert torch.equal(losses, same) and losses[-1] < 0.5 < 2 < losses[0]
    assert experiments.loss(model, task) == experiments.loss(again, task)


def test_races_spend_their_budget(task):
    model = experiments.network(task[0], 8, 0)
    start = experiments.loss(model, task).item()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    end = experiments.race(model, SGD, *task, batch_size=16, budget=7, seed=0, lr=0.1)
    assert len(calls) == 7 + 1 and end < start  # and once more on the whole set


def test_sample_gradients_have_the_gradient_of_the_batch_as_their_mean(task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    G = experiments.sample_gradients(model, *task)
    experiments.loss(model, task).backward()
    whole = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(G.mean(0), whole, rtol=1e-4, atol=1e-6)


def test_weights_left_decay_alike_in_adamw_alone():
    small, large = experiments.weights_left(AdamW, 0, steps=200)
    assert small.item() == pytest.approx(0.9997**200, abs=0.01) and large.item() == pytest.approx(
        small.item(), abs=0.01
    )
    small, large = experiments.weights_left(Adam, 0, steps=200)
    assert large - small > 0.05


def test_map_marks_where_the_lines_meet():
    lr, rho = torch.meshgrid(torch.linspace(0.01, 0.4, 5).double(), torch.linspace(0, 0.9, 4).double(), indexing="xy")
    ax = figures.momentum_map(lr, rho, experiments.factor_per_step(lr, rho))
    limit, floor, wall, star = [np.array(line.get_data()).T for line in ax.get_lines()]
    for line in (floor, wall):
        assert np.abs(line - star).max(1).min() < 0.01
    assert limit[[0, -1]] == pytest.approx(np.array([[0.2, 0], [0.4, 1]]))
    shade = np.asarray(ax.collections[0].get_array())
    assert shade.shape == (4, 5, 4)
    assert (shade[0, 3:, 3] == 0).all() and (shade[0, :2, 3] > 0).all()


def test_names_of_lines_stand_apart():
    ax = pyplot.subplots()[1]
    for shift in (0, 0.001, 1):
        ax.plot([0, 1], [0, shift], label=f"to {shift}")
    figures.name_lines(ax)
    heights = [text.get_position()[1] for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == ["to 0", "to 0.001", "to 1"]
    assert min(np.diff(heights)) >= 0.075 - 1e-9 and ax.get_legend() is None


def test_other_figures_draw_what_they_are_given():
    walks = {name: {"SGD": torch.rand(3, 2), "L-BFGS": torch.rand(3, 2)} for name in experiments.LANDSCAPES}
    assert len(figures.landscape_figure(walks).axes) == 4
    walk = descend(bowl, (-2.0, 0.9), partial(SGD, lr=0.1), 5)
    rates = np.array([0.1, 0.2])
    above, below = figures.factor_figure(rates, torch.rand(2, 2), {"lr = 0.1": walk}).axes
    assert below.get_lines()[0].get_xydata() == pytest.approx(walk.numpy())
    above, below = figures.damping_figure(rates, np.ones((2, 2)), {0.1: 0.5}, {"a walk": walk[:, 0]}, 0.375).axes
    assert below.get_lines()[0].get_ydata() == pytest.approx(walk[:, 0].numpy())
