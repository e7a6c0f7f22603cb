"""Character models: NumPy against torch, WaveNet against nn.Conv1d, samples with a cache against samples without."""

import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.sequences.character_models import (
    CausalConv,
    CharacterRNN,
    MinCharRNN,
    WaveNet,
    as_torch,
    cell_states,
    next_character_loss,
    sample,
    sharpen,
)
from helpers.sequences.character_models.wavenet import check_past
from helpers.sequences.rnn_lstm import GRU, LSTM, RNN

VOCAB = 11
NETS = {
    "RNN": lambda: CharacterRNN(RNN, vocab=VOCAB, dim=5, hidden=7),
    "LSTM": lambda: CharacterRNN(LSTM, vocab=VOCAB, dim=5, hidden=7, depth=2),
    "GRU": lambda: CharacterRNN(GRU, vocab=VOCAB, dim=5, hidden=7),
    "torch": lambda: CharacterRNN(nn.LSTM, vocab=VOCAB, dim=5, hidden=7),
    "WaveNet": lambda: WaveNet(vocab=VOCAB, channels=6, skip=8, dilations=(1, 2, 4), kernel=3),
}
every_net = pytest.mark.parametrize("name", NETS)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def build(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NETS[name]().double()


def text(b: int, t: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCAB, (b, t), generator=torch.Generator().manual_seed(seed))


@contextmanager
def half_precision(device: str):
    """Autocast without oneDNN, whose LSTM in bfloat16 not every processor has (torch.nn.LSTM then raises)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about GPUs of another maker, when the flag is set
        with torch.backends.mkldnn.flags(enabled=False), torch.autocast(device, torch.bfloat16):
            yield


def test_parameter_count():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    v, d, h = 96, 32, 100
    for net, gates in ((RNN, 1), (GRU, 3), (LSTM, 4)):
        expected = v * d + gates * h * (d + h + 2) + v * (h + 1)
        assert count(CharacterRNN(net, vocab=v, dim=d, hidden=h)) == expected
        assert count(CharacterRNN(net, vocab=v, dim=d, hidden=h, depth=3)) == expected + 2 * gates * h * (2 * h + 2)
    c, s, layers, k = 32, 64, 6, 2
    layer = 2 * c * (k * c + 1) + c * (c + 1) + s * (c + 1)
    expected = v * c + layers * layer + s * (s + 1) + v * (s + 1)
    assert count(WaveNet(vocab=v, channels=c, skip=s)) == expected
    assert sum(W.size for W in MinCharRNN(v, h).weights.values()) == h * (v + h + 1) + v * (h + 1)


def test_matches_reference_min_char_rnn():
    model = MinCharRNN(VOCAB, 9, seed=3)
    for W in model.weights.values():
        W *= 30  # far from the linear part of tanh
    codes, h = text(1, 26)[0].numpy(), np.linspace(-0.9, 0.9, 9)
    loss, gradients, last = model.gradients(codes[:-1], codes[1:], h)
    net = as_torch(model)
    x = torch.from_numpy(codes)[None]
    logits, state = net(x[:, :-1], torch.from_numpy(h)[None, None])
    theirs = F.cross_entropy(logits[0], x[0, 1:])
    theirs.backward()
    pairs = {
        "W_xh": net.net.weight_ih_l0,
        "W_hh": net.net.weight_hh_l0,
        "W_hy": net.head.weight,
        "b_h": net.net.bias_ih_l0,
        "b_y": net.head.bias,
    }
    assert loss == pytest.approx(theirs.item(), abs=1e-12)
    assert_close(torch.from_numpy(last), state[0, 0].detach(), rtol=0, atol=1e-12)
    assert gradients.keys() == pairs.keys()
    for name, parameter in pairs.items():
        assert parameter.grad.abs().max() > 1e-4
        assert_close(torch.from_numpy(gradients[name]), parameter.grad, rtol=0, atol=1e-12)


def test_first_weights_of_min_char_rnn():
    """0.01 times normal draws, of another seed others; biases are 0."""
    one, two = MinCharRNN(96, 100).weights, MinCharRNN(96, 100, seed=1).weights
    for name in ("W_xh", "W_hh", "W_hy"):
        assert one[name].std() == pytest.approx(0.01, rel=0.05) and abs(one[name].mean()) < 0.0005
        assert not np.array_equal(one[name], two[name])
    assert not one["b_h"].any() and not one["b_y"].any()


def test_min_char_rnn_against_differences():
    model, rng = MinCharRNN(5, 4, seed=1), np.random.default_rng(0)
    for W in model.weights.values():
        W += 0.5 * rng.standard_normal(W.shape)
    x, y, h = np.array([0, 3, 3, 1]), np.array([3, 3, 1, 4]), np.full(4, 0.2)
    _, gradients, _ = model.gradients(x, y, h)
    for name, W in model.weights.items():
        for at in np.ndindex(W.shape):
            losses = []
            for step in (1e-5, -2e-5):
                W[at] += step
                losses.append(model.gradients(x, y, h)[0])
            W[at] += 1e-5
            assert gradients[name][at] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-8)


def test_min_char_rnn_goes_on_where_it_stopped():
    codes = text(1, 300)[0].numpy()
    one, two = MinCharRNN(VOCAB, 6), MinCharRNN(VOCAB, 6)
    losses = one.train(codes, 30, length=10)
    parts = [two.train(codes, n, length=10, start=start) for start, n in ((0, 12), (12, 18))]
    assert np.array_equal(losses, np.concatenate(parts))


def test_adagrad_clips_each_entry_and_divides_by_the_root_of_the_sum():
    model = MinCharRNN(2, 1)
    for W in model.weights.values():
        W[:] = 0
    gradients = {name: np.full_like(W, 0.5) for name, W in model.weights.items()}
    gradients["W_xh"] = np.array([[7.0, -3.0]])
    for _ in range(2):
        model.adagrad(gradients, lr=0.1)
    path = 1 + 2**-0.5  # 1 / 1 + 1 / √2, whatever the size of the gradient
    assert model.weights["W_xh"] == pytest.approx(np.array([[-0.1 * path, 0.1 * path]]), abs=1e-7)
    assert model.weights["b_y"] == pytest.approx(-0.1 * path, abs=1e-7)


def test_min_char_rnn_reads_the_text_in_order_and_begins_again_without_a_past():
    codes, seen = np.arange(11), []  # 10 predictions: two windows of 5
    model = MinCharRNN(11, 3)
    step = model.gradients

    def spy(x, y, h):
        seen.append((x.tolist(), y.tolist(), bool(h.any())))
        return step(x, y, h)

    model.gradients = spy
    model.train(codes, 3, length=5)
    first, second = [*range(5)], [*range(5, 10)]
    after = lambda x: [i + 1 for i in x]  # noqa: E731
    assert seen == [(first, after(first), False), (second, after(second), True), (first, after(first), False)]


@pytest.mark.parametrize("kernel, dilation", [(2, 1), (2, 8), (3, 4), (1, 1)])
def test_matches_reference_causal_conv(kernel, dilation):
    ours = CausalConv(4, 6, kernel=kernel, dilation=dilation).double()
    theirs = nn.Conv1d(4, 6, kernel, dilation=dilation).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 30, 4, dtype=torch.float64)
    reach = (kernel - 1) * dilation
    y, past = ours(x)
    expected = theirs(F.pad(x.transpose(1, 2), (reach, 0))).transpose(1, 2)
    assert_close(y, expected, rtol=0, atol=1e-12)
    assert_close(past, x[:, 30 - reach :])
    direction = torch.randn_like(y)
    for a, b in zip(
        torch.autograd.grad(y, ours.parameters(), direction),
        torch.autograd.grad(expected, theirs.parameters(), direction),
    ):
        assert_close(a, b, rtol=0, atol=1e-10)


def test_wavenet_matches_a_naive_computation():
    model, x = build("WaveNet"), text(1, 20)
    h, total = model.embedding(x)[0], 0.0  # [t d]
    for layer in model.layers:
        W, bias = layer.conv.weight, layer.conv.bias
        z = []
        for t in range(len(h)):
            a = bias.clone()
            for i in range(3):
                source = t - (2 - i) * layer.conv.dilation
                if source >= 0:
                    a = a + W[:, :, i] @ h[source]
            z.append(a[:6].tanh() * a[6:].sigmoid())
        z = torch.stack(z)
        total = total + layer.skip(z)
        h = h + layer.residual(z)
    _, first, _, last = model.head
    logits = F.linear(F.linear(total.relu(), first.weight, first.bias).relu(), last.weight, last.bias)
    assert_close(model(x)[0][0], logits, rtol=0, atol=1e-12)


@every_net
def test_gradients_reach_every_parameter(name):
    model = build(name)
    next_character_loss(model, (text(3, 20),)).backward()
    unused = {"layers.2.residual.weight", "layers.2.residual.bias"}  # nothing lies above the last layer
    for key, parameter in model.named_parameters():
        if name == "WaveNet" and key in unused:
            assert parameter.grad is None
        else:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, key


@every_net
def test_causal(name):
    """The output at t has a gradient of exactly zero to every later input, and not to the present one."""
    model, x, t = build(name), text(1, 30), 17
    vectors = model.embedding(x).detach().requires_grad_()
    if name == "WaveNet":
        logits, _ = model.from_vectors(vectors)
    else:
        logits = model.head(model.net(vectors)[0])
    (gradient,) = torch.autograd.grad(logits[0, t].square().sum(), vectors)
    size = gradient[0].abs().sum(1)
    assert size[t + 1 :].tolist() == [0] * 12
    assert size[t] > 0 and size[t - 5] > 0


@pytest.mark.parametrize(
    "dilations, kernel, field", [([2**i for i in range(10)], 2, 1024), ((1, 2, 4), 3, 15), ((1,), 2, 2), ((4, 4), 2, 9)]
)
def test_receptive_field_is_measured(dilations, kernel, field):
    model = WaveNet(vocab=5, channels=3, skip=32, dilations=dilations, kernel=kernel).double()
    assert model.receptive_field == field
    vectors = torch.randn(1, field + 20, 3, dtype=torch.float64, requires_grad=True)
    logits, _ = model.from_vectors(vectors)
    (gradient,) = torch.autograd.grad(logits[0, -1].sum(), vectors)
    reached = gradient[0].abs().sum(1).nonzero().flatten()
    assert len(vectors[0]) - reached.min() == field
    if dilations != (4, 4):
        assert len(reached) == field  # without gaps


@every_net
@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_state_stands_for_the_past(name, chunk):
    model, x = build(name), text(2, 50)
    whole, _ = model(x)
    state, parts = None, []
    for start in range(0, 50, chunk):
        logits, state = model(x[:, start : start + chunk], state)
        parts.append(logits)
    assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)


@every_net
@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 3.0])
def test_cache_changes_no_sample(name, temperature):
    model = build(name)
    drawn = [
        sample(
            model,
            text(2, 5),
            16,
            temperature=temperature,
            generator=torch.Generator().manual_seed(1),
            cache=cache,
        )
        for cache in (True, False)
    ]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (2, 16) and model.training


def test_cells_are_those_of_the_lstm():
    model = CharacterRNN(LSTM, vocab=VOCAB, dim=5, hidden=7).double()
    codes = text(1, 23)[0]
    cells = cell_states(model, codes, rows=2)
    for row in (0, 1):
        for t in (1, 11):
            _, (_, c) = model.net(model.embedding(codes[None, row * 11 : row * 11 + t]))
            assert_close(cells[row * 11 + t - 1], c[0, 0].tanh(), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"the net is GRU\(\)"):
        cell_states(build("GRU"), codes)
    with pytest.raises(ValueError, match="rows = 24: 1 to 23"):
        cell_states(model, codes, rows=24)


def test_temperature_is_a_power():
    logits = torch.randn(4, 9, dtype=torch.float64)
    p = logits.softmax(1)
    for temperature in (0.2, 1.0, 5.0):
        power = p ** (1 / temperature)
        assert_close(sharpen(logits, temperature), power / power.sum(1, keepdim=True))
    assert_close(sharpen(logits, 0.0), F.one_hot(p.argmax(1), 9).double())
    entropies = [-(q * q.log()).sum().item() for q in (sharpen(logits, T) for T in (0.2, 0.5, 1.0, 2.0, 9.0))]
    assert entropies == sorted(entropies)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_temperature_has_a_limit_on_both_sides(dtype):
    """From the smallest number above 0 to the largest: never NaN, one-hot on one side, even on the other."""
    logits = torch.tensor([[1.0, 2.0, -torch.inf], [2e4, 4e4, 0.0]], dtype=dtype)
    for temperature in (5e-324, 1e-310, 1e-40, 1e-3):
        assert sharpen(logits, temperature).tolist() == [[0, 1, 0], [0, 1, 0]]
    for temperature in (1e39, 1e300):
        assert_close(sharpen(logits, temperature)[0].double(), torch.tensor([0.5, 0.5, 0]).double())
    assert sharpen(logits, 0.5).dtype == dtype


@every_net
def test_sampling_gives_each_module_its_mode_back(name):
    model = build(name)
    model.head.eval()
    sample(model, text(1, 3), 2)
    with pytest.raises(ValueError, match="temperature = -1"):
        sample(model, text(1, 3), 2, temperature=-1)
    assert model.training and not model.head.training


def test_samples_follow_the_probabilities():
    model = build("GRU")
    prompt = text(1, 6).expand(20_000, 6)
    drawn = sample(model, prompt, 1, temperature=0.3, generator=torch.Generator().manual_seed(0))
    p = sharpen(model(prompt[:1])[0][0, -1], 0.3)
    shares = torch.bincount(drawn[:, 0], minlength=VOCAB) / 20_000
    assert (shares - p).abs().max() < 0.015


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "WaveNet"])
def test_learns_toy_problem(name):
    """A period of five characters: each is known from those before."""
    model = build(name).float()
    x = torch.tensor([0, 3, 3, 1, 7]).repeat(5)[None]
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    first = next_character_loss(model, (x,)).item()
    for _ in range(120):
        optimizer.zero_grad()
        next_character_loss(model, (x,)).backward()
        optimizer.step()
    assert first == pytest.approx(np.log(VOCAB), rel=0.15)
    assert next_character_loss(model, (x,)) < 0.15
    assert sample(model, x[:, :8], 7, temperature=0)[0].tolist() == [1, 7, 0, 3, 3, 1, 7]


def test_min_char_rnn_learns_toy_problem():
    codes = np.tile([0, 3, 3, 1, 7], 200)
    losses = MinCharRNN(VOCAB, 20).train(codes, 300)
    assert losses[0] == pytest.approx(np.log(VOCAB), abs=0.01)
    assert losses[-10:].mean() < 0.1


@every_net
@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(name, device):
    model = build(name).float().to(device)
    x = text(2, 12).to(device)
    logits, state = model(x)
    assert logits.device.type == device and logits.shape == (2, 12, VOCAB)
    drawn = sample(model, x, 5, generator=torch.Generator(device).manual_seed(0))
    assert drawn.device.type == device
    with half_precision(device):
        assert next_character_loss(model, (x,)).isfinite()
    other = build(name, seed=1).float().to(device)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x)[0], logits)


@pytest.mark.parametrize("device", DEVICES)
@every_net
def test_bf16_autocast_is_finite_and_close(name, device):
    model, x = build(name).float().to(device), text(2, 20).to(device)
    exact = model(x)[0]
    with half_precision(device):
        logits, _ = model(x)
        loss = next_character_loss(model, (x,))
    assert logits.dtype == torch.bfloat16
    assert_close(logits.float(), exact, rtol=0, atol=0.03)
    loss.backward()
    for key, parameter in model.named_parameters():
        if not key.startswith("layers.2.residual"):  # nothing lies above the last layer
            assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().max() > 0, key


def test_torch_compile_gives_the_same(unchecked):
    """One graph for logits, carried state and gradients; the LSTM's backward is compiled by its own chapter."""
    jobs = [(partial(CharacterRNN, net, vocab=5, dim=3, hidden=4), "aot_eager") for net in (RNN, GRU)]
    jobs += [(partial(CharacterRNN, LSTM, vocab=5, dim=3, hidden=4), "eager")]
    jobs += [(partial(WaveNet, vocab=5, channels=3, skip=4, dilations=(1, 2)), "aot_eager")]
    for make, backend in jobs:
        model, x = make().double(), torch.randint(5, (2, 4))
        whole, found = model(x)[0], []
        for run in (model, torch.compile(model, backend=backend, fullgraph=True)):
            model.zero_grad()
            first, state = run(x[:, :2])
            rest, _ = run(x[:, 2:], state)
            assert_close(torch.cat([first, rest], 1), whole, rtol=0, atol=1e-10)
            next_character_loss(run, (x[:, :3],)).backward()
            found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        assert max(g.abs().max() for g in found[0]) > 1e-3
        assert_close(*found, rtol=0, atol=1e-10)


def test_bad_input_is_refused():
    model, prompt = build("GRU"), text(1, 3)
    with pytest.raises(ValueError, match=r"temperature = -1: a finite number, 0 or more"):
        sample(model, prompt, 5, temperature=-1)
    with pytest.raises(ValueError, match="temperature = inf"):
        sharpen(torch.zeros(3), float("inf"))
    with pytest.raises(ValueError, match="the prompt is empty: begin with one character"):
        sample(model, prompt[:, :0], 5)
    with pytest.raises(ValueError, match="length = 0: draw at least 1"):
        sample(model, prompt, 0)
    with pytest.raises(ValueError, match=r"dilations = \(\), vocab = 3: at least one layer"):
        WaveNet(vocab=3, dilations=())
    with pytest.raises(ValueError, match="kernel = 2, dilation = 0: both at least 1"):
        CausalConv(2, 2, dilation=0)
    with pytest.raises(ValueError, match="vocab = 3, hidden = 0"):
        MinCharRNN(3, 0)
    with pytest.raises(ValueError, match="length = 9: 1 to 8"):
        MinCharRNN(3, 2).train(np.zeros(9, int), 1, length=9)
    with pytest.raises(ValueError, match="codes from 0 to 3: this network has vocab = 3"):
        MinCharRNN(3, 2).train(np.array([0, 1, 3, 2]), 1, length=2)
    with pytest.raises(ValueError, match="windows of 1 characters: at least 2"):
        next_character_loss(build("WaveNet"), (text(2, 1),))
    net = build("WaveNet")
    _, state = net(text(2, 5))
    with pytest.raises(ValueError, match="a state of 2 queues: one for each of the 3 layers"):
        net(text(2, 5), state[:2])
    with pytest.raises(ValueError, match=r"a past of shape \(2, 1, 6\): \[b, reach, d\] is \(2, 2, 6\)"):
        net(text(2, 5), [past[:, 1:] for past in state])  # would be shifted by one
    with pytest.raises(ValueError, match=r"a past of shape \(1, 2, 6\)"):
        check_past(state[0][:1], 2, 2, 6)
    with pytest.raises(ValueError, match="0 characters and 0 next ones"):
        MinCharRNN(3, 2).gradients(np.zeros(0, int), np.zeros(0, int), np.zeros(2))
