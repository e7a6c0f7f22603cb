"""EQTransformer in small and STA/LTA: made-up records, attention, arrivals."""

from math import log

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.data import batches
from helpers.sequences.character_models import (
    Attention,
    EQTransformer,
    Records,
    picking_loss,
    sta_lta,
    synthesise,
    targets,
)
from helpers.training import fit, gradient_update

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def records(count=64, seed=0):
    return synthesise(count, torch.Generator().manual_seed(seed))


def test_parameter_count():
    def lstm(d, h):
        return 4 * h * (d + h + 2)

    def conv(a, b, k):
        return b * a * k + 2 * b  # the batch norm has the bias

    c, h = 16, 8
    attention = 4 * (c + 1) + 4 * c + 4 + 2 * c
    encoder = conv(3, c, 7) + 2 * conv(c, c, 7) + conv(c, c, 1)
    decoder = conv(c, h, 5) + 2 * conv(h, h, 5) + 9 * h + 1
    expected = encoder + 2 * lstm(c, h) + 2 * lstm(c, c) + 3 * attention + 3 * decoder
    assert sum(p.numel() for p in EQTransformer(channels=c).parameters()) == expected


def test_records_carry_what_they_say():
    r = records(400)
    quake = r.p >= 0
    assert quake.sum() == 200 and bool((r.s[quake] > r.p[quake]).all()) and bool((r.s[~quake] == -1).all())
    assert_close(r.waves.std((1, 2)), torch.ones(400))
    energy = (r.waves**2).mean(1)
    around = lambda at: torch.stack([e[a - 10 : a].mean() / e[a : a + 10].mean() for e, a in zip(energy[quake], at)])  # noqa: E731
    for arrival in (r.p, r.s):
        assert around(arrival[quake].tolist()).log().mean() < -0.4
    wanted = targets(r)
    assert wanted[quake, 1].argmax(1).tolist() == r.p[quake].tolist()
    assert wanted[quake, 2].argmax(1).tolist() == r.s[quake].tolist()
    assert wanted[~quake].abs().max() == 0
    assert bool((wanted[quake, 0].sum(1) >= (r.s - r.p)[quake]).all())


def test_arrivals_and_heights_fill_their_ranges():
    """P at 1.5 to 5.5 s, S 1 to 3 s later, heights of 2 to 8: seen as how far S rises above what was before P."""
    r = records(4000)
    quake = r.p >= 0
    p, s, waves = r.p[quake], r.s[quake], r.waves[quake]
    for samples, (low, high) in ((p, (1.5, 5.5)), (s - p, (1.0, 3.0))):
        seconds = samples / 25
        assert abs(seconds.min() - low) < 0.05 and abs(seconds.max() - high) < 0.05
        assert seconds.mean().item() == pytest.approx((low + high) / 2, abs=0.1)
    before = waves[..., :36].std((1, 2))
    rows = torch.arange(len(s))[:, None]
    after = waves[rows, 1:, s[:, None] + torch.arange(25)].abs().amax((1, 2)) / before
    assert 2 < after.quantile(0.02) < 5 and 10 < after.quantile(0.98) < 20  # 1.5 times the height, and noise


def test_components_and_frequencies_are_those_of_p_and_s():
    """P mostly vertical and fast, S mostly horizontal and slow: energies and zero crossings of strong arrivals."""
    r = records(4000)
    loud = (r.p >= 0) & (r.s - r.p > 40)
    p, s, waves = r.p[loud], r.s[loud], r.waves[loud]
    rows = torch.arange(len(p))[:, None]
    stretch = {name: waves[rows, :, at[:, None] + torch.arange(25)] for name, at in (("P", p), ("S", s))}  # [n t 3]
    energy = {name: w.square().mean((0, 1)) for name, w in stretch.items()}
    assert energy["P"][0] > 1.5 * energy["P"][1:].max() and energy["S"][1:].min() > 1.5 * energy["S"][0]
    crossings = {name: (w[:, 1:] * w[:, :-1] < 0).double().mean((0, 1)) for name, w in stretch.items()}
    assert crossings["P"][0] > 1.2 * crossings["S"][1:].max()


