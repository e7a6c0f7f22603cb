"""The activation functions against torch's, and the facts that the chapter builds on."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from helpers.foundations.activations import (
    ELU,
    AbsoluteValue,
    LeakyReLU,
    Maxout,
    Mixed,
    PReLU,
    ReLU,
    Sigmoid,
    Tanh,
    dead_units,
    fill_biases,
    majority_sign,
    slope,
)
from helpers.foundations.activations.experiments import CONTESTANTS, Part, judge, network, train_together


class Abs(nn.Module):
    """torch has no module for it."""

    def forward(self, x):
        return torch.abs(x)


PAIRS = {
    "sigmoid": (Sigmoid(), nn.Sigmoid()),
    "tanh": (Tanh(), nn.Tanh()),
    "ReLU": (ReLU(), nn.ReLU()),
    "leaky ReLU": (LeakyReLU(), nn.LeakyReLU()),
    "leaky ReLU, 0.3": (LeakyReLU(0.3), nn.LeakyReLU(0.3)),
    "leaky ReLU, -0.5": (LeakyReLU(-0.5), nn.LeakyReLU(-0.5)),
    "ELU": (ELU(), nn.ELU()),
    "ELU, 1.7": (ELU(alpha=1.7), nn.ELU(alpha=1.7)),
    "absolute value": (AbsoluteValue(), Abs()),
}
EXACT = ("ReLU", "leaky ReLU", "leaky ReLU, 0.3", "leaky ReLU, -0.5", "absolute value")
every_pair = pytest.mark.parametrize("name", PAIRS)
DENSE = torch.cat([torch.linspace(-50, 50, 20_001), torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e-4, -1e-4, 1e4, -1e4])])


def both(name: str, x: torch.Tensor):
    """Values and gradients of our function and of torch's, with an upstream gradient that is not all ones."""
    found = []
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32).to(x.dtype)
    for f in PAIRS[name]:
        leaf = x.clone().requires_grad_()
        value = f(leaf)
        value.backward(upstream)
        found.append((value.detach(), leaf.grad))
    return found


def test_parameter_count():
    assert all(not list(f.parameters()) for f, _ in PAIRS.values())
    assert [sum(p.numel() for p in PReLU(n).parameters()) for n in (1, 7)] == [1, 7]
    linear = sum(p.numel() for p in nn.Linear(13, 5).parameters())
    for k in (1, 2, 5):
        assert sum(p.numel() for p in Maxout(13, 5, k).parameters()) == k * linear
    assert sum(p.numel() for p in Maxout(13, 5, 2, bias=False).parameters()) == 2 * 13 * 5
    counts = {name: sum(p.numel() for p in network(name, 196, 0).parameters()) for name in CONTESTANTS}
    plain = 197 * 50 + 51 * 50 + 510
    assert counts == dict.fromkeys(CONTESTANTS, plain) | {"PReLU": plain + 100, "maxout": 2 * (plain - 510) + 510}


