"""EQTransformer in small (Mousavi et al. 2020, Nature Communications 11:3952): one network detects and picks P and S.

Three-component waveforms are made up, so that the arrivals are known. The classical rival is STA/LTA (Allen 1978).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.sequences.rnn_lstm import LSTM

RATE = 25  # samples a second
ABSENT = -1  # the arrival of what is not there
LATEST = 8.5  # seconds: no S comes later


class Records(NamedTuple):
    """Waveforms [b 3 t] (vertical, north, east) and the samples at which P and S arrive; -1 in records of noise."""

    waves: Float[Tensor, "b 3 t"]
    p: Int64[Tensor, " b"]
    s: Int64[Tensor, " b"]


def synthesise(count: int, generator: torch.Generator, *, t: int = 256) -> Records:
    """Noisy records of 10 s, half of them with an earthquake, a third with a knock that is none.

    Noise is red (an autoregression of order 1). P is a burst at 3 to 6 Hz, mostly vertical; S comes 1 to 3 s later, at 1
    to 3 Hz, stronger and mostly horizontal; both rise within 0.1 s and fade over about a second. A knock is like a P alone,
    short and on all components. An earthquake is 2 to 8 standard deviations of the noise high; of that a component shows
    its share, 0.5 or 1.5, give or take 30 %. Raises `ValueError` for less than 2 records, and for records that end before
    the latest S may come.
    """
    if count < 2:
        raise ValueError(f"count = {count}: make at least 2 records, one of them with an earthquake")
    if t <= LATEST * RATE:
        raise ValueError(f"t = {t}: S comes as late as {LATEST} s, so record at least {int(LATEST * RATE) + 1} samples")
    def draw(low, high):
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator)
    time = torch.arange(t) / RATE
    noise = torch.randn(count, 3, t, generator=generator)
    for i in range(1, t):
        noise[..., i] += 0.6 * noise[..., i - 1]
    noise = noise * 0.8  # standard deviation 1

    def burst(start, frequency, fade, weights):
        after = (time - start).clamp(min=0)
        shape = (after / 0.1).clamp(max=1) * torch.exp(-after / fade)
        phase = 6.283 * torch.rand(count, 3, 1, generator=generator)
        weights = torch.tensor(weights)[:, None] * draw(0.7, 1.3)
        return shape * torch.sin(6.283 * frequency * after + phase) * weights

    p = draw(1.5, 5.5)
    s = p + draw(1.0, 3.0)
    height = 2 * 4 ** draw(0, 1)
    quake = burst(p, draw(3, 6), draw(0.5, 1.0), (1.5, 0.5, 0.5))
    quake = quake + burst(s, draw(1, 3), draw(0.8, 1.5), (0.5, 1.5, 1.5))
    knock = burst(draw(0.5, 9), draw(3, 8), draw(0.1, 0.4), (1.0, 1.0, 1.0)) * 2 * 4 ** draw(0, 1)
    is_quake = torch.arange(count) % 2 == 0
    has_knock = torch.rand(count, 1, 1, generator=generator) < 1 / 3
    waves = noise + height * quake * is_quake[:, None, None] + knock * has_knock
    def at(seconds):
        return torch.where(is_quake, (seconds.flatten() * RATE).round().long(), ABSENT)
    return Records(waves / waves.std((1, 2), keepdim=True), at(p), at(s))


def targets(records: Records, width: float = 2.5) -> Float[Tensor, "b 3 t"]:
    """What the three heads should say: 1 from P to 1.4 (S - P) after S; a bell of `width` samples (its
    standard deviation) at P, one at S.

    Raises `ValueError` for a width that is not above 0.
    """
    if not width > 0:
        raise ValueError(f"width = {width}: a bell is wider than 0 samples")
    t = torch.arange(records.waves.shape[2], device=records.p.device)
    p, s = records.p[:, None], records.s[:, None]
    present = p != ABSENT
    event = (t >= p) & (t <= s + 1.4 * (s - p))
    bells = [torch.exp(-0.5 * ((t - arrival) / width) ** 2) for arrival in (p, s)]
    return torch.stack([event.float(), *bells], 1) * present[:, :, None]


class Attention(nn.Module):
    """Additive self-attention: each step adds what other steps tell it.

    Weights softmax over s of v · tanh(W h[t] + U h[s]), within `width`
    steps to either side where it is given. Raises `ValueError` for a
    negative one.
    """

    def __init__(
        self, dim: int, *, hidden: int = 4, width: int | None = None
    ) -> None:
        super().__init__()
        if width is not None and not width >= 0:
            raise ValueError(f"width = {width}: 0 steps to either side, or more")
        self.width = width
        self.query = nn.Linear(dim, hidden)
        self.key = nn.Linear(dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.norm = nn.LayerNorm(dim)

    def weights(self, h: Float[Tensor, "b t d"]) -> Float[Tensor, "b t s"]:
        pairs = self.query(h)[:, :, None] + self.key(h)[:, None]
        scores = self.score(pairs.tanh())[..., 0]  # [b t s]
        if self.width is not None:
            t = torch.arange(h.shape[1], device=h.device)
            far = (t[:, None] - t).abs() > self.width
            scores = scores.masked_fill(far, -torch.inf)
        return scores.softmax(2)

    def forward(self, h: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.norm(h + self.weights(h) @ h)


def conv(d_in: int, d_out: int, kernel: int, stride: int = 1):
    """Convolution, batch norm, ReLU: t / stride steps."""
    layer = nn.Conv1d(
        d_in, d_out, kernel, stride, kernel // 2, bias=False
    )
    return [layer, nn.BatchNorm1d(d_out), nn.ReLU()]


def decoder(channels: int) -> nn.Sequential:
    """Double the steps three times, from t / 8 to t, then give a logit for each."""
    double, half = nn.Upsample(scale_factor=2), channels // 2
    ups = [double, *conv(channels, half, 5), double, *conv(half, half, 5)]
    last = nn.Conv1d(half, 1, 9, padding=4)
    nn.init.constant_(last.bias, -2.0)  # arrivals are rare
    return nn.Sequential(*ups, double, *conv(half, half, 5), last)


class EQTransformer(nn.Module):
    """Shared encoder; a decoder each for detection, P and S: [b 3 t] logits.

    Encoder: strided convolutions (t / 8 steps), a 1x1 convolution, an LSTM
    in both directions, attention over all steps. P and S have an LSTM and
    local attention of their own before they decode: over three steps, as
    in the authors' code, whose `attention_width=3` counts them all.
    """

    def __init__(self, *, channels: int = 16) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ValueError(
                f"channels = {channels}: even, a half for each direction"
            )
        c, words = channels, dict(batch_first=True)
        down = [*conv(3, c, 7, 2), *conv(c, c, 7, 2), *conv(c, c, 7, 2)]
        self.encoder = nn.Sequential(*down, *conv(c, c, 1))
        self.both = LSTM(c, c // 2, bidirectional=True, **words)
        self.overview = Attention(c)
        self.own = nn.ModuleList(LSTM(c, c, **words) for _ in "PS")
        self.local = nn.ModuleList(Attention(c, width=1) for _ in "PS")
        heads = ("event", "P", "S")
        self.decoders = nn.ModuleList(decoder(c) for _ in heads)

    def forward(self, waves: Float[Tensor, "b c t"]) -> Float[Tensor, "b 3 t"]:
        if waves.shape[1] != 3 or waves.shape[2] % 8 or not waves.shape[2]:
            raise ValueError(
                f"{waves.shape[2]} samples of {waves.shape[1]} components: a "
                "multiple of 8, as the encoder halves three times, of 3"
            )
        h = self.encoder(waves).transpose(1, 2)  # [b t/8 d]
        h = self.overview(self.both(h)[0])
        ways = [h] + [
            attend(lstm(h)[0]) for lstm, attend in zip(self.own, self.local)
        ]
        heads = [
            decode(way.transpose(1, 2))
            for decode, way in zip(self.decoders, ways)
        ]
        return torch.cat(heads, 1)


def picking_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Binary cross-entropy of the three heads; P and S, which are rare, count more (0.1, 0.4, 0.5)."""
    waves, wanted = batch
    losses = F.binary_cross_entropy_with_logits(model(waves), wanted, reduction="none").mean((0, 2))
    return losses @ losses.new_tensor([0.1, 0.4, 0.5])


def sta_lta(waves: Float[Tensor, "b *c t"], *, short: int = 8, long: int = 50) -> Float[Tensor, "b t"]:
    """Mean energy of the last `short` samples over that of the last `long`; 0 until `long` have been read.

    Allen 1978; the energy of all components given, at least in float32. Raises `ValueError` unless 0 < `short` < `long` ≤ t,
    and for gaps that hold NaN or infinity.
    """
    if waves.dim() != 3:
        raise ValueError(f"waves of shape {tuple(waves.shape)}: [b, components, t], of one component waves[:, None]")
    if not 0 < short < long <= waves.shape[2]:
        raise ValueError(f"short = {short}, long = {long}: 0 < short < long ≤ {waves.shape[2]} samples")
    if not waves.isfinite().all():
        raise ValueError("waves that are not finite: fill gaps in the record before")
    waves = waves.to(torch.promote_types(waves.dtype, torch.float32))
    energy = (waves**2).sum(1, keepdim=True)  # [b 1 t]
    def mean(n):
        return F.avg_pool1d(F.pad(energy, (n - 1, 0)), n, 1)[:, 0]
    ratio = mean(short) / mean(long).clamp(min=1e-12)
    ratio[:, : long - 1] = 0
    return ratio