@pytest.fixture
def silent(monkeypatch):
    """No noise: what is left of a record are its bursts, of one without any only 0 / 0."""
    monkeypatch.setattr(torch, "randn", lambda *shape, generator: torch.zeros(*shape))


def test_a_third_of_the_records_has_a_knock(silent):
    r = records(3000)
    empty = r.waves[r.p < 0].isnan().all(2).all(1)
    assert empty.double().mean().item() == pytest.approx(2 / 3, abs=0.05)


def test_heights_of_p_and_s_vary_by_30_percent_each(silent):
    """How much louder S is on the north than P on the vertical varies: both factors are drawn from 0.7 to 1.3."""
    r = records(4000)
    apart = (r.p >= 0) & (r.s - r.p > 40) & ~r.waves.isnan().any(2).any(1)
    rows, p, s = torch.arange(int(apart.sum()))[:, None], r.p[apart], r.s[apart]
    waves = r.waves[apart]
    loud_p = waves[rows, 0, p[:, None] + torch.arange(20)].square().mean(1).sqrt()
    loud_s = waves[rows, 1, s[:, None] + torch.arange(20)].square().mean(1).sqrt()
    ratios = (loud_s / loud_p).log()
    factors = 2**0.5 * torch.linspace(0.7, 1.3, 1000).log().std()
    assert factors < ratios.std() < 1.3 * factors  # fading, phases and knocks add a little


def test_arrivals_are_sudden_and_fade():
    """Within a tenth of a second S is as high as it gets: it has more energy from then on than half a second later."""
    r = records(4000)
    quake = r.p >= 0
    s, waves = r.s[quake], r.waves[quake, 1:]
    rows = torch.arange(len(s))[:, None]

    def energy(first, last):
        return waves[rows, :, s[:, None] + torch.arange(first, last)].square().mean()

    assert energy(3, 8) > 1.2 * energy(15, 20) and energy(15, 20) > 1.2 * energy(28, 33)


def test_components_have_phases_of_their_own():
    """North and east of the strong arrivals of S do not swing together."""
    r = records(4000)
    loud = (r.p >= 0) & (r.s - r.p > 40)
    s, waves = r.s[loud], r.waves[loud, 1:]
    stretch = waves[torch.arange(len(s))[:, None], :, s[:, None] + torch.arange(25)]  # [n t 2]
    stretch = stretch / stretch.norm(dim=1, keepdim=True)
    together = (stretch[..., 0] * stretch[..., 1]).sum(1)
    assert together.mean().abs() < 0.1 and together.abs().mean() > 0.4


def test_noise_is_red():
    """An autoregression of order 1 with the coefficient 0.6, before anything can arrive."""
    early = records(4000).waves[..., :12]
    red = (early[..., 1:] * early[..., :-1]).mean() / early.square().mean()
    assert red.item() == pytest.approx(0.6, abs=0.03)


def test_the_event_lasts_for_two_fifths_longer_than_from_p_to_s():
    p, s = torch.tensor([10, 20, -1]), torch.tensor([60, 25, -1])
    wanted = targets(Records(torch.zeros(3, 3, 256), p, s), width=2.0)
    for row, (first, last) in enumerate(((10, 130), (20, 32))):  # s + 1.4 (s - p)
        event = wanted[row, 0].nonzero().flatten()
        assert (event.min(), event.max(), len(event)) == (first, last, last - first + 1)
        for head, arrival in ((1, p), (2, s)):
            bell = wanted[row, head, arrival[row] + torch.tensor([-2, 0, 2])].log()
            assert_close(bell, torch.tensor([-0.5, 0.0, -0.5]))
    assert not wanted[2].any()


