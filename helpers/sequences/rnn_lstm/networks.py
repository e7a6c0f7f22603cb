"""One recurrence in several wirings: read a sequence, write one, read one and write another.

Elman 1990; Schuster & Paliwal 1997 (both directions); Sutskever et al. 2014, arXiv:1409.3215 (encoder and decoder).
"""

from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from helpers.sequences.rnn_lstm.layers import GRU, Recurrent
from helpers.training import evaluation_mode

READS = ("last", "mean", "every")


class Reader(nn.Module):
    """Read a sequence, answer once ("last", "mean") or at every step.

    "last" predicts from h(T), "mean" from the mean of h(1) … h(T),
    "every" from each h(t). `vocab` tokens are embedded in `dim` numbers;
    without it the inputs are `dim` numbers a step. Raises `ValueError` for
    another `read` and for sizes below 1.
    """

    def __init__(
        self,
        layer: type[Recurrent] = GRU,
        *,
        dim: int,
        hidden: int,
        classes: int,
        vocab: int | None = None,
        read: Literal["last", "mean", "every"] = "last",
        **options,
    ) -> None:
        super().__init__()
        check_read(read)
        check_sizes(dim=dim, classes=classes, vocab=vocab)
        self.read = read
        self.embed = nn.Identity() if vocab is None else nn.Embedding(vocab, dim)
        self.layer = layer(dim, hidden, batch_first=True, **options)
        ways = 1 + self.layer.bidirectional
        self.head = nn.Linear(ways * hidden, classes)

    def forward(
        self,
        x: Shaped[Tensor, "b t *d"],
        lengths: Int[Tensor, "b"] | None = None,
    ) -> Float[Tensor, "b *t k"]:
        out, last = self.layer(self.embed(x), None, lengths)
        if self.read == "every":
            return self.head(out)
        if self.read == "mean" and lengths is None:
            return self.head(out.mean(1))
        if self.read == "mean":  # outputs beyond a length are zero
            return self.head(out.sum(1) / lengths.to(out)[:, None])
        h = last[0] if isinstance(last, tuple) else last
        ways = 1 + self.layer.bidirectional
        return self.head(torch.cat(tuple(h[-ways:]), 1))


class Writer(nn.Module):
    """Write tokens, each from the state and the token before it.

    The token before the first is an extra one, number `vocab`. Raises
    `ValueError` for two directions: what comes is not written yet.
    """

    def __init__(
        self,
        layer: type[Recurrent] = GRU,
        *,
        dim: int,
        hidden: int,
        vocab: int,
        **options,
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, vocab=vocab)
        if options.get("bidirectional"):
            raise ValueError(
                "bidirectional = True: a writer cannot read what it has not "
                "written; only a Reader goes both ways"
            )
        self.start = vocab
        self.embed = nn.Embedding(vocab + 1, dim)
        self.layer = layer(dim, hidden, batch_first=True, **options)
        self.head = nn.Linear(hidden, vocab)

    def forward(
        self,
        state,
        tokens: Int[Tensor, "b t"],
    ) -> Float[Tensor, "b t vocab"]:
        """Logits of every token, given the true tokens before it."""
        begin = torch.full_like(tokens[:, :1], self.start)
        before = torch.cat([begin, tokens[:, :-1]], 1)
        out, _ = self.layer(self.embed(before), state)
        return self.head(out)

    @torch.no_grad()
    def write(self, state, steps: int) -> Int[Tensor, "b t"]:
        """The likeliest token again and again, each fed back, without
        dropout. Raises `ValueError` for less than 1 step."""
        check_sizes(steps=steps)
        h = state[0] if isinstance(state, tuple) else state
        token = torch.full((h.shape[1], 1), self.start, device=h.device)
        tokens = []
        with evaluation_mode(self):
            for _ in range(steps):
                out, state = self.layer(self.embed(token), state)
                token = self.head(out).argmax(2)
                tokens.append(token)
        return torch.cat(tokens, 1)


class EncoderDecoder(nn.Module):
    """Read the source into one state, write the target from it.

    Sutskever et al. 2014. That state is all that the decoder sees. Raises
    `ValueError` for two directions, which the decoder cannot have.
    """

    def __init__(
        self,
        layer: type[Recurrent] = GRU,
        *,
        dim: int,
        hidden: int,
        vocab: int,
        target_vocab: int | None = None,
        **options,
    ) -> None:
        super().__init__()
        check_sizes(vocab=vocab)
        self.embed = nn.Embedding(vocab, dim)
        self.encoder = layer(dim, hidden, batch_first=True, **options)
        if target_vocab is None:
            target_vocab = vocab
        settings = dict(dim=dim, hidden=hidden, vocab=target_vocab)
        self.decoder = Writer(layer, **settings, **options)

    def encode(self, source: Int[Tensor, "b s"], lengths=None):
        """The last state: the bottleneck."""
        return self.encoder(self.embed(source), None, lengths)[1]

    def forward(
        self,
        source: Int[Tensor, "b s"],
        target: Int[Tensor, "b t"],
        lengths: Int[Tensor, "b"] | None = None,
    ) -> Float[Tensor, "b t vocab"]:
        return self.decoder(self.encode(source, lengths), target)

    def translate(
        self,
        source: Int[Tensor, "b s"],
        steps: int,
        lengths: Int[Tensor, "b"] | None = None,
    ) -> Int[Tensor, "b t"]:
        """The likeliest target, token by token, without dropout."""
        with torch.no_grad(), evaluation_mode(self):
            return self.decoder.write(self.encode(source, lengths), steps)


def check_read(read: str) -> None:
    """Refuse a way to read that no `Reader` knows."""
    if read not in READS:
        raise ValueError(f"read = {read!r}: one of {', '.join(READS)}")


def check_sizes(**sizes: int | None) -> None:
    """Refuse a size below 1, by name; None passes."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} = {size}: at least 1")
