"""What the page on perceptrons runs: each number against a formula, a loop or the definition."""

import numpy as np
import pytest
import torch

from helpers.data import digits
from helpers.foundations.perceptrons import delta_rule, experiments, mistake_bound, perceptron_rule


def test_random_sets_are_separable_by_their_gap():
    x, y = experiments.separable(20, 3, 0.3, seed=2)
    assert x.shape == (20, 4) and (x[:, 3] == 1).all() and set(y) <= {-1, 1}
    noise = np.random.default_rng(2)
    u = noise.standard_normal(3)
    u /= np.linalg.norm(u)
    heights = x[:, :3] @ u + 0.5 * noise.standard_normal()
    assert abs(heights).min() >= 0.3 and (np.sign(heights) == y).all()


def test_pairs_of_digits_come_in_turns():
    data = digits()
    x, y = experiments.pair(data, 3, 8, 10)
    assert x.shape == (20, 65) and y[:4].tolist() == [1, -1, 1, -1]
    np.testing.assert_allclose(x[1, :64], data.images[data.labels == 8][0].flatten())
    assert (x[:, 64] == 1).all()


def test_a_pass_multiplies_the_error_of_the_weights():
    """Where some w* fits all labels, w - w* is multiplied by the map of a pass."""
    noise = np.random.default_rng(0)
    x, fit = noise.standard_normal((4, 3)), noise.standard_normal(3)
    path = [np.zeros(3)]
    for x_i in x:
        path.append(path[-1] + 0.3 * (x_i @ fit - path[-1] @ x_i) * x_i)
    M = experiments.pass_map(x, rate=0.3)
    np.testing.assert_allclose(path[-1] - fit, M @ (path[0] - fit))
    assert experiments.radius(np.diag([0.5, -2.0])) == 2
    one = np.array([[1.2, 0.5]])
    assert abs(1 - 1.2**2 - 0.25) == pytest.approx(min(abs(np.linalg.eigvals(experiments.pass_map(one)))))
    assert len(delta_rule(one, np.array([1.0]), passes=3)) == 4


def test_mistakes_and_bounds_belong_to_their_sets():
    sets = [experiments.separable(10, 2, 0.2, seed) for seed in range(3)]
    mistakes, bounds = experiments.mistakes_and_bounds(sets, mistake_bound)
    assert mistakes.tolist() == [sum(perceptron_rule(*s).mistakes) for s in sets]
    assert bounds.tolist() == [mistake_bound(*s) for s in sets]


def test_xor_is_solved_by_eight_units_and_by_no_single_one():
    won, lost = experiments.xor_run(8, 0), experiments.xor_run(1, 0)
    assert won.solved and won.loss < 1e-3 and won.slope < 1e-2
    assert not lost.solved and lost.loss > 0.4
    assert experiments.one_hot(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_gap_by_hand_is_that_of_interpolation():
    x = np.linspace(0, 1, 4001)
    knots = np.linspace(0, 1, 9)
    wave = experiments.wave(torch.from_numpy(x)).numpy()
    between = np.interp(x, knots, experiments.wave(torch.from_numpy(knots)).numpy())
    assert experiments.gap_by_hand(experiments.wave, 8) == pytest.approx(abs(between - wave).max())
    ratio = experiments.gap_by_hand(experiments.wave, 64) / experiments.gap_by_hand(experiments.wave, 128)
    assert ratio == pytest.approx(4, rel=0.02)


def test_training_brings_the_gap_down_and_seeds_stand_alone():
    def line(x):
        return 0.5 * x

    short, long = (experiments.gaps_trained(line, 8, [0, 1], steps=steps) for steps in (1, 300))
    assert (long < 0.1).all() and (long < short).all()
    torch.testing.assert_close(
        experiments.gaps_trained(line, 8, [1], steps=20), experiments.gaps_trained(line, 8, [0, 1], steps=20)[1:]
    )
