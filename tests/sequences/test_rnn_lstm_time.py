"""Gradients through time against autograd, clipping against torch's, truncation against the whole."""

from functools import partial
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from helpers.sequences.rnn_lstm import (
    GRU,
    LSTM,
    RNN,
    clip_by_norm,
    clip_by_value,
    detach,
    gate_activity,
    gradient_norms,
    resting_rate,
    set_memory_bias,
    set_spectral_radius,
    step_jacobians,
    truncated_backward,
)
from helpers.sequences.rnn_lstm.through_time import check_steps_first

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)
every_kind = pytest.mark.parametrize("kind", [RNN, LSTM, GRU], ids=lambda k: k.__name__)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(kind, d=3, hidden=5, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(d, hidden, **options).double()


def squared(out, y):
    return ((out - y) ** 2).sum()


@every_kind
def test_matches_reference_gradient_norms(kind):
    """The product of the steps' Jacobians is what autograd says of the whole stretch."""
    layer, x = layer_of(kind), noise(8, 3)
    norms = gradient_norms(layer, x)
    assert len(norms) == 9 and norms[0] == 1
    for lag in (1, 3, 8):
        states = None
        if lag < 8:
            _, states = layer(x[: 8 - lag, None])
        else:
            states = torch.zeros(1, 1, 5).double()
            states = (states, states) if kind is LSTM else states
        flat = torch.cat(states if isinstance(states, tuple) else (states,), 2).flatten().detach()

        def rest(flat, lag=lag):
            parts = tuple(part.view(1, 1, 5) for part in flat.split(5))
            _, last = layer(x[8 - lag :, None], parts if kind is LSTM else parts[0])
            return torch.cat(last if kind is LSTM else (last,), 2).flatten()

        jacobian = torch.autograd.functional.jacobian(rest, flat)
        close(norms[lag], torch.linalg.matrix_norm(jacobian, 2))


@every_kind
def test_slope_is_the_rate_of_the_resting_point(kind):
    layer = layer_of(kind, seed=3)
    x = torch.full((3,), 0.3).double()
    norms = gradient_norms(layer, x.expand(400, -1)).log()
    slope = ((norms[300] - norms[200]) / 100).item()
    assert slope == pytest.approx(resting_rate(layer, x), abs=0.02) and slope < -0.1


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.3])
def test_slope_of_a_linear_rnn_is_the_log_of_its_radius(radius):
    layer = layer_of(RNN, hidden=16, bias=False)
    set_spectral_radius(layer, radius)
    assert torch.linalg.eigvals(layer.weight_hh_l0).abs().max().item() == pytest.approx(radius)
    x = torch.zeros(3).double()
    assert resting_rate(layer, x) == pytest.approx(log(radius), abs=1e-9)
    norms = gradient_norms(layer, x.expand(300, -1)).log()
    assert ((norms[300] - norms[100]) / 200).item() == pytest.approx(log(radius), abs=0.02)


@given(seed=st.integers(0, 1000), share=st.floats(0.1, 0.99))
@settings(max_examples=25, deadline=None)
def test_gradient_dies_when_the_largest_singular_value_is_below_1(seed, share):
    """Pascanu et al. 2013: the norm is bounded by the power of the singular value, whatever the inputs."""
    layer = layer_of(RNN, seed=seed)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(share / torch.linalg.matrix_norm(layer.weight_hh_l0, 2))
    norms = gradient_norms(layer, noise(20, 3, seed=seed))
    assert (norms <= share ** torch.arange(21).double() + 1e-12).all()


@pytest.mark.parametrize("kind", [LSTM, GRU], ids=["LSTM", "GRU"])
@pytest.mark.parametrize("bias", [-2.0, 4.0])
def test_memory_bias_sets_what_a_step_keeps(kind, bias):
    layer = layer_of(kind)
    set_memory_bias(layer, bias)
    with torch.no_grad():
        layer.weight_hh_l0.zero_(), layer.weight_ih_l0.zero_()
    keep = torch.sigmoid(torch.tensor(bias, dtype=torch.float64)).item()
    if kind is LSTM:
        seen = gate_activity(layer, noise(3, 1, 3))
        close(seen["f"].detach(), torch.full_like(seen["f"], keep))
        close(seen["i"], 1 - seen["f"])
    assert resting_rate(layer, torch.zeros(3).double()) == pytest.approx(log(keep), abs=1e-6)