class Says(nn.Module):
    """Whatever it hears, it says the same."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, waves):
        return self.logits


def test_loss_weighs_the_heads():
    wanted = torch.ones(2, 3, 8)
    for head, share in enumerate((0.1, 0.4, 0.5)):
        logits = torch.full((2, 3, 8), 100.0)
        logits[:, head] = 0
        loss = picking_loss(Says(logits), (wanted, wanted))
        assert loss.item() == pytest.approx(share * log(2))


def test_forward_is_its_parts():
    """Event from what all share, P and S each through its own LSTM, attention and decoder."""
    torch.manual_seed(0)
    model, waves = EQTransformer().double().eval(), records(2).waves.double()
    h = model.encoder(waves).transpose(1, 2)
    assert h.shape == (2, 32, 16)
    shared, _ = model.both(h)
    a = model.overview.weights(shared)
    shared = model.overview.norm(shared + a @ shared)
    heads = [model.decoders[0](shared.transpose(1, 2))]
    for i in (0, 1):
        way = model.local[i](model.own[i](shared)[0])
        heads.append(model.decoders[i + 1](way.transpose(1, 2)))
    assert_close(model(waves), torch.cat(heads, 1))
    for decode in model.decoders:  # arrivals are rare, and so the heads begin: at 12 %
        assert decode[-1].bias.sigmoid().item() == pytest.approx(0.12, abs=0.005)
    assert (model(waves).sigmoid().mean((0, 2)) < 0.3).all()


def test_decoders_and_encoder_by_hand():
    """Each decoder repeats every step twice, three times over; the encoder's convolutions skip every other step."""
    torch.manual_seed(0)
    model, waves = EQTransformer().double(), records(4).waves.double()
    model(waves)  # running statistics that are not 0 and 1
    model.eval()

    def layers(part):
        return [[m for m in part if isinstance(m, kind)] for kind in (nn.Conv1d, nn.BatchNorm1d)]

    h = waves
    for conv, norm, (stride, padding) in zip(*layers(model.encoder), 3 * [(2, 3)] + [(1, 0)], strict=True):
        h = norm(F.conv1d(h, conv.weight, stride=stride, padding=padding)).relu()
    assert_close(model.encoder(waves), h)
    for decode in model.decoders:
        convs, norms = layers(decode)
        y = h
        for conv, norm in zip(convs[:-1], norms, strict=True):
            y = norm(F.conv1d(y.repeat_interleave(2, 2), conv.weight, padding=2)).relu()
        assert_close(decode(h), F.conv1d(y, convs[-1].weight, convs[-1].bias, padding=4))


def test_matches_reference_sta_lta():
    waves = torch.randn(2, 3, 40, dtype=torch.float64)
    ours = sta_lta(waves, short=3, long=12)
    energy = (waves**2).sum(1)
    for t in range(40):
        expected = energy[:, t - 2 : t + 1].mean(1) / energy[:, t - 11 : t + 1].mean(1) if t >= 11 else torch.zeros(2)
        assert_close(ours[:, t], expected.double())


@pytest.mark.parametrize("width", [None, 2])
def test_matches_reference_attention(width):
    layer, h = Attention(4, width=width).double(), torch.randn(1, 7, 4, dtype=torch.float64)
    W, U, v = layer.query, layer.key, layer.score.weight[0]
    a = torch.zeros(7, 7, dtype=torch.float64)
    for t in range(7):
        near = [s for s in range(7) if width is None or abs(s - t) <= width]
        scores = torch.stack([v @ torch.tanh(W(h[0, t]) + U(h[0, s])) for s in near])
        a[t, near] = scores.softmax(0)
    assert_close(layer.weights(h)[0], a)
    assert_close(layer(h)[0], layer.norm(h[0] + a @ h[0]))