@every_pair
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_matches_reference(name, dtype):
    (ours, back), (torchs, torchs_back) = both(name, DENSE.to(dtype))
    tolerance = 0 if name in EXACT else 1e-13 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(ours, torchs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(back, torchs_back, rtol=tolerance, atol=tolerance)


@every_pair
def test_matches_reference_at_the_edges(name):
    """At zero, infinity and what is no number; a run that diverges must not look healthy."""
    edges = torch.tensor([0.0, math.nan, 1e30, -1e30], dtype=torch.float64)
    (ours, back), (torchs, torchs_back) = both(name, edges)
    torch.testing.assert_close(ours, torchs, equal_nan=True)
    torch.testing.assert_close(back[[0, 2, 3]], torchs_back[[0, 2, 3]])
    assert ours[1].isnan()


@every_pair
def test_gradients_agree_with_differences(name):
    x = torch.tensor([-3.2, -0.7, -0.01, 0.02, 0.9, 2.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(PAIRS[name][0], x)
    f, h = PAIRS[name][0], 1e-6
    torch.testing.assert_close(slope(f, x), (f(x + h) - f(x - h)).detach() / (2 * h), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("shape, channels", [((6,), 1), ((4, 6), 1), ((4, 6), 6), ((3, 6, 5), 6), ((2, 6, 4, 3), 6)])
def test_prelu_matches_reference(shape, channels):
    ours, torchs = PReLU(channels, init=0.1).double(), nn.PReLU(channels, init=0.3).double()
    with torch.no_grad():
        ours.weight.copy_(torch.linspace(-0.4, 0.9, channels))
    torchs.load_state_dict(ours.state_dict())
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    x[0] = 0  # torch counts a zero as negative
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(a).backward(g)
    torchs(b).backward(g)
    torch.testing.assert_close(ours(x), torchs(x), rtol=0, atol=0)
    torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0)
    torch.testing.assert_close(ours.weight.grad, torchs.weight.grad)
    back = PReLU(channels).double()
    back.load_state_dict(torchs.state_dict())
    assert torch.equal(back.weight, ours.weight)


@pytest.mark.parametrize("pieces", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_maxout_matches_a_naive_loop(pieces, bias):
    torch.manual_seed(0)
    unit = Maxout(5, 3, pieces, bias).double()
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    for i in range(3):
        rows = [unit.weight[i, j] @ x[1, 2] + (unit.bias[i, j] if bias else 0) for j in range(pieces)]
        torch.testing.assert_close(unit(x)[1, 2, i], torch.stack(rows).max())
    assert unit(x).shape == (2, 4, 3)


@pytest.mark.parametrize("s, f", [(0.0, nn.ReLU()), (0.01, nn.LeakyReLU()), (0.4, nn.LeakyReLU(0.4)), (-1.0, Abs())])
@pytest.mark.parametrize("bias", [True, False])
def test_maxout_contains_relu_leaky_relu_and_the_absolute_value(s, f, bias):
    torch.manual_seed(0)
    layer = nn.Linear(6, 4, bias=bias).double()
    unit, x = Maxout.from_linear(layer, s), torch.randn(50, 6, dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(unit(a), f(layer(b)))
    unit(a).square().sum().backward()
    f(layer(b)).square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    assert unit.weight.dtype == torch.float64 and unit.weight.data_ptr() != layer.weight.data_ptr()


def test_gradients_reach_every_parameter():
    x = torch.randn(64, 20, generator=torch.Generator().manual_seed(0))
    for name in CONTESTANTS:
        model = network(name, 20, 0, hidden=(12, 12))
        F.cross_entropy(model(x), torch.arange(64) % 10).backward()
        assert all(p.grad.abs().sum() > 0 for p in model.parameters()), name


def test_slopes_keep_their_bounds():
    x = DENSE.double()
    assert slope(Sigmoid(), x).max() <= 0.25 and slope(Tanh(), x).max() <= 1
    assert set(slope(ReLU(), x).tolist()) == {0, 1} and set(slope(AbsoluteValue(), x).tolist()) == {-1, 0, 1}
    assert set(slope(LeakyReLU(0.2), x).tolist()) == {0.2, 1}
    assert ELU(0.7)(x).min() == -0.7 and ELU(1)(x).min() == -1  # whole numbers are numbers too


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-300, 300), alpha=st.floats(0, 2))
def test_identities(x, alpha):
    z = torch.tensor([x], dtype=torch.float64)
    torch.testing.assert_close(Tanh()(z), 2 * Sigmoid()(2 * z) - 1, rtol=0, atol=1e-15)
    torch.testing.assert_close(Sigmoid()(z) + Sigmoid()(-z), torch.ones_like(z))
    torch.testing.assert_close(AbsoluteValue()(z), ReLU()(z) + ReLU()(-z), rtol=0, atol=0)
    torch.testing.assert_close(PReLU(init=alpha).double()(z), LeakyReLU(alpha)(z), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ReLU()(z), (z + z.abs()) / 2, rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), pieces=st.integers(1, 5))
def test_maxout_is_convex(seed, share, pieces):
    generator = torch.Generator().manual_seed(seed)
    unit = Maxout(3, 2, pieces).double()
    for p in unit.parameters():
        nn.init.normal_(p, generator=generator)
    a, b = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    assert (unit(share * a + (1 - share) * b) <= share * unit(a) + (1 - share) * unit(b) + 1e-12).all()


def test_mixed_gives_each_group_its_function():
    x = torch.randn(5, 3, 10, generator=torch.Generator().manual_seed(0))
    y = Mixed(Tanh(), ReLU(), AbsoluteValue())(x)  # 4, 3 and 3 units
    torch.testing.assert_close(y[..., :4], torch.tanh(x[..., :4]))
    torch.testing.assert_close(y[..., 4:7], torch.relu(x[..., 4:7]))
    torch.testing.assert_close(y[..., 7:], x[..., 7:].abs())


def test_dead_units_get_no_gradient_and_others_do():
    torch.manual_seed(0)
    model = network("ReLU", 8, 0, hidden=(6,), classes=3)
    with torch.no_grad():
        model[0].bias[:2] = -100
    x = torch.randn(40, 8)
    dead = dead_units(model[0](x))
    assert dead.tolist() == [True, True] + [False] * 4
    F.cross_entropy(model(x), torch.arange(40) % 3).backward()
    assert (model[0].weight.grad[dead] == 0).all() and (model[0].bias.grad[dead] == 0).all()
    assert (model[0].weight.grad[~dead] != 0).any(1).all()
    model[1] = LeakyReLU()
    F.cross_entropy(model(x), torch.arange(40) % 3).backward()
    assert (model[0].weight.grad[dead] != 0).any(1).all()
    assert dead_units(torch.tensor([[0.0, 1e-9], [-1, -5]])).tolist() == [True, False]
    with pytest.raises(ValueError, match="2 of 4 inputs are not finite: the run has diverged"):
        dead_units(torch.tensor([[-1.0, math.nan], [-1, math.inf]]))


def test_fill_biases_is_torchs_constant():
    ours, torchs = network("ReLU", 8, 0, hidden=(6, 5)), network("ReLU", 8, 0, hidden=(6, 5))
    fill_biases(ours, 0.1)
    for layer in (torchs[0], torchs[2]):
        nn.init.constant_(layer.bias, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), torchs.parameters(), strict=True))
    assert (ours[-1].bias == 0).all() and (ours[2].bias == torch.tensor(0.1)).all()


