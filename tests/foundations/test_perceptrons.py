"""Perceptrons against scikit-learn, torch and the proofs: the rule, its bound, two layers in NumPy, layers by hand, look-ups."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from helpers.foundations.perceptrons import (
    Embedding,
    bump,
    delta_rule,
    forward,
    gradients,
    largest_margin,
    mistake_bound,
    perceptron_rule,
    piecewise_linear,
    step,
    train_two_layers,
)
from helpers.foundations.perceptrons.two_layers import Weights


def separable(seed: int, n: int = 25, d: int = 4, gap: float = 0.05):
    noise = np.random.default_rng(seed)
    u = noise.standard_normal(d)
    x = noise.standard_normal((n, d))
    heights = x @ u / np.linalg.norm(u)
    x += gap * np.sign(heights)[:, None] * u / np.linalg.norm(u)
    return x, np.sign(heights)


def test_parameter_count():
    weights, losses = train_two_layers(np.ones((3, 5)), np.ones((3, 2)), hidden=7, rate=0.1, steps=4, seed=0)
    assert [w.shape for w in weights] == [(5, 7), (7,), (7, 2), (2,)] and len(losses) == 4
    assert sum(w.size for w in weights) == 5 * 7 + 7 + 7 * 2 + 2
    assert sum(p.numel() for p in Embedding(vocab=50, dim=8).parameters()) == 400


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_matches_reference(seed, passes):
    """scikit-learn's Perceptron, in the same order and without an intercept, pass by pass."""
    from sklearn.linear_model import Perceptron

    x, y = separable(seed)
    ours = perceptron_rule(x, y, passes=passes)
    settled = len(ours.mistakes)
    theirs = Perceptron(fit_intercept=False, shuffle=False, tol=None, max_iter=settled).fit(x, y)
    np.testing.assert_allclose(ours.w, theirs.coef_[0], atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 6))
def test_mistakes_stay_within_the_bound(seed, n, d):
    x, y = separable(seed, n, d)
    run = perceptron_rule(x, y, passes=100_000)
    gamma, u = largest_margin(x, y)
    assert run.converged and (y * (x @ run.w) > 0).all()
    assert sum(run.mistakes) == len(run.path) - 1 <= mistake_bound(x, y) * (1 + 1e-9)
    for m, w in enumerate(run.path):  # the three lines of the proof
        R = np.linalg.norm(x, axis=1).max()
        assert m * gamma <= u @ w + 1e-9 and u @ w <= np.linalg.norm(w) + 1e-9
        assert np.linalg.norm(w) <= m**0.5 * R + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_largest_margin_is_that_of_a_hard_svm(seed):
    from sklearn.svm import SVC

    x, y = separable(seed, 20, 3, gap=0.2)
    both = np.vstack([x, -x]), np.concatenate([y, -y])  # a symmetric set has its best plane through the origin
    svm = SVC(kernel="linear", C=1e8, tol=1e-10).fit(*both)
    gamma, u = largest_margin(x, y)
    assert gamma == pytest.approx(1 / np.linalg.norm(svm.coef_), rel=1e-4)
    np.testing.assert_allclose(u, svm.coef_[0] / np.linalg.norm(svm.coef_), atol=1e-3)
    assert (y * (x @ u)).min() == pytest.approx(gamma)


def test_no_margin_where_nothing_separates():
    x = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    y = np.array([-1.0, 1, 1, -1])
    assert largest_margin(x, y)[0] == 0 and mistake_bound(x, y) == float("inf")
    run = perceptron_rule(x, y, passes=50)
    assert not run.converged and len(run.mistakes) == 50


def test_zero_is_a_mistake_and_order_counts():
    x, y = np.array([[1.0, 0], [0, 1]]), np.array([1.0, 1])
    run = perceptron_rule(x, y)
    assert run.mistakes == [2, 0] and run.w.tolist() == [1, 1]
    assert run.path.tolist() == [[0, 0], [1, 0], [1, 1]]
    assert step(np.array([-1.0, 0, 2])).tolist() == [-1, -1, 1]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.05, 1.5))
