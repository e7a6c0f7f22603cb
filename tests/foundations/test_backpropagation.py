"""Backpropagation against torch: numerical gradients, gates, the tape, checkpoints."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint_sequential as torch_checkpoints

from helpers.foundations.backpropagation import (
    Add,
    AveragePool,
    Convolve,
    MatMul,
    Max,
    MaxPool,
    Multiply,
    Node,
    Sigmoid,
    Tape,
    checkpoint_sequential,
    gradient_check,
    numerical_gradient,
)


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# -- differences -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([(), (3,), (2, 3)]), st.sampled_from(["central", "forward"]))
def test_matches_reference(seed, shape, form):
    """Numerical gradients are those of autograd, to the order of their form."""
    x = random(seed, *shape)
    t = torch.tensor(x, requires_grad=True)
    (t.sin() * t.exp()).sum().backward()
    found = numerical_gradient(lambda v: (np.sin(v) * np.exp(v)).sum(), x, form=form)
    assert found.shape == shape
    np.testing.assert_allclose(
        found, t.grad, rtol=2e-4 if form == "forward" else 1e-6, atol=1e-4 if form == "forward" else 1e-7
    )


def test_differences_are_exact_where_the_formula_is():
    """Central ones on a quadratic, forward ones on a line; a forward one on a quadratic is off by h."""
    x = np.array([0.5, -2.0])
    np.testing.assert_allclose(numerical_gradient(lambda v: (v**2).sum(), x, h=0.25), 2 * x)
    np.testing.assert_allclose(numerical_gradient(lambda v: (3 * v).sum(), x, h=0.5, form="forward"), [3, 3])
    np.testing.assert_allclose(numerical_gradient(lambda v: (v**2).sum(), x, h=0.25, form="forward"), 2 * x + 0.25)
    assert x.tolist() == [0.5, -2.0]


def test_number_of_evaluations():
    seen = []
    for form, expected in (("central", 12), ("forward", 7)):
        seen.clear()
        numerical_gradient(lambda v: seen.append(1) or v.sum(), np.ones((2, 3)), form=form)
        assert len(seen) == expected


def test_gradient_check_finds_faults_and_ignores_zeros():
    x = random(0, 4)

    def f(v):
        return (v**3).sum() + 0 * v[0]

    assert gradient_check(f, 3 * x**2, x) < 1e-7
    for spoilt in (-3 * x**2, 1.02 * 3 * x**2, 3 * x**2 * [1, 0, 1, 1]):
        assert gradient_check(f, spoilt, x) > 0.01
    assert gradient_check(lambda v: v[1], np.array([0.0, 1.0]), np.zeros(2)) < 1e-9
    assert gradient_check(lambda v: 0.0, np.zeros(2), np.zeros(2)) == 0
    assert gradient_check(lambda v: v[0], np.array([np.nan]), np.zeros(1)) == float("inf")


# -- gates -------------------------------------------------------------------------------------------------------------

GATES = {
    Add: torch.add,
    Multiply: torch.mul,
    Max: torch.maximum,
    MatMul: torch.matmul,
    Sigmoid: torch.sigmoid,
    Convolve: F.conv2d,
}


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(list(GATES)), st.integers(0, 10_000), st.data())
def test_gates_are_torchs(kind, seed, data):
    n, k, m = (data.draw(st.integers(1, 4)) for _ in range(3))
    if kind is Convolve:
        h, w = data.draw(st.integers(n, 6)), data.draw(st.integers(k, 6))
        inputs = [random(seed, 2, m, h, w), random(seed + 1, 3, m, n, k)]
    elif kind is MatMul:
        inputs = [random(seed, n, k), random(seed + 1, k, m)]
    else:
        inputs = [random(seed, n, k), random(seed + 1, n, k)][: 1 if kind is Sigmoid else 2]
        if kind is Max:
            inputs = [part.round() for part in inputs]  # with equal entries
    compare(kind(), inputs, GATES[kind], seed)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([MaxPool, AveragePool]),
    st.integers(0, 10_000),
    st.integers(1, 3),
    st.integers(3, 7),
    st.integers(3, 7),
)
def test_pooling_is_torchs(kind, seed, size, h, w):
    reference = {MaxPool: F.max_pool2d, AveragePool: F.avg_pool2d}[kind]
    images = random(seed, 2, 3, h, w)
    compare(kind(size), [images], lambda x: reference(x, size), seed)
    compare(kind(size), [images.round()], lambda x: reference(x, size), seed)  # ties: the first


def compare(gate, inputs, reference, seed):
    tensors = [torch.tensor(part, requires_grad=True) for part in inputs]
    expected = reference(*tensors)
    upstream = random(seed + 2, *expected.shape)
    expected.backward(torch.from_numpy(upstream))
    np.testing.assert_allclose(gate.forward(*inputs), expected.detach(), atol=1e-12)
    for mine, tensor in zip(gate.backward(upstream), tensors, strict=True):
        np.testing.assert_allclose(mine, tensor.grad, atol=1e-12)


def test_a_sigmoid_of_a_thousand_does_not_overflow(recwarn):
    gate = Sigmoid()
    assert gate.forward(np.array([-1000.0, 1000.0])).tolist() == [0, 1]
    assert gate.backward(np.ones(2))[0].tolist() == [0, 0] and not recwarn.list


# -- the tape ----------------------------------------------------------------------------------------------------------

FORMULAS = {
    "a * b + a": lambda a, b: a * b + a,
    "a / b - b": lambda a, b: a / (b * b + 1.0) - b,
    "2 - a**3": lambda a, b: 2.0 - a**3 * b,
    "1 + 3 a": lambda a, b: 1.0 + 3.0 * a - (-b),
    "row and column": lambda a, b: a * b.sum(0) + b * 2.0,
}


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(list(FORMULAS)), st.integers(0, 10_000))
def test_tape_is_autograd(name, seed):
    a, b = random(seed, 3), random(seed + 1, 4, 3)  # broadcast
    tape = Tape()
    mine = [tape.variable(part) for part in (a, b)]
    out = FORMULAS[name](*mine)
    tape.backward(out.sum())
    theirs = [torch.tensor(part, requires_grad=True) for part in (a, b)]
    expected = FORMULAS[name](*theirs)
    expected.sum().backward()
    np.testing.assert_allclose(out.value, expected.detach())
    for node, tensor in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(node.grad, tensor.grad, atol=1e-12)


@pytest.mark.parametrize(
    "mine, theirs",
    [
        (lambda a: a.relu(), torch.relu),
        (lambda a: a.sigmoid(), torch.sigmoid),
        (lambda a: a.exp(), torch.exp),
        (lambda a: (a * a + 1.0).log(), lambda a: (a * a + 1).log()),
        (lambda a: a.maximum(0.3), lambda a: torch.maximum(a, torch.tensor(0.3).double())),
        (lambda a: a.sum(1) ** 2, lambda a: a.sum(1) ** 2),
        (lambda a: a.pick([2, 0, 1]) * 2.0, lambda a: 2 * a[[0, 1, 2], [2, 0, 1]]),
        (lambda a: a @ a, lambda a: a @ a),
        (lambda a: (a @ np.ones((3, 2))).sum(0), lambda a: (a @ torch.ones(3, 2).double()).sum(0)),
    ],
)
def test_operations_of_the_tape(mine, theirs):
    a = random(5, 3, 3)
    tape = Tape()
    node, tensor = tape.variable(a), torch.tensor(a, requires_grad=True)
    out, expected = mine(node), theirs(tensor)
    weights = random(6, *expected.shape)
    tape.backward((out * weights).sum())
    (expected * torch.from_numpy(weights)).sum().backward()
    np.testing.assert_allclose(out.value, expected.detach(), atol=1e-12)
    np.testing.assert_allclose(node.grad, tensor.grad, atol=1e-12)


def test_numbers_and_arrays_stand_on_either_side():
    tape, M = Tape(), np.arange(4.0).reshape(2, 2)
    x = tape.variable(M + 1, "x")
    out = (np.ones((2, 2)) * x + M @ x + 1.0 / x + (M - x) + x**0).sum()
    t = torch.tensor(M + 1, requires_grad=True)
    expected = (t + torch.from_numpy(M) @ t + 1 / t + (torch.from_numpy(M) - t) + 1).sum()
    tape.backward(out)
    expected.backward()
    np.testing.assert_allclose(out.value, expected.item())
    np.testing.assert_allclose(x.grad, t.grad)


def test_gradients_reach_every_parameter():
    tape = Tape()
    a, b, unused = (tape.variable(v, name) for v, name in ((2.0, "a"), (3.0, "b"), (1.0, "c")))
    side = b * 5.0
    loss = a * b + a
    tape.backward(loss)
    assert (float(a.grad), float(b.grad)) == (4, 2)  # a is used twice: its gradients add
    assert unused.grad is None and side.grad is None
    tape.backward(side)
    assert a.grad is None and float(b.grad) == 5
    tape.backward(loss)
    assert float(a.grad) == 4  # a second walk does not add to the first
    assert isinstance(loss, Node)


# -- checkpoints -------------------------------------------------------------------------------------------------------


def network(seed: int, depth: int, dropout: float = 0.0, frozen: int | None = None) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Dropout(dropout)) for _ in range(depth)))
    if frozen is not None:
        net[frozen].requires_grad_(False)
    return net


@pytest.mark.parametrize("depth, segments", [(1, 1), (5, 1), (5, 2), (5, 5), (8, 3)])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("wants", [False, True])
def test_checkpoints_leave_gradients_equal_to_the_bit(depth, segments, dropout, wants):
    net = network(0, depth, dropout, frozen=1 if depth > 1 else None)
    x = torch.randn(4, 6)

    def trip(run):
        torch.manual_seed(7)
        net.zero_grad()
        inputs = x.clone().requires_grad_(wants)
        out = run(inputs)
        out.square().sum().backward()
        after = torch.rand(3)  # random numbers go on as if nothing had run twice
        return out, inputs.grad, [p.grad for p in net.parameters()], after

    ours, plain = trip(lambda v: checkpoint_sequential(net, v, segments)), trip(net)
    theirs = trip(lambda v: torch_checkpoints(net, segments, v, use_reentrant=False))
    for other in (plain, theirs):
        assert torch.equal(ours[0], other[0]) and torch.equal(ours[3], other[3])
        for mine, their in zip([ours[1], *ours[2]], [other[1], *other[2]], strict=True):
            assert mine is their is None or torch.equal(mine, their)


def test_checkpoints_go_inside_one_another_and_under_autocast():
    net, x = network(1, 6), torch.randn(4, 6)

    def nested(v):
        inner = [lambda u: checkpoint_sequential(net[:3], u, 2)]
        return checkpoint_sequential(net[3:], inner[0](v), 2)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, got = net(x), nested(x)
    assert got.dtype == expected.dtype and torch.equal(got, expected)
    a = torch.autograd.grad(expected.float().sum(), net.parameters(), retain_graph=True)
    b = torch.autograd.grad(got.float().sum(), net.parameters())
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one, other)


def test_checkpoints_without_gradients():
    net = network(2, 4)
    with torch.no_grad():
        out = checkpoint_sequential(net, torch.randn(2, 6), 2)
    assert not out.requires_grad


def test_learns_toy_problem():
    x, y = random(0, 60, 2), (random(0, 60, 2).prod(1) > 0).astype(int)
    W1, W2 = random(1, 2, 16), random(2, 16, 2) / 4
    for _ in range(400):
        tape = Tape()
        a, b = tape.variable(W1), tape.variable(W2)
        scores = (tape.variable(x) @ a).relu() @ b
        shifted = scores - scores.value.max(1, keepdims=True)
        loss = (shifted.exp().sum(1).log() - shifted.pick(y)).sum() * (1 / 60)
        tape.backward(loss)
        W1, W2 = W1 - 0.5 * a.grad, W2 - 0.5 * b.grad
    assert loss.value < 0.2 and (scores.value.argmax(1) == y).mean() > 0.95


@pytest.mark.gpu
def test_device_and_dtype_on_a_gpu():
    net, x = network(0, 4, 0.3).cuda(), torch.randn(4, 6, device="cuda")
    torch.cuda.manual_seed(0)
    a = torch.autograd.grad(checkpoint_sequential(net, x, 2).sum(), net.parameters())
    torch.cuda.manual_seed(0)
    b = torch.autograd.grad(net(x).sum(), net.parameters())
    for one, other in zip(a, b, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_device_and_dtype(dtype):
    x = np.array([0.5, 2.0], dtype=dtype)
    h = 1e-2 if dtype == np.float32 else 1e-5
    found = numerical_gradient(lambda v: (v**2).sum(), x, h=h)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, 2 * x, rtol=1e-3)
    gate = MaxPool(2)
    gate.forward(np.ones((1, 1, 2, 2), dtype=dtype))
    assert gate.backward(np.ones((1, 1, 1, 1), dtype=dtype))[0].dtype == dtype


def test_bad_input(unchecked):
    x = np.ones(2)
    tape, other = Tape(), Tape()
    node = tape.variable(1.0, "w")
    cases = {
        "h = 0: the step is above 0, often 1e-5": lambda: numerical_gradient(np.sum, x, 0),
        "h = nan: the step is above 0": lambda: numerical_gradient(np.sum, x, float("nan")),
        "h = 1e-20 changes nothing at 1 in float64": lambda: numerical_gradient(np.sum, x, 1e-20),
        "changes nothing at 1 in float32: take a larger step, or float64": lambda: numerical_gradient(
            np.sum, x.astype(np.float32), 1e-9
        ),
        "form = 'middle': it is 'central' or 'forward'": lambda: numerical_gradient(np.sum, x, form="middle"),
        "x of int64: x + h is no whole number": lambda: numerical_gradient(np.sum, np.ones(2, dtype=int)),
        "f returns [2] numbers": lambda: numerical_gradient(lambda v: v, x),
        "gradient of shape [3] for x of shape [2]": lambda: gradient_check(np.sum, np.ones(3), x),
        "inputs of shapes [2] and [3]: this gate takes equal ones": lambda: Add().forward(x, np.ones(3)),
        "matrices of shapes [2, 3] and [2, 3]: give [n k] and [k m]": lambda: MatMul().forward(*[np.ones((2, 3))] * 2),
        "images of shape [1, 1, 2, 2], a window of 3x3": lambda: Convolve().forward(
            np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3))
        ),
        "kernels of shape [1, 2, 1, 1] for images of 1 channels": lambda: Convolve().forward(
            np.ones((1, 1, 2, 2)), np.ones((1, 2, 1, 1))
        ),
        "size = 0: windows have 1 pixel or more": lambda: MaxPool(0),
        "a loss of shape [2]: backward begins at one number": lambda: tape.backward(tape.variable(x)),
        "the loss is on another tape": lambda: tape.backward(other.variable(1.0)),
        "a product of shapes [2] and [2]: the tape multiplies matrices": lambda: tape.variable(x) @ tape.variable(x),
        "w is on another tape: begin both with variable() of one tape": lambda: other.variable(2.0) * node,
        "segments = 0 of 2 layers: give 1 to 2": lambda: checkpoint_sequential(
            [nn.Tanh(), nn.Tanh()], torch.ones(1), 0
        ),
        "segments = 3 of 2 layers": lambda: checkpoint_sequential([nn.Tanh(), nn.Tanh()], torch.ones(1), 3),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError) as error:
            call()
        assert message in str(error.value)