def test_picks_attend_to_three_steps_and_the_encoder_to_all():
    """Of the P and the S head: the step itself and one to either side, as attention_width=3 of the authors' code."""
    torch.manual_seed(0)
    model, seen = EQTransformer().double().eval(), {}
    for name, layer in {"all": model.overview, "P": model.local[0], "S": model.local[1]}.items():
        layer.register_forward_hook(lambda layer, inputs, _, name=name: seen.update({name: layer.weights(*inputs)}))
    model(records(2).waves.double())
    t = torch.arange(256 // 8)
    near = (t[:, None] - t).abs() <= 1
    assert (seen["all"] > 0).all()
    for head in "PS":
        assert torch.equal(seen[head] > 0, near.expand(2, -1, -1))


@pytest.mark.parametrize("head", [1, 2])
def test_what_a_pick_can_see_behind_the_encoder(head):
    """The gradient of one step's output reaches, through attention alone, its neighbours and no further."""
    torch.manual_seed(0)
    layer = EQTransformer().double().local[head - 1]
    h = torch.randn(1, 32, 16, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(h)[0, 10].square().sum(), h)
    assert gradient[0].abs().sum(1).nonzero().flatten().tolist() == [9, 10, 11]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sta_lta_in_half_precision(dtype):
    waves = torch.randn(2, 1, 60).to(dtype)
    waves[1] = 0  # no energy at all
    assert_close(sta_lta(waves), sta_lta(waves.float()))
    loud = sta_lta(300 * torch.ones(1, 1, 60).to(dtype))
    assert_close(loud[:, 49:], torch.ones(1, 11))


def test_gradients_reach_every_parameter():
    model, r = EQTransformer(), records(8)
    picking_loss(model, (r.waves, targets(r))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_learns_toy_problem():
    """A few records, by heart: the loss falls, and S is found."""
    r = records(16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EQTransformer()
    optimizer = torch.optim.Adam(model.parameters(), 6e-3)
    stream = batches(r.waves, targets(r), batch_size=16, generator=torch.Generator().manual_seed(0))
    losses = fit(gradient_update(model, optimizer, picking_loss), stream, 120, progress=False)["loss"]
    quake = r.p >= 0
    with torch.no_grad():
        heads = model.eval()(r.waves).sigmoid()
    assert losses[-1] < 0.5 * losses[0]
    assert ((heads[:, 2].argmax(1) - r.s).abs()[quake] <= 6).double().mean() > 0.8


@pytest.mark.parametrize("device", DEVICES)
def test_device_and_dtype(device):
    model, r = EQTransformer().to(device).eval(), records(4)
    waves = r.waves.to(device)
    heads = model(waves)
    assert heads.shape == (4, 3, 256) and heads.device.type == device
    with torch.autocast(device, torch.bfloat16):
        assert model(waves).isfinite().all()
    other = EQTransformer().to(device).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(waves), heads)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="100 samples of 3 components: a multiple of 8"):
        EQTransformer()(torch.zeros(1, 3, 100))
    with pytest.raises(ValueError, match="short = 60, long = 50"):
        sta_lta(torch.zeros(1, 3, 100), short=60, long=50)
    with pytest.raises(ValueError, match="256 samples of 1 components: a multiple of 8, .* of 3"):
        EQTransformer()(torch.zeros(1, 1, 256))
    with pytest.raises(ValueError, match="channels = 7: even, a half for each direction"):
        EQTransformer(channels=7)
    with pytest.raises(ValueError, match="width = -1: 0 steps to either side, or more"):
        Attention(4, width=-1)
    with pytest.raises(ValueError, match="waves that are not finite: fill gaps"):
        sta_lta(torch.full((1, 1, 60), torch.nan))
    with pytest.raises(ValueError, match=r"waves of shape \(2, 60\): \[b, components, t\]"):
        sta_lta(torch.zeros(2, 60))
    with pytest.raises(ValueError, match="width = 0.0: a bell is wider than 0"):
        targets(records(2), width=0.0)
    with pytest.raises(ValueError, match="t = 128: S comes as late as 8.5 s, so record at least 213 samples"):
        synthesise(2, torch.Generator(), t=128)
    with pytest.raises(ValueError, match="count = 1: make at least 2"):
        records(1)