@pytest.mark.parametrize("kind", [LSTM, GRU], ids=["LSTM", "GRU"])
def test_memory_bias_is_set_in_every_layer_and_direction(kind):
    layer = layer_of(kind, num_layers=2, bidirectional=True)
    rest = {name: p.detach().clone() for name, p in layer.named_parameters()}
    set_memory_bias(layer, 3.0)
    for name, p in layer.named_parameters():
        if name.startswith("weight"):
            assert torch.equal(p, rest[name])
            continue
        keep = torch.full((5,), 3.0 if "_ih_" in name else 0.0).double()
        assert torch.equal(p[5:10], keep), name
        assert torch.equal(p[:5], -keep if kind is LSTM else rest[name][:5]), name
        assert torch.equal(p[10:], rest[name][10:]), name


def test_gate_activity_matches_the_layer():
    layer, x = layer_of(LSTM), noise(7, 2, 3)
    seen = gate_activity(layer, x)
    out, (_, c) = layer(x)
    close(seen["h"], out)
    close(seen["c"][-1], c[0])
    close(seen["h"], seen["o"] * seen["c"].tanh())
    assert set(seen) == set("ifgoch") and all(((v > 0) & (v < 1)).all() for k, v in seen.items() if k in "ifo")


@given(scale=st.floats(0.1, 1e3), limit=st.floats(1e-2, 1e2))
@settings(max_examples=40, deadline=None)
def test_clipping_matches_reference(scale, limit):
    gradients = [scale * noise(3, 2), scale * noise(4, seed=1)]
    for ours, theirs in ((clip_by_norm, clip_grad_norm_), (clip_by_value, clip_grad_value_)):
        parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for p, g in zip(parameters, gradients):
            p.grad = g.clone()
        theirs(parameters, limit)
        torch.testing.assert_close(ours(gradients, limit), [p.grad for p in parameters], rtol=1e-4, atol=1e-10)
    flat, cut = (torch.cat([g.flatten() for g in gs]) for gs in (gradients, clip_by_norm(gradients, limit)))
    assert cut.norm().item() == pytest.approx(min(flat.norm().item(), limit))
    close(cut / cut.norm(), flat / flat.norm())


@pytest.mark.parametrize("window", [1, 3, 10, 99])
@every_kind
def test_truncated_backward(kind, window):
    """Equal to full BPTT when the window covers all; the loss is always that of the whole sequence."""
    layer, x, y = layer_of(kind, num_layers=2), noise(10, 2, 3), noise(10, 2, 5, seed=1)
    whole = squared(layer(x)[0], y)
    expected = torch.autograd.grad(whole, list(layer.parameters()))
    _, end = layer(x)
    loss, state = truncated_backward(layer, x, y, window, squared)
    close(loss, whole.detach())
    close(state, detach(end))
    gaps = [(p.grad - g).abs().max().item() for p, g in zip(layer.parameters(), expected)]
    assert max(gaps) < 1e-10 if window >= 10 else max(gaps) > 1e-3


def test_truncation_stops_the_gradient_at_the_window():
    layer, x = layer_of(GRU), noise(10, 1, 3).requires_grad_()
    y = torch.zeros(10, 1, 5).double()

    def only_the_last(out, y):
        return (out[-1] - y[-1]).sum() * (y[-1, 0, 0] > 0)

    y[-1] = 1
    truncated_backward(layer, x, y, 4, only_the_last)
    reached = x.grad.abs().sum((1, 2)) > 0
    assert reached.tolist() == [False] * 8 + [True] * 2


def test_norms_neither_overflow_nor_become_no_numbers():
    """‖J^k‖ of a linear RNN with W = r · 1 is r^k: beyond the range it is inf or 0, and the rest of the line stays."""
    layer = layer_of(RNN, hidden=2, bias=False)
    for r, end in ((10.0, torch.inf), (1e-4, 0.0)):
        layer.weight_hh_l0.data = r * torch.eye(2).double()
        norms = gradient_norms(layer, torch.zeros(400, 3).double())
        assert norms[50].item() == pytest.approx(r**50, rel=1e-9) and norms[-1] == end and not norms.isnan().any()
    layer.weight_hh_l0.data.zero_()
    assert gradient_norms(layer, torch.zeros(3, 3).double()).tolist() == [1, 0, 0, 0]
    assert resting_rate(layer, torch.zeros(3).double()) == -torch.inf


