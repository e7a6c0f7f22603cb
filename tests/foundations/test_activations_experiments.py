"""What the page on activations runs and draws: each number against a formula, a naive loop or torch's own optimizer."""

from functools import partial

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from torch import nn
from torch.nn import functional as F

from helpers.data import batches
from helpers.foundations.activations import ELU, LeakyReLU, Maxout, ReLU, Tanh, dead_units, experiments, figures
from helpers.foundations.activations.experiments import CONTESTANTS, Part, Sweep, network, train_together


@pytest.fixture(scope="module")
def toy() -> Part:
    x = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
    return Part(x, (x[:, :3].argmax(1)).long())


def test_digits_are_split_and_centred():
    parts = experiments.digits(torch.Generator().manual_seed(3), size=7)
    raw = experiments.digits(torch.Generator().manual_seed(3), size=7, centred=False)
    assert [len(part.y) for part in parts] == [3000, 1000, 1000]
    assert parts[0].x.mean(0).abs().max() < 1e-5 and parts[0].x.square().mean().sqrt().item() == pytest.approx(1)
    assert parts[1].x.mean(0).abs().max() > 1e-3  # by the mean of the training part
    for part, same in zip(parts, raw, strict=True):
        assert torch.equal(part.y, same.y) and same.x.min() >= 0 and same.x.max() <= 1
        assert part.y.bincount().tolist() == [len(part.y) // 10] * 10
    assert np.corrcoef(parts[2].x[:, 24], raw[2].x[:, 24])[0, 1] == pytest.approx(1)


def test_networks_begin_with_the_same_draw():
    plain = network("ReLU", 300, 5, hidden=(200, 80))
    for name in ("sigmoid", "tanh", "leaky ReLU", "ELU", "absolute value", "mixed", "PReLU", "ReLU, bias 0.01"):
        other = network(name, 300, 5, hidden=(200, 80))
        assert all(torch.equal(plain[i].weight, other[i].weight) for i in (0, 2, 4)), name
    assert plain[0].weight.var().item() == pytest.approx(2 / 300, rel=0.02) and (plain[0].bias == 0).all()
    assert network("maxout", 300, 5)[0].weight.var().item() == pytest.approx(2 / 300, rel=0.05)
    biased = network("ReLU, bias 0.25", 300, 5)
    assert (biased[0].bias == 0.25).all() and (biased[2].bias == 0.25).all() and (biased[4].bias == 0).all()
    assert not torch.equal(plain[0].weight, network("ReLU", 300, 6, hidden=(200, 80))[0].weight)


@pytest.mark.parametrize("name", ["sigmoid", "PReLU", "maxout", "mixed"])
def test_training_together_is_training_apart(name, toy):
    rates, seeds = [0.1, 0.3, 0.1], [4, 4, 9]
    together = [network(name, 6, seed, hidden=(8, 8), classes=3) for seed in seeds]
    losses, _ = train_together(together, rates, seeds, toy, 25, batch_size=16)
    for i, (rate, seed) in enumerate(zip(rates, seeds, strict=True)):
        model = network(name, 6, seed, hidden=(8, 8), classes=3)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        stream = batches(*toy, batch_size=16, generator=torch.Generator().manual_seed(seed), drop_last=True)
        for step in range(25):
            x, y = next(stream)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            assert losses[i, step].item() == pytest.approx(loss.item(), rel=1e-4)
        for a, b in zip(together[i].parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_training_is_watched_at_the_start_on_the_way_and_at_the_end(toy):
    models = [network("ReLU", 6, seed, hidden=(8,), classes=3) for seed in (0, 1)]
    first = [model[0].weight.sum().item() for model in models]
    _, seen = train_together(
        models, [0.1, 0.0], [0, 1], toy, 25, watch=lambda model: model[0].weight.sum().item(), every=10
    )
    assert seen.shape == (2, 4) and seen[:, 0].tolist() == pytest.approx(first)
    assert seen[0, -1].item() == pytest.approx(models[0][0].weight.sum().item())
    assert seen[1].tolist() == pytest.approx([first[1]] * 4) and len(set(seen[0].tolist())) == 4


def test_run_trains_a_network_for_each_seed(toy):
    models, losses, seen = experiments.run("ELU", 0.1, range(3), toy, 12, hidden=(8,))
    apart, alone, _ = experiments.run("ELU", 0.1, range(2, 3), toy, 12, hidden=(8,))
    assert losses.shape == (3, 12) and seen.shape == (3, 1)
    torch.testing.assert_close(losses[2], alone[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(models[2][0].weight, apart[0][0].weight, rtol=1e-4, atol=1e-5)


def test_steps_to_counts_like_a_loop():
    losses = torch.rand(40, 30, generator=torch.Generator().manual_seed(0)) + torch.linspace(0.4, 0, 30)
    for row, found in zip(losses.double(), experiments.steps_to(losses, 0.45, window=5), strict=True):
        means = [(step, row[step - 5 : step].mean()) for step in range(5, 31)]
        assert found.item() == next((step for step, mean in means if mean <= 0.45), np.inf)
    assert experiments.steps_to(torch.full((1, 30), torch.nan), 1.0).tolist() == [np.inf]


def test_sweep_and_the_rates_it_chooses(toy):
    found = experiments.sweep("tanh", [0.01, 0.3, 1e6], [1, 2], toy, toy, 60, 0.9, hidden=(8,))
    assert found.validation.shape == found.steps.shape == (3, 2)
    models, losses, _ = experiments.run("tanh", 0.3, [1, 2], toy, 60, hidden=(8,))
    expected = [experiments.judge(model, toy)[0] for model in models]
    assert found.validation[1].tolist() == pytest.approx(expected, rel=1e-3)
    assert torch.equal(found.steps[1], experiments.steps_to(losses, 0.9))
    assert experiments.best_rate(found, [0.01, 0.3, 1e6]) == experiments.fastest_rate(found, [0.01, 0.3, 1e6]) == 0.3
    never = Sweep(torch.tensor([[2.0, 1.0], [1.0, 1.5]]).double(), torch.full((2, 2), torch.inf).double())
    assert experiments.fastest_rate(never, [1, 2]) == 2
    fast = never._replace(steps=torch.tensor([[40.0, 50.0], [30.0, torch.inf]]).double())
    assert experiments.fastest_rate(fast, [1, 2]) == 1 and experiments.best_rate(fast, [1, 2]) == 2


def test_diverged_runs_count_as_infinite(toy):
    found = experiments.sweep("absolute value", [1e4], [1, 2], toy, toy, 30, 0.5, hidden=(8, 8))
    assert found.validation.isinf().all() or found.validation.min() > 1e3
    assert not found.validation.isnan().any() and found.steps.isinf().all()


@pytest.mark.parametrize("name", CONTESTANTS)
def test_units_are_those_of_the_forward_pass(name, toy):
    model = network(name, 6, 0, hidden=(9, 7), classes=3)
    found, x = experiments.units(model, toy.x), toy.x
    assert len(found) == 2
    for z, out in found:
        inputs = x
        for layer in model:
            y = layer(inputs)
            if isinstance(layer, nn.Linear):
                torch.testing.assert_close(z, y)
            inputs = y
            if not isinstance(layer, nn.Linear):
                break
        torch.testing.assert_close(out, inputs)
        x, model = out, model[1 if name == "maxout" else 2 :]
    torch.testing.assert_close(model(x), network(name, 6, 0, hidden=(9, 7), classes=3)(toy.x))


def test_shares_of_dead_units(toy):
    model = network("ReLU", 6, 0, hidden=(10, 10), classes=3)
    with torch.no_grad():
        model[0].bias[:3] = -1e3
        model[2].bias[:1] = -1e3
    z = model[0](toy.x)
    deeper = model[2](model[1](z))
    expected = ((z <= 0).all(0).sum() + (deeper <= 0).all(0).sum()).item() / 20
    assert experiments.dead_share(model, toy.x) == pytest.approx(expected) and expected >= 0.2
    outs = torch.cat([model[1](z).mean(0), model[3](deeper).mean(0)])
    assert experiments.mean_output(model, toy.x) == pytest.approx(outs.abs().mean().item())


def test_dead_by_layer_is_that_of_each_network(toy):
    shares = experiments.dead_by_layer(-0.5, [0, 1], toy.x, (12, 12))
    for row, seed in zip(shares, (0, 1), strict=True):
        model = network("ReLU", 6, seed, hidden=(12, 12))
        with torch.no_grad():
            model[0].bias.fill_(-0.5), model[2].bias.fill_(-0.5)
        z = model[0](toy.x)
        pair = [dead_units(z).float().mean().item(), dead_units(model[2](z.relu())).float().mean().item()]
        assert row.tolist() == pytest.approx(pair)


def test_recovered_counts_the_dead_that_are_on_again(toy):
    before, after = (network("ReLU", 6, 0, hidden=(10,), classes=3) for _ in range(2))
    with torch.no_grad():
        before[0].bias[:4] = -1e3  # four die
        after[0].bias[:1] = -1e3  # one stays dead
        after[0].bias[8] = -1e3  # another one dies
    assert experiments.recovered(before, after, toy.x) == pytest.approx(0.75)
    assert experiments.recovered(before, before, toy.x) == 0
    with pytest.raises(ValueError, match="there is none to recover"):
        experiments.recovered(network("ReLU", 6, 0, hidden=(10,)), after, toy.x)


def test_noise_is_the_same_for_every_model(toy):
    model = network("tanh", 6, 0, hidden=(8,), classes=3)
    assert experiments.noisy_accuracy(model, toy, 0.0, 0) == experiments.judge(model, toy)[1]
    noise = torch.randn(toy.x.shape, generator=torch.Generator().manual_seed(2))
    expected = (model(toy.x + 0.7 * noise).argmax(1) == toy.y).float().mean().item()
    assert experiments.noisy_accuracy(model, toy, 0.7, 2) == pytest.approx(expected)


def test_judge_is_cross_entropy_and_accuracy(toy):
    model = network("tanh", 6, 0, hidden=(8,), classes=3)
    logits = model(toy.x)
    loss, right = experiments.judge(model, toy)
    assert loss == pytest.approx(-logits.log_softmax(1)[range(96), toy.y].mean().item(), rel=1e-5)
    assert right == pytest.approx((logits.argmax(1) == toy.y).sum().item() / 96)


def test_gaussian_means_are_the_integrals():
    phi = 0.5 * (1 + torch.erf(torch.tensor(-1 / 2**0.5)).item())
    relu = (2 * np.pi) ** -0.5
    assert experiments.gaussian_mean(ReLU()) == pytest.approx(relu, abs=1e-9)
    assert experiments.gaussian_mean(ELU()) == pytest.approx(relu + np.exp(0.5) * phi - 0.5, abs=1e-6)
    assert experiments.gaussian_mean(Tanh()) == pytest.approx(0, abs=1e-12)


def test_layer_gradients_are_those_of_the_second_layer(toy):
    found = experiments.layer_gradients("sigmoid", toy, 8, 3)
    model = network("sigmoid", 6, 3)
    chosen = torch.randperm(96, generator=torch.Generator().manual_seed(3))[:8]
    F.cross_entropy(model(toy.x[chosen]), toy.y[chosen]).backward()
    torch.testing.assert_close(found, model[2].weight.grad)


def test_two_weights_take_the_steps_of_their_gradient():
    inputs = torch.rand(15, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path, w = experiments.two_weights(inputs, 0.6), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    for x, after in zip(inputs, path[1:], strict=True):
        w = w.detach().requires_grad_()
        (g,) = torch.autograd.grad((w @ x - (x[0] - x[1])) ** 2 / 2, w)
        w = w - 0.6 * g
        torch.testing.assert_close(after, w.detach())
    steps = path.diff(dim=0)
    assert (steps.prod(1) >= 0).all()  # positive inputs: both weights up, or both down


def test_steps_home_is_the_fewest_of_the_rates():
    rates = [0.3, 1.5, 50.0]
    fewest, rate = experiments.steps_home(0.0, 1, rates)
    inputs = torch.rand(400, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for r in rates[:2]:
        far = (experiments.two_weights(inputs, r) - torch.tensor([1.0, -1.0]).double()).norm(dim=1) > 0.1
        needed = int(far.nonzero().max()) + 1
        assert fewest <= needed and (r != rate or fewest == needed)
    assert experiments.steps_home(0.0, 1, [50.0])[0] == np.inf


def test_cards_shade_what_is_flat():
    x = torch.linspace(-6, 6, 1200)
    assert np.array_equal(figures.flat_stretches(ReLU(), x), (x < 0).numpy())
    assert not figures.flat_stretches(LeakyReLU(0.02), x).any()
    assert not figures.flat_stretches(LeakyReLU(-0.5), x).any()  # a negative slope is no flat one
    assert np.array_equal(figures.flat_stretches(ELU(), x), (x < np.log(0.01)).numpy())
    assert np.array_equal(figures.flat_stretches(Tanh(), x), (x.abs() > np.arctanh(0.99**0.5)).numpy())


def test_figures_draw_what_they_are_given():
    figure = figures.cards({"ReLU": ReLU(), "ELU": ELU(), "tanh": Tanh()}, dict.fromkeys(("ReLU", "ELU", "tanh"), "n"))
    assert [ax.get_title() for ax in figure.axes[:3]] == ["ReLU", "ELU", "tanh"]
    assert figures.machine().patches
    paths = {"a": torch.zeros(3, 2), "b": torch.ones(3, 2)}
    assert len(figures.zigzag_figure(paths).axes) == 2
    runs = {(name, depth): torch.rand(2, 40) for name in ("tanh", "ReLU") for depth in (1, 3)}
    titles = [ax.get_title() for ax in figures.depth_figure(runs, 0.5).axes]
    assert titles == ["1 hidden layer", "3 hidden layers"]
    ax = figures.over_steps({"a": torch.tensor([[0.0, 0.5], [0.0, 0.7]])}, 10)
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0, 60]) and ax.lines[0].get_xdata().tolist() == [0, 10]
    ax = figures.layer_lines({"bias 0": torch.tensor([[0.1, 0.2], [0.3, 0.4]])})
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([20, 30])
    ax = figures.sign_figure({"tanh": torch.tensor([[0.5, 0.6], [0.7, 0.8]])}, [1, 4])
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([60, 70])
    unit = Maxout.from_linear(nn.Linear(1, 1))
    figure = figures.maxout_figure({"ReLU": (unit, torch.zeros(401))} | {"b": (unit, torch.zeros(401))})
    assert len(figure.axes[0].lines) == 4  # two pieces, their largest, what they imitate
    sweeps = {str(i): torch.tensor([[0.5, 0.5], [0.3, torch.inf]]) for i in range(7)}
    figure = figures.rate_figure(sweeps, [0.1, 1.0])
    assert [len(ax.lines) for ax in figure.axes] == [5, 2] and np.isnan(figure.axes[0].lines[0].get_ydata()[1])
    ax = figures.noise_figure({str(i): torch.tensor([[0.9, 0.8], [0.8, 0.6]]) for i in range(8)}, [0.0, 1.0])
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0, 15]) and ax.lines[7].get_linestyle() == "--"
    pyplot.close("all")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(experiments.steps_to, torch.ones(2, 5), 0.5), "5 steps, window = 20: a mean needs as many steps"),
        (
            partial(
                train_together,
                [network("ReLU", 6, 0)],
                [0.1, 0.2],
                [0],
                Part(torch.ones(40, 6), torch.ones(40).long()),
                1,
            ),
            "1 networks, 2 rates, 1 seeds: one rate and one seed for each",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