def test_delta_rule_is_descent_on_the_squared_error(seed, rate):
    x, y = separable(seed, 5, 3)
    path = delta_rule(x, y, rate, passes=2)
    assert len(path) == 11
    for i in range(10):
        w = torch.tensor(path[i], requires_grad=True)
        (0.5 * (y[i % 5] - w @ torch.from_numpy(x[i % 5])) ** 2).backward()
        np.testing.assert_allclose(path[i + 1], path[i] - rate * w.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_delta_rule_ends_at_infinity_without_a_warning(recwarn):
    path = delta_rule(np.array([[3.0]]), np.array([1.0]), passes=1000)
    assert not np.isfinite(path[-1]).all() and not recwarn.list


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_gradients_by_hand_are_those_of_autograd(seed, n, d, hidden, k):
    noise = np.random.default_rng(seed)
    shapes = [(d, hidden), (hidden,), (hidden, k), (k,)]
    weights = Weights(*(noise.standard_normal(shape) for shape in shapes))
    x, y = noise.standard_normal((n, d)), noise.standard_normal((n, k))
    tensors = [torch.tensor(w, requires_grad=True) for w in weights]
    network = (torch.tensor(x) @ tensors[0] + tensors[1]).sigmoid() @ tensors[2] + tensors[3]
    loss = nn.functional.mse_loss(network, torch.tensor(y))
    loss.backward()
    value, slopes = gradients(weights, x, y)
    assert value == pytest.approx(loss.item())
    assert_close(torch.from_numpy(forward(weights, x)[1]), network.detach())
    for by_hand, tensor in zip(slopes, tensors, strict=True):
        assert_close(torch.from_numpy(by_hand), tensor.grad)


def test_two_layers_train_as_torch_does():
    noise = np.random.default_rng(1)
    x, y = noise.standard_normal((8, 3)), noise.standard_normal((8, 2))
    start, first = train_two_layers(x, y, hidden=4, rate=1e-12, steps=1, seed=5)
    end, losses = train_two_layers(x, y, hidden=4, rate=0.3, steps=50, seed=5)
    network = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for p, w in zip(network.parameters(), [start.W1.T, start.b1, start.W2.T, start.b2], strict=True):
            p.copy_(torch.from_numpy(w.copy()))
    method = torch.optim.SGD(network.parameters(), lr=0.3)
    for i in range(50):
        method.zero_grad()
        loss = nn.functional.mse_loss(network(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        method.step()
        assert losses[i] == pytest.approx(loss.item())
    np.testing.assert_allclose(end.W1, network[0].weight.detach().numpy().T, atol=1e-9)
    assert first[0] == pytest.approx(losses[0])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-3, 3)), min_size=2, max_size=9, unique_by=lambda p: round(p[0], 1))
)
def test_a_layer_by_hand_is_the_line_through_the_points(points):
    points = sorted((round(x, 1), y) for x, y in points)
    knots, heights = torch.tensor(points, dtype=torch.float64).T
    network = piecewise_linear(knots, heights)
    assert network[0].out_features == len(points) - 1
    x = torch.linspace(knots[0], knots[-1], 57, dtype=torch.float64)
    expected = torch.from_numpy(np.interp(x, knots, heights))
    assert_close(network(x[:, None])[:, 0].detach(), expected, atol=1e-9, rtol=0)
    assert_close(network(knots[:1, None] - 2)[0, 0].detach(), heights[0])


def test_a_bump_is_one_at_its_top_and_zero_outside():
    b = bump(-1.0, 0.5, 1.0)
    at = torch.tensor([-5.0, -1.0, -0.25, 0.5, 0.75, 1.0, 1.5, 9.0], dtype=torch.float64)[:, None]
    assert_close(b(at)[:, 0].detach(), torch.tensor([0, 0, 0.5, 1, 0.5, 0, 0, 0]).double(), atol=1e-12, rtol=0)
    assert b[0].out_features == 3


def test_look_up_is_torchs_and_a_one_hot_product():
    torch.manual_seed(0)
    ours, theirs = Embedding(vocab=9, dim=4), nn.Embedding(9, 4)
    ours.load_state_dict(theirs.state_dict())
    words = torch.tensor([[3, 3, 8], [0, 1, 3]])
    assert torch.equal(ours(words), theirs(words))
    assert torch.equal(ours(words), nn.functional.one_hot(words, 9).float() @ ours.weight)
    assert torch.equal(ours(words.int()), ours(words))


def test_gradients_reach_every_parameter():
    embed = Embedding(vocab=6, dim=3)
    embed(torch.tensor([1, 4, 4])).sum().backward()
    assert embed.weight.grad.sum(1).tolist() == [0, 3, 0, 0, 6, 0]


def test_learns_toy_problem():
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = np.array([[-1.0], [1], [1], [-1]])
    weights, losses = train_two_layers(x, y, hidden=8, rate=0.3, steps=2000, seed=0, size=4.0)
    assert losses[-1] < 0.05 < 0.8 < losses[0] and (np.sign(forward(weights, x)[1]) == y).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_device_and_dtype(dtype):
    network = piecewise_linear(torch.tensor([0.0, 1, 2], dtype=dtype), torch.tensor([1.0, 0, 3], dtype=dtype))
    assert network(torch.tensor([[1.5]], dtype=dtype)).item() == pytest.approx(1.5)
    embed = Embedding(vocab=3, dim=2).to(dtype)
    assert embed(torch.tensor([2])).dtype == dtype


def test_bad_input(unchecked):
    x, y = np.ones((3, 2)), np.array([1.0, -1, 1])
    cases = {
        "labels [0.0, 1.0]: they are +1 and -1, as 2 * labels - 1": lambda: perceptron_rule(x, np.array([0.0, 1, 1])),
        "x of shape [3, 2], y of shape [2]: give [n d] and [n]": lambda: perceptron_rule(x, y[:2]),
        "x of shape [0, 2], y of shape [0]": lambda: delta_rule(x[:0], y[:0]),
        "1 inputs are not finite": lambda: largest_margin(np.array([[1.0, np.nan]]), y[:1]),
        "passes = 0: at least 1": lambda: perceptron_rule(x, y, passes=0),
        "hidden = 0: it is positive": lambda: train_two_layers(x, x, hidden=0, rate=1, steps=1, seed=0),
        "x of shape [3, 2], y of shape [3]: give [n d] and [n k]": lambda: train_two_layers(
            x, y, hidden=1, rate=1, steps=1, seed=0
        ),
        "knots do not rise": lambda: piecewise_linear(torch.tensor([0.0, 0.0]), torch.zeros(2)),
        "knots of shape [1], heights of shape [1]": lambda: piecewise_linear(torch.zeros(1), torch.zeros(1)),
        "left = 0, top = 2, right = 1: a bump rises and falls between them": lambda: bump(0, 2, 1),
        "vocab = 0: it is at least 1": lambda: Embedding(vocab=0, dim=2),
        "words from 0 to 5: 5 rows are 0 to 4": lambda: Embedding(vocab=5, dim=2)(torch.tensor([0, 5])),
        "words from -1 to 1: 5 rows": lambda: Embedding(vocab=5, dim=2)(torch.tensor([-1, 1])),
        "words of torch.float32: they are row numbers": lambda: Embedding(vocab=5, dim=2)(torch.ones(1)),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError) as error:
            call()
        assert message in str(error.value)