def test_half_precision_is_measured_and_scaled():
    layer = layer_of(RNN, bias=False, hidden=16).bfloat16()
    set_spectral_radius(layer, 0.9)
    x = torch.zeros(3).bfloat16()
    assert resting_rate(layer, x, steps=20) == pytest.approx(log(0.9), abs=0.01)
    assert gradient_norms(layer, x.expand(5, -1)).dtype == torch.float64
    large = [torch.full((1000,), 1e4).half(), torch.full((10,), 1e4).half()]
    for cut in clip_by_norm(large, 1.0):  # the norm, 3e5, is no number of float16
        assert cut.dtype == torch.float16
        close(cut.double(), torch.full_like(cut, 1010**-0.5).double(), rtol=1e-3, atol=0)


def test_a_radius_is_set_everywhere_or_nowhere():
    layer = layer_of(RNN, num_layers=2, bias=False)
    layer.weight_hh_l1.data.zero_()
    before = layer.weight_hh_l0.clone()
    with pytest.raises(ValueError, match="weight_hh_l1 has the spectral radius 0.0: it cannot be scaled"):
        set_spectral_radius(layer, 1.0)
    assert torch.equal(layer.weight_hh_l0, before)


def test_gradients_reach_every_parameter():
    layer = layer_of(LSTM, num_layers=2)
    truncated_backward(layer, noise(6, 2, 3), noise(6, 2, 5), 2, squared)
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_bad_input_is_named():
    layer = layer_of(GRU)
    with pytest.raises(ValueError, match="window = 0: at least 1 step"):
        truncated_backward(layer, noise(6, 2, 3), noise(6, 2, 5), 0, squared)
    for clip in (clip_by_norm, clip_by_value):
        with pytest.raises(ValueError, match="limit = 0.0: a gradient is clipped to a length above 0"):
            clip([noise(2)], 0.0)
    with pytest.raises(ValueError, match="radius = 1.0 for GRU: a finite number, 0 or more, for an RNN"):
        set_spectral_radius(layer, 1.0)
    for radius in (-1.0, torch.nan, torch.inf):
        with pytest.raises(ValueError, match=f"radius = {radius}"):
            set_spectral_radius(layer_of(RNN), radius)
    with pytest.raises(ValueError, match=r"inputs of shape \(4, 3\): \[t, b, d\], so for one sequence give"):
        gate_activity(layer_of(LSTM), noise(4, 3))
    with pytest.raises(ValueError, match="bias = nan"):
        set_memory_bias(layer_of(LSTM), torch.nan)
    with pytest.raises(ValueError, match="steps = 1: at least 2"):
        resting_rate(layer, noise(3), steps=1)
    with pytest.raises(ValueError, match=r"inputs of shape \(0, 3\): one sequence \[t, d\] of at least 1 step"):
        step_jacobians(layer, noise(0, 3))
    with pytest.raises(ValueError, match="inputs of 2 numbers a step"):
        step_jacobians(layer, noise(4, 2))
    with pytest.raises(ValueError, match="batch_first = True: windows are cut along the first axis"):
        truncated_backward(layer_of(GRU, batch_first=True), noise(6, 2, 3), noise(6, 2, 5), 2, squared)
    with pytest.raises(ValueError, match=r"x of shape \(6, 2, 3\) and y of shape \(5, 2, 5\): as many steps"):
        check_steps_first(layer, noise(6, 2, 3), noise(5, 2, 5))
    assert clip_by_norm([], 1.0) == []
    with pytest.raises(ValueError, match="RNN without that bias: an LSTM or a GRU of this chapter has it"):
        set_memory_bias(layer_of(RNN), 1.0)
    with pytest.raises(ValueError, match="LSTM without that bias"):
        set_memory_bias(layer_of(LSTM, bias=False), 1.0)
    with pytest.raises(ValueError, match="a stacked or two-way layer: measure one of one"):
        step_jacobians(layer_of(GRU, num_layers=2), noise(4, 3))
    chaotic = layer_of(RNN, bias=False, hidden=32)
    set_spectral_radius(chaotic, 3.0)
    with pytest.raises(ValueError, match="no rest after 50 steps: try a smaller input"):
        resting_rate(chaotic, torch.full((3,), 0.1).double(), steps=50)
