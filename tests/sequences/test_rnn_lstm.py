"""RNN, LSTM and GRU against torch.nn, in outputs, states and gradients."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from helpers.sequences.rnn_lstm import GRU, LSTM, RNN, gru_cell, lstm_cell, rnn_cell

PAIRS = {
    "RNN": (RNN, nn.RNN),
    "ReLU": (partial(RNN, nonlinearity="relu"), partial(nn.RNN, nonlinearity="relu")),
    "LSTM": (LSTM, nn.LSTM),
    "GRU": (GRU, nn.GRU),
}
every_kind = pytest.mark.parametrize("kind", PAIRS)
close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def pair(kind: str, d: int = 3, hidden: int = 5, num_layers: int = 1, seed: int = 0, fused: bool = True, **options):
    """Our layer and torch's, with torch's weights."""
    ours, torchs = PAIRS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = torchs(d, hidden, num_layers, **options).double()
        mine = ours(d, hidden, num_layers, fused=fused, **options).double()
    mine.load_state_dict(theirs.state_dict())
    return mine, theirs


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def start(layer: nn.Module, b: int, seed: int = 7):
    """A random first state that wants a gradient."""
    ways = layer.num_layers * (1 + layer.bidirectional)
    states = [noise(ways, b, layer.hidden_size, seed=seed + i).requires_grad_() for i in range(2)]
    return tuple(states) if isinstance(layer, LSTM | nn.LSTM) else states[0]


def run(layer: nn.Module, x: torch.Tensor, state, seed: int = 3, **options) -> dict[str, torch.Tensor]:
    """Outputs, last states and all gradients of a random linear loss of all of them."""
    x = x.detach().requires_grad_()
    data = x
    if (lengths := options.pop("packed", None)) is not None:
        data = pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=False)
    out, last = layer(data, state, **options)
    if isinstance(out, PackedSequence):
        out, _ = pad_packed_sequence(out, layer.batch_first)
    firsts = state if isinstance(state, tuple) else [state] * (state is not None)
    lasts = last if isinstance(last, tuple) else [last]
    loss = sum((t * noise(*t.shape, seed=seed + i).to(t.device)).sum() for i, t in enumerate([out, *lasts]))
    parameters = dict(layer.named_parameters())
    gradients = torch.autograd.grad(loss, [x, *firsts, *parameters.values()])
    names = ["d x", *(f"d state {i}" for i in range(len(firsts))), *(f"d {name}" for name in parameters)]
    return {"out": out, **{f"state {i}": s for i, s in enumerate(lasts)}, **dict(zip(names, gradients))}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@every_kind
def test_parameter_count(kind, num_layers, bidirectional, bias):
    d, h = 3, 5
    ours, theirs = pair(kind, d, h, num_layers, bidirectional=bidirectional, bias=bias)
    shapes = {name: p.shape for name, p in ours.named_parameters()}
    assert list(shapes.items()) == [(name, p.shape) for name, p in theirs.named_parameters()]
    gates, ways = {"LSTM": 4, "GRU": 3}.get(kind, 1), 1 + bidirectional
    widths = [d] + [ways * h] * (num_layers - 1)
    expected = sum(ways * gates * h * (width + h + 2 * bias) for width in widths)
    assert sum(p.numel() for p in ours.parameters()) == expected


def test_gru_has_three_quarters_of_the_lstm():
    count = {kind: sum(p.numel() for p in pair(kind)[0].parameters()) for kind in PAIRS}
    assert count["GRU"] * 4 == count["LSTM"] * 3 == count["RNN"] * 12


@every_kind
def test_first_weights_are_those_that_torch_draws(kind):
    ours, torchs = PAIRS[kind]
    torch.manual_seed(5)
    mine = ours(3, 4, 2, bidirectional=True)
    torch.manual_seed(5)
    theirs = torchs(3, 4, 2, bidirectional=True)
    for (name, p), q in zip(mine.named_parameters(), theirs.parameters()):
        assert torch.equal(p, q), name


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "equations"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@every_kind
def test_matches_reference(kind, num_layers, bidirectional, batch_first, fused):
    ours, theirs = pair(
        kind, num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, fused=fused, seed=num_layers
    )
    x = noise(4, 6, 3) if batch_first else noise(6, 4, 3)
    for state in (None, start(ours, 4)):
        close(run(ours, x, state), run(theirs, x, state))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "equations"])
@every_kind
def test_matches_reference_without_bias(kind, fused):
    ours, theirs = pair(kind, num_layers=2, bias=False, fused=fused)
    close(run(ours, noise(6, 4, 3), None), run(theirs, noise(6, 4, 3), None))


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(list(PAIRS)),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    num_layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    fused=st.booleans(),
    with_state=st.booleans(),
    seed=st.integers(0, 100),
)
def test_matches_reference_packed_and_padded(
    kind, lengths, num_layers, bidirectional, batch_first, fused, with_state, seed
):
    ours, theirs = pair(
        kind, num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, fused=fused, seed=seed
    )
    b, t, lengths = len(lengths), max(lengths), torch.tensor(lengths)
    x = noise(b, t, 3, seed=seed) if batch_first else noise(t, b, 3, seed=seed)
    state = start(ours, b, seed) if with_state else None
    expected = run(theirs, x, state, packed=lengths)
    close(run(ours, x, state, packed=lengths), expected)
    close(run(ours, x, state, lengths=lengths), expected)


@every_kind
def test_lengths_shorter_than_the_padding(kind):
    ours, theirs = pair(kind, batch_first=True)
    x = noise(2, 9, 3)
    out, _ = ours(x, lengths=torch.tensor([4, 2]))
    assert out.shape == (2, 9, 5)
    assert not out[0, 4:].any() and not out[1, 2:].any()
    close(out[0, :4], theirs(x[:1, :4])[0][0])


@pytest.mark.parametrize("bias", [True, False])
def test_cells_match_the_cells_of_torch(bias):
    x, h, c = noise(4, 3), noise(4, 5, seed=1), noise(4, 5, seed=2)
    for kind, cell in {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}.items():
        cell = cell(3, 5, bias=bias).double()
        weights = list(cell.parameters())
        if kind == "LSTM":
            close(lstm_cell(x, (h, c), *weights), cell(x, (h, c)))
        else:
            close({"RNN": rnn_cell, "GRU": gru_cell}[kind](x, h, *weights), cell(x, h))


@pytest.mark.parametrize("batch_first", [True, False])
@every_kind
def test_matches_reference_without_a_batch(kind, batch_first):
    """torch takes [t d], and states without the axis of the batch."""
    ours, theirs = pair(kind, num_layers=2, bidirectional=True, batch_first=batch_first)
    x = noise(6, 3)
    states = tuple(noise(4, 5, seed=i) for i in range(1 + (kind == "LSTM")))
    state = states if kind == "LSTM" else states[0]
    for first in (None, state):
        close(ours(x, first), theirs(x, first))
    close(ours(x)[0], ours(x, lengths=[6])[0])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_states_are_checked(kind):
    ours, _ = pair(kind)
    x, h = noise(6, 2, 3), noise(1, 2, 5)
    right = (h, h) if kind == "LSTM" else (h,)
    wrong = (h,) if kind == "LSTM" else (h, h)
    with pytest.raises(ValueError, match=f"{len(wrong)} first states: those of {kind} are"):
        ours.run(x, wrong, None)
    with pytest.raises(ValueError, match=r"first state of shape \(1, 5\) for inputs of shape \(6, 2, 3\): give"):
        ours.run(x, tuple(s[:, 0] for s in right), None)
    with pytest.raises(ValueError, match=r"a first state in torch.float32 for inputs in torch.float64: .*state.to"):
        ours.run(x, tuple(s.float() for s in right), None)


@pytest.mark.parametrize("reverse", [False, True])
@every_kind
def test_sweeps_pass_gradcheck(kind, reverse):
    ours, _ = pair(kind, d=2, hidden=3)
    states = [noise(3, 3, seed=i + 1).requires_grad_() for i in range(1 + (kind == "LSTM"))]
    x = noise(5, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, *states: ours.fused_sweep(x, states, "_l0", [3, 2], reverse), (x, *states)
    )


def test_second_derivatives_need_the_equations():
    x = noise(4, 1, 3).requires_grad_()
    equations, sweep = (pair("LSTM", fused=fused)[0] for fused in (False, True))
    (g,) = torch.autograd.grad(equations(x)[0].sum(), x, create_graph=True)
    assert torch.autograd.grad(g.sum(), x)[0].abs().sum() > 0
    with pytest.raises(RuntimeError, match="first derivatives only: .* fused=False"):
        torch.autograd.grad(sweep(x)[0].sum(), x, create_graph=True)


@every_kind
def test_gradients_reach_every_parameter(kind):
    ours, _ = pair(kind, num_layers=2, bidirectional=True)
    for name, gradient in run(ours, noise(6, 4, 3), start(ours, 4)).items():
        assert gradient.abs().sum() > 0, name


@every_kind
def test_no_output_sees_the_future_unless_both_ways(kind):
    for bidirectional in (False, True):
        ours, _ = pair(kind, num_layers=2, bidirectional=bidirectional)
        x = noise(6, 1, 3).requires_grad_()
        (g,) = torch.autograd.grad(ours(x)[0][2].sum(), x)
        seen = g.abs().sum((1, 2)) > 0
        assert seen.tolist() == [True] * 3 + [bidirectional] * 3


@every_kind
def test_sequences_of_a_batch_do_not_meet(kind):
    ours, _ = pair(kind, num_layers=2, bidirectional=True)
    x = noise(6, 3, 3).requires_grad_()
    (g,) = torch.autograd.grad(ours(x, lengths=torch.tensor([6, 2, 4]))[0][:, 2].sum(), x)
    assert g[:4, 2].abs().sum() > 0 and g[:, :2].abs().sum() == 0 and g[4:].abs().sum() == 0


@every_kind
def test_state_carries_on_where_a_sequence_was_cut(kind):
    ours, _ = pair(kind, num_layers=2)
    x = noise(9, 2, 3)
    whole, last = ours(x)
    first, state = ours(x[:4])
    second, end = ours(x[4:], state)
    close(torch.cat([first, second]), whole)
    close(end, last)


def test_lstm_with_f_1_and_i_0_passes_values_and_gradients_unchanged():
    layer, _ = pair("LSTM")
    with torch.no_grad():
        layer.bias_ih_l0[:5], layer.bias_ih_l0[5:10] = -1e3, 1e3
    h, c = noise(1, 2, 5, seed=1), noise(1, 2, 5, seed=2).requires_grad_()
    _, (_, end) = layer(noise(200, 2, 3), (h, c))
    assert torch.equal(end, c)
    (g,) = torch.autograd.grad((end * noise(1, 2, 5, seed=3)).sum(), c)
    assert torch.equal(g, noise(1, 2, 5, seed=3))


def test_gru_mixes_the_old_state_and_the_candidate():
    layer, _ = pair("GRU")
    h = noise(1, 4, 5)
    x = noise(1, 4, 3, seed=1)
    for bias, expected in ((1e3, h), (-1e3, None)):
        with torch.no_grad():
            layer.bias_ih_l0[5:10] = bias
        new = layer(x, h)[1]
        if expected is not None:
            close(new, expected)
        else:
            assert (new.abs() < 1).all()


def test_dropout_acts_between_layers_and_only_in_training():
    ours, theirs = pair("GRU", num_layers=2, dropout=0.5)
    x = noise(6, 4, 3)
    outs = [ours(x)[0] for _ in range(2)]
    assert not torch.equal(*outs)
    close(ours.eval()(x)[0], theirs.eval()(x)[0])
    with pytest.raises(ValueError, match="dropout = 0.5 with num_layers = 1: it acts between layers, so stack"):
        GRU(3, 5, dropout=0.5)


@pytest.mark.parametrize("dropout", [0.2, 0.7])
def test_dropout_drops_the_share_that_it_names(dropout):
    """The first layer says 1 everywhere, the second repeats what reaches it: 0, or 1 / (1 - dropout)."""
    net = RNN(1, 50, 2, dropout=dropout, bias=False, nonlinearity="relu").double()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.zero_() if "hh" in name else weight.copy_(torch.eye(50) if "l1" in name else torch.ones(50, 1))
        torch.manual_seed(0)
        out, _ = net(torch.ones(40, 5, 1).double())
    close(out.unique(), torch.tensor([0, 1 / (1 - dropout)]).double(), atol=1e-6)
    assert (out == 0).double().mean().item() == pytest.approx(dropout, abs=0.02)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_learns_toy_problem(kind):
    """Say at the end which of two symbols came first, ten steps before."""
    torch.manual_seed(0)
    layer, readout = PAIRS[kind][0](2, 16, batch_first=True), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *readout.parameters()], 1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        x = torch.randn(64, 10, 2, generator=generator)
        x[..., 0].sign_()[:, 1:] = 0
        y = (x[:, 0, 0] > 0).float()
        logit = readout(layer(x)[0][:, -1]).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logit, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((logit > 0) == y.bool()).float().mean() > 0.9


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@every_kind
def test_device_and_dtype(kind, device):
    ours, theirs = pair(kind, num_layers=2, bidirectional=True)
    ours, theirs = ours.to(device), theirs.to(device)
    x = noise(6, 4, 3).to(device)
    lengths = torch.tensor([6, 1, 3, 2])
    close(run(ours, x, None, packed=lengths), run(theirs, x, None, packed=lengths), check_device=device == "cpu")
    again = PAIRS[kind][0](3, 5, 2, bidirectional=True).double().to(device)
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again(x)[0], ours(x)[0])
    half = ours.to(torch.bfloat16)
    assert half(x.bfloat16())[0].dtype == torch.bfloat16


@pytest.mark.parametrize("device", DEVICES)
@every_kind
def test_bf16_autocast_is_finite_and_close(kind, device):
    ours = pair(kind, num_layers=2)[0].float().to(device)
    x = noise(6, 4, 3).float().to(device)
    exact = ours(x)[0]
    with torch.autocast(device, torch.bfloat16):
        out, state = ours(x)
        ours.fused = False
        written_out, _ = ours(x)
        ours.fused = True
        ours(x, state)  # the state of half precision goes on
        assert pair(kind, num_layers=2)[0].to(device)(x.double())[0].dtype == torch.float64
    assert out.dtype == written_out.dtype == torch.bfloat16
    torch.testing.assert_close(out, written_out, rtol=0, atol=0.03)
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=0.03)
    out.float().square().sum().backward()
    for p in ours.parameters():
        assert p.grad.dtype == torch.float32 and p.grad.isfinite().all()


def test_torch_compile_gives_the_same(unchecked):
    layer, x = LSTM(3, 2).double(), noise(2, 1, 3)
    gradients = []
    for run in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
        layer.zero_grad()
        run(x)[0].sum().backward()
        gradients.append([p.grad.clone() for p in layer.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_bad_input_is_named():
    for name, options in {
        "hidden_size = 0": dict(hidden_size=0),
        "num_layers = 0": dict(num_layers=0),
        "dropout = 1.0": dict(dropout=1.0),
    }.items():
        with pytest.raises(ValueError, match=name):
            LSTM(3, **({"hidden_size": 5} | options))
    with pytest.raises(ValueError, match="nonlinearity = 'elu': tanh or relu"):
        RNN(3, 5, nonlinearity="elu")
    with pytest.raises(ValueError, match="nonlinearity = 'elu': tanh or relu"):
        rnn_cell(torch.zeros(1, 3), torch.zeros(1, 5), torch.zeros(5, 3), torch.zeros(5, 5), nonlinearity="elu")
    layer = GRU(3, 5, batch_first=True)
    x = torch.zeros(2, 4, 3)
    with pytest.raises(ValueError, match="2 sequences of 0 steps: a recurrence needs at least 1"):
        layer(x[:, :0])
    with pytest.raises(ValueError, match="0 sequences of 4 steps"):
        layer(x[:0])
    with pytest.raises(ValueError, match="inputs of 2 numbers a step: .* input_size = 3"):
        layer(x[..., :2])
    with pytest.raises(ValueError, match=r"first state of shape \(1, 3, 5\): .* is \(1, 2, 5\)"):
        layer(x, torch.zeros(1, 3, 5))
    with pytest.raises(ValueError, match="lengths from 0 to 4: each lies in 1 … 4"):
        layer(x, lengths=torch.tensor([0, 4]))
    with pytest.raises(ValueError, match="lengths from 2 to 5: each lies in 1 … 4"):
        layer(x, lengths=torch.tensor([2, 5]))
    with pytest.raises(ValueError, match="3 lengths for a batch of 2"):
        layer(x, lengths=torch.tensor([2, 4, 1]))
    for shape in ((3,), (2, 1, 4, 3)):
        with pytest.raises(ValueError, match=r"inputs of shape \(.*\): give \[b, t, d\], or \[t, d\] for one"):
            layer(torch.zeros(shape))
    with pytest.raises(ValueError, match="inputs in torch.float64 for weights in torch.float32: give them as x.to"):
        layer(x.double())
    packed = pack_padded_sequence(x, [4, 2], batch_first=True)
    with pytest.raises(ValueError, match="lengths for a packed sequence: it has its own"):
        layer(packed, lengths=torch.tensor([4, 2]))
