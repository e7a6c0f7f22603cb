"""What the page on backpropagation runs and draws: counts against other counts, slopes against autograd."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from torch.testing import assert_close

from helpers.data import digits
from helpers.foundations.backpropagation import experiments, figures


@pytest.fixture(autouse=True)
def no_figure_is_left():
    with matplotlib.rc_context({"backend": "agg"}):
        yield
    pyplot.close("all")


def test_the_neuron_and_its_slope():
    x = np.array([0.3, -1.0, 0.7, 2.0, -0.2])
    t = torch.tensor(x, requires_grad=True)
    value = ((t[0] * t[1] + t[2] * t[3] + t[4]).sigmoid() - 1) ** 2
    value.backward()
    assert experiments.neuron(x) == pytest.approx(value.item())
    np.testing.assert_allclose(experiments.neuron_slope(x), t.grad)
    coarse, fine = experiments.difference_errors([1e-2, 1e-3], "central", x[None])
    assert coarse / fine == pytest.approx(100, rel=0.05)


def test_every_gate_passes_and_every_fault_is_seen():
    for name, case in experiments.gate_cases(3).items():
        assert experiments.torch_gap(case) < 1e-12, name
        assert experiments.check_of(case) < 1e-6, name
    assert min(experiments.check_of_faults(3)) > 1e-3
    assert set(experiments.faulty_gates()) - set(experiments.gate_cases(3)) == {"square matrices"}


def test_tape_and_torch_take_the_same_steps():
    data = digits().subset(slice(100))
    images, labels = data.images.flatten(1).double().numpy(), data.labels.numpy()
    start = experiments.layers(64, 8, 10, 0)
    runs = [
        train(images, labels, start, rate=0.5, steps=12, batch=30)
        for train in (experiments.train_on_tape, experiments.train_in_torch)
    ]
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-10)
    for a, b in zip(runs[0][0], runs[1][0], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert runs[0][1][-1] < runs[0][1][0]
    assert (experiments.answers(start, images) == labels).mean() < 0.4


def test_price_counts_the_products():
    found = experiments.price(16, n=8)
    assert found.parameters == 64 * 16 + 16 + 160 + 10
    assert found.forward == 2 * 8 * (64 * 16 + 16 * 10)  # a product and a sum each
    assert found.both == found.forward + 2 * 8 * (64 * 16 + 2 * 16 * 10)  # the pictures need no slope
    deeper = [experiments.price(16, depth, n=8) for depth in (1, 2, 8)]
    assert deeper[0] == found
    assert deeper[1].parameters == found.parameters + 16 * 16 + 16
    assert deeper[1].both - found.both == 3 * (deeper[1].forward - found.forward) == 3 * 2 * 8 * 16 * 16
    ratios = experiments.time_ratios(64, 9, n=64)
    assert len(ratios) == 9 and np.median(ratios) > 1  # a single one may be disturbed


def test_gradients_add_at_fan_out():
    u, v, upstream = np.random.default_rng(3).standard_normal((3, 9))
    assert experiments.fan_out_gap(u, v, upstream) < 1e-14


def test_jacobians_act_as_their_operations_do():
    found = experiments.jacobians()
    assert [J.shape for J in found.values()] == [(8, 8), (8, 8), (8, 8), (4, 8), (8, 8)]
    assert_close(found["softmax"].sum(0), torch.zeros(8, dtype=torch.float64), atol=1e-12, rtol=0)


def test_slopes_by_layer_are_those_of_a_loop():
    slopes, bounds = experiments.slopes_by_layer("sigmoid", 3, 5, width=7, batch=2)
    noise = torch.Generator().manual_seed(5)
    h = torch.randn(2, 7, generator=noise, dtype=torch.float64).requires_grad_()
    inputs, Ws = [], []
    for _ in range(3):
        W = torch.randn(7, 7, generator=noise, dtype=torch.float64) / 7**0.5
        inputs.append(h)
        Ws.append(W)
        h = (h @ W).sigmoid()
    up = torch.randn(2, 7, generator=noise, dtype=torch.float64)
    gradients = torch.autograd.grad(h, inputs, up)
    assert_close(slopes, torch.stack([g.norm() for g in gradients]))
    expected = up.norm()
    for i in (2, 1, 0):
        expected = expected * torch.linalg.matrix_norm(Ws[i], 2) / 4
        assert_close(bounds[i], expected)
    assert (slopes <= bounds).all()


@pytest.mark.parametrize("depth, segments", [(6, 1), (6, 2), (6, 6), (9, 3), (10, 4)])
def test_kept_bytes_are_counted(depth, segments):
    layers = experiments.deep_network(depth, 8, 0)
    x = torch.randn(4, 8)
    trip = experiments.trip(layers, x, segments)
    assert trip.most == 4 * 4 * 8 * experiments.kept_activations(depth, segments)
    plain = experiments.trip(layers, x, None)
    assert plain.most == 4 * 4 * 8 * (depth + 1) == experiments.trip(layers, x, 1).most
    assert experiments.same(trip.gradients, plain.gradients)
    assert plain.calls == depth and trip.calls == 2 * depth - (depth - depth * (segments - 1) // segments)


def test_a_counter_counts_what_is_shared_once():
    w = torch.ones(3, requires_grad=True)
    x = torch.ones(3)
    with experiments.counting([w]) as kept:
        y = (w * x) * (w * x).detach()
        z = x * (w * 2)
        assert kept.now == kept.most == 2 * 12  # x once, the detached product once; w and numbers do not count
        del z
        y.sum().backward()
    del y
    assert kept.now == 0


def test_time_ratio_is_of_pairs():
    layers = experiments.deep_network(4, 8, 0)
    assert experiments.trip_seconds(layers, torch.randn(2, 8), 2, 3).shape == (3,)


def test_graph_is_drawn_from_the_tape():
    tape, named = experiments.example()
    where = figures.places(tape)
    assert len(set(where.values())) == len(where)
    for entry in tape.entries:
        assert all(where[node][0] < where[entry.output][0] for node in entry.inputs)
    texts = [text.get_text() for text in figures.graph_figure(tape).texts]
    assert set(named) - {"loss"} <= set(texts)
    shown = {f"{float(node.value):.2f}".replace("-", "\N{MINUS SIGN}") for node in named.values()}
    assert shown <= set(texts)
    assert f"{float(named['b'].grad):.2f}".replace("-", "\N{MINUS SIGN}") in texts
