"""Attention with an additive score over the states of a recurrent encoder (Bahdanau et al. 2015, arXiv:1409.0473)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.sequences.rnn_lstm import GRU, EncoderDecoder


class AdditiveAttention(nn.Module):
    """Score a query q and a key k by v · tanh(W q + U k); mix the keys.

    Equation 6 and appendix A.1.2 of Bahdanau et al. 2015. Also returns the
    weights, which sum to 1 over the keys. Raises `ValueError` for queries
    and keys of different batches or of other widths.
    """

    def __init__(self, query_dim: int, key_dim: int, *, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_dim, hidden)
        self.key = nn.Linear(key_dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(
        self, q: Float[Tensor, "b t d"], k: Float[Tensor, "b s e"]
    ) -> tuple[Float[Tensor, "b t e"], Float[Tensor, "b t s"]]:
        check_widths(q, k, self)
        pairs = self.query(q)[:, :, None] + self.key(k)[:, None]
        weights = self.score(pairs.tanh())[..., 0].softmax(2)  # [b t s]
        return weights @ k, weights


class Searcher(EncoderDecoder):
    """The recurrent encoder-decoder, with a look back at every step.

    The decoder still begins with the encoder's last state. Each of its
    states h then looks for the encoder's states that it needs and answers
    from [h, what it found] (the order of Luong et al. 2015; Bahdanau's
    decoder looks before each step).
    """

    def __init__(self, *, dim: int, hidden: int, vocab: int) -> None:
        super().__init__(GRU, dim=dim, hidden=hidden, vocab=vocab)
        self.look = AdditiveAttention(hidden, hidden, hidden=hidden)
        self.mix = nn.Linear(2 * hidden, hidden)

    def looks(
        self, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t vocab"], Float[Tensor, "b t s"]]:
        """Logits of every token, and where in the source each one looked."""
        memory, state = self.encoder(self.embed(source))
        writer = self.decoder
        begin = torch.full_like(target[:, :1], writer.start)
        before = torch.cat([begin, target[:, :-1]], 1)
        h, _ = writer.layer(writer.embed(before), state)
        found, weights = self.look(h, memory)
        h = self.mix(torch.cat([h, found], 2)).tanh()
        return writer.head(h), weights

    def forward(
        self,
        source: Int[Tensor, "b s"],
        target: Int[Tensor, "b t"],
        lengths: Int[Tensor, "b"] | None = None,
    ) -> Float[Tensor, "b t vocab"]:
        if lengths is not None:
            raise ValueError("lengths: this one reads strings of one length")
        return self.looks(source, target)[0]

    @torch.no_grad()
    def translate(
        self,
        source: Int[Tensor, "b s"],
        steps: int,
        lengths: Int[Tensor, "b"] | None = None,
    ) -> Int[Tensor, "b t"]:
        """The likeliest target, token by token; the past is read anew."""
        if steps < 1:
            raise ValueError(f"steps = {steps}: write at least 1 token")
        target = source.new_zeros(len(source), steps)
        for i in range(steps):
            logits = self(source, target[:, : i + 1], lengths)
            target[:, i] = logits[:, i].argmax(1)
        return target


def check_widths(q, k, layer):
    """Refuse queries and keys that do not go together."""
    wide = layer.query.in_features, layer.key.in_features
    if (
        q.ndim != 3
        or k.ndim != 3
        or len(q) != len(k)
        or (q.shape[2], k.shape[2]) != wide
    ):
        raise ValueError(
            f"queries of shape {tuple(q.shape)}, keys of {tuple(k.shape)}: "
            f"give [b t {wide[0]}] and [b s {wide[1]}], of one batch"
        )
