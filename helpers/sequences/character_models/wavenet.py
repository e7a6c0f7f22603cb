"""WaveNet for characters: dilated causal convolutions and gated units (van den Oord et al. 2016, arXiv:1609.03499)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from helpers.convnets.output_size import receptive_field

State = list[Tensor]  # of each layer [b reach d]


class CausalConv(nn.Module):
    """y[t] = b + Σ_i W_i x[t - (kernel - 1 - i) dilation], and no later x.

    `weight` and `bias` are those of `nn.Conv1d`; the axes are [b t d], so
    that one matrix product serves all taps and all steps. `forward` takes
    the inputs that came before x, its `past`; zeros if there were none.
    Raises `ValueError` for a past of another length or batch.
    """

    def __init__(
        self, d_in: int, d_out: int, *, kernel: int = 2, dilation: int = 1
    ) -> None:
        super().__init__()
        if kernel < 1 or dilation < 1:
            raise ValueError(
                f"kernel = {kernel}, dilation = {dilation}: both at least 1"
            )
        self.kernel, self.dilation = kernel, dilation
        conv = nn.Conv1d(d_in, d_out, kernel, dilation=dilation)
        self.weight, self.bias = conv.weight, conv.bias  # [out in k], [out]

    @property
    def reach(self) -> int:
        """How many inputs before the present one an output sees."""
        return (self.kernel - 1) * self.dilation

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        past: Float[Tensor, "b past d"] | None = None,
    ) -> tuple[Float[Tensor, "b t o"], Float[Tensor, "b past d"]]:
        if past is None:
            past = x.new_zeros(len(x), self.reach, x.shape[2])
        check_past(past, len(x), self.reach, x.shape[2])
        t = x.shape[1]
        longer = torch.cat([past, x], 1)  # [b reach + t d]
        taps = [
            longer[:, i * self.dilation :][:, :t] for i in range(self.kernel)
        ]
        W = self.weight.permute(0, 2, 1).flatten(1)  # [out k * in]
        y = nn.functional.linear(torch.cat(taps, 2), W, self.bias)
        return y, longer[:, t:]


class GatedLayer(nn.Module):
    """One layer of WaveNet: z = tanh(W_f * x) σ(W_g * x), equation 2.

    Returns x + W_r z, which goes up, and W_s z, which skips to the head.
    """

    def __init__(
        self, channels: int, skip: int, *, kernel: int, dilation: int
    ) -> None:
        super().__init__()
        words = dict(kernel=kernel, dilation=dilation)
        self.conv = CausalConv(channels, 2 * channels, **words)
        self.residual = nn.Linear(channels, channels)
        self.skip = nn.Linear(channels, skip)

    def forward(self, x, past=None):
        y, past = self.conv(x, past)
        filter, gate = y.chunk(2, 2)
        z = filter.tanh() * gate.sigmoid()
        return x + self.residual(z), self.skip(z), past


class WaveNet(nn.Module):
    """Gated layers with the given dilations; their skips are summed.

    Like `CharacterRNN` it maps characters and a state to logits and a
    state. Here the state is each layer's queue of past inputs, the cache
    of Fast WaveNet (Le Paine et al. 2016, arXiv:1611.09482).
    """

    def __init__(
        self,
        *,
        vocab: int,
        channels: int = 32,
        skip: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32),
        kernel: int = 2,
    ) -> None:
        super().__init__()
        if not dilations or vocab < 1:
            raise ValueError(
                f"dilations = {dilations}, vocab = {vocab}: at least one layer "
                "and one character"
            )
        words = dict(kernel=kernel)
        self.embedding = nn.Embedding(vocab, channels)
        self.layers = nn.ModuleList(
            GatedLayer(channels, skip, dilation=d, **words) for d in dilations
        )
        self.head = nn.Sequential(
            nn.ReLU(), nn.Linear(skip, skip), nn.ReLU(), nn.Linear(skip, vocab)
        )

    @property
    def receptive_field(self) -> int:
        """1 + Σ (kernel - 1) dilation: the characters that a guess sees."""
        convs = [layer.conv for layer in self.layers]
        return receptive_field(
            (conv.kernel, 1, 0, conv.dilation) for conv in convs
        ).size

    def forward(
        self, x: Int64[Tensor, "b t"], state: State | None = None
    ) -> tuple[Float[Tensor, "b t k"], State]:
        return self.from_vectors(self.embedding(x), state)

    def from_vectors(
        self, h: Float[Tensor, "b t d"], state: State | None = None
    ) -> tuple[Float[Tensor, "b t k"], State]:
        """`forward` after the embedding: what gradients are taken to."""
        if state is None:
            state = [None] * len(self.layers)
        if len(state) != len(self.layers):
            raise ValueError(
                f"a state of {len(state)} queues: one for each of the "
                f"{len(self.layers)} layers"
            )
        total, queues = 0.0, []
        for layer, past in zip(self.layers, state):
            h, skip, past = layer(h, past)
            total = total + skip  # [b t skip]
            queues.append(past)
        return self.head(total), queues


def check_past(past: Tensor, b: int, reach: int, d: int) -> None:
    """Refuse a past that would shift the taps, or that belongs to another batch."""
    if past.shape != (b, reach, d):
        raise ValueError(
            f"a past of shape {tuple(past.shape)}: [b, reach, d] is {(b, reach, d)}; carry on the state of this batch, "
            "or None to begin"
        )