@settings(max_examples=40, deadline=None)
@given(numbers=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=9))
def test_majority_sign_counts(numbers):
    found = majority_sign(torch.tensor([numbers])).item()
    plus, minus = sum(n > 0 for n in numbers), sum(n < 0 for n in numbers)
    if plus + minus:
        assert found == pytest.approx(max(plus, minus) / (plus + minus))
    else:
        assert math.isnan(found)


def test_positive_inputs_give_one_sign_per_sample():
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 7), torch.rand(1, 20) + 0.01
    layer(x).square().sum().backward()
    assert (majority_sign(layer.weight.grad) == 1).all()
    assert (layer.weight.grad.sign() == layer.bias.grad.sign()[:, None]).all()


@pytest.mark.parametrize("name", CONTESTANTS)
def test_learns_toy_problem(name, unchecked):
    """Which quadrants of the plane: no linear map tells them apart."""
    x = 2 * torch.rand(512, 2, generator=torch.Generator().manual_seed(0)) - 1
    part = Part(x, (x.prod(1) > 0).long())
    model = network(name, 2, 0, hidden=(16,), classes=2)
    rate = 4.0 if name == "sigmoid" else 0.5
    train_together([model], [rate], [0], part, 200)
    assert judge(model, part)[1] > 0.85


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_device_and_dtype(device):
    x = torch.linspace(-90, 90, 48, device=device).view(8, 6)
    layers = [f for f, _ in PAIRS.values()] + [PReLU(6), Maxout(6, 4), Mixed(Tanh(), ELU())]
    for layer in layers:
        layer = layer.to(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            assert layer(x.clone().requires_grad_()).isfinite().all()
        for dtype in (torch.bfloat16, torch.float16, torch.float64):
            leaf = x.to(dtype).requires_grad_()
            y = layer.to(dtype)(leaf)
            y.sum().backward()
            assert y.dtype == dtype and y.device.type == device and leaf.grad.isfinite().all(), (layer, dtype)
        layer.float()
    unit, copy = Maxout(6, 4), Maxout(6, 4)
    copy.load_state_dict(unit.state_dict())
    assert torch.equal(copy(x.cpu()), unit(x.cpu()))


def test_what_modules_say_of_themselves():
    assert "negative_slope=0.2" in repr(LeakyReLU(0.2)) and "alpha=1.5" in repr(ELU(1.5))
    assert "num_parameters=3" in repr(PReLU(3)) and "pieces=4, bias=False" in repr(Maxout(2, 3, 4, False))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeakyReLU(math.nan), "negative_slope = nan: a finite number"),
        (lambda: ELU(math.inf), "alpha = inf: a finite number"),
        (lambda: PReLU(0), "num_parameters = 0: 1 for all channels, or as many as there are channels"),
        (lambda: PReLU(init=math.nan), "init = nan: a finite number"),
        (lambda: PReLU(3)(torch.ones(2, 4)), "num_parameters = 3, but axis 1 of the input [2, 4] has 4 channels"),
        (lambda: PReLU(3)(torch.ones(3)), "num_parameters = 3, but axis 1 of the input [3] has 1 channels"),
        (lambda: Maxout(4, 2, 0), "pieces = 0: at least 1"),
        (lambda: Maxout(0, 2), "in_features = 0: at least 1"),
        (lambda: Maxout.from_linear(nn.Linear(2, 2), 1.5), "negative_slope = 1.5: up to 1"),
        (lambda: Maxout.from_linear(nn.Linear(2, 2), -math.inf), "negative_slope = -inf: a finite number"),
        (lambda: Mixed(), "Mixed() has no function: give one or more"),
        (lambda: Mixed(ReLU(), Tanh())(torch.ones(3, 1)), "1 units for 2 functions: each needs one at least"),
        (lambda: slope(Maxout(3, 2), torch.ones(4, 3)), "f maps [4, 3] to [4, 2]: a slope is that of a function"),
        (lambda: fill_biases(nn.Linear(2, 2), 0.1), "1 linear layers: at least two, all with a bias"),
        (
            lambda: fill_biases(nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2)), 0.1),
            "2 linear layers: at least two, all with a bias",
        ),
        (lambda: fill_biases(network("ReLU", 4, 0), math.nan), "value = nan: a finite number"),
        (lambda: network("softplus", 4, 0), "name = 'softplus': there is 'sigmoid', 'tanh'"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
