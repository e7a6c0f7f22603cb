"""The encoder-decoder transformer (Vaswani et al. 2017, arXiv:1706.03762): vectors to vectors, and tokens to tokens."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.transformers.attention.blocks import (
    DecoderBlock,
    EncoderBlock,
    Stack,
    check_depth,
)
from helpers.transformers.attention.cache import Cache
from helpers.transformers.attention.masks import check_range
from helpers.transformers.attention.positions import (
    LearnedPositions,
    RelativeBias,
    check_context,
    sinusoidal,
)

POSITIONS = ("none", "sinusoidal", "learned", "relative", "rotary")
Mask = Shaped[Tensor, "..."] | None


class Transformer(nn.Module):
    """Encoder and decoder stacks; takes a `torch.nn.Transformer`'s state.

    The keywords after `depth` (layers of each stack) are those of the
    blocks. The decoder is causal by itself.
    """

    def __init__(
        self, *, dim: int, heads: int, hidden: int, depth: int, **words
    ) -> None:
        super().__init__()
        check_depth(depth)
        sizes = dict(dim=dim, heads=heads, hidden=hidden) | words
        for name, block in (
            ("encoder", EncoderBlock),
            ("decoder", DecoderBlock),
        ):
            layers = [block(**sizes) for _ in range(depth)]
            self.add_module(name, Stack(layers, nn.LayerNorm(dim)))
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        source: Float[Tensor, "b s d"],
        target: Float[Tensor, "b t d"],
        mask: Mask = None,
        target_mask: Mask = None,
    ) -> Float[Tensor, "b t d"]:
        """`mask` says what may be seen of the source."""
        memory = self.encoder(source, mask)
        return self.decoder(target, memory, target_mask, mask)


class Translator(nn.Module):
    """Tokens to tokens: embeddings, positions, transformer, head.

    `vocab` tokens are read and `target_vocab` written, of which `padding`
    is no token. Embeddings have unit variance, before positions are added
    (section 3.4 multiplies by √dim for that). `context` is the length of
    the longest sequence, `positions` one of `POSITIONS`. `shared` uses one matrix for both embeddings and
    the head, as the paper does. Raises `ValueError` for tokens that the
    vocabulary lacks, for sequences longer than the context, and for targets
    and memories of another batch.
    """

    def __init__(
        self,
        *,
        vocab: int,
        target_vocab: int | None = None,
        dim: int,
        heads: int,
        hidden: int,
        depth: int,
        context: int,
        positions: str = "sinusoidal",
        shared: bool = False,
        padding: int = 0,
        dropout: float = 0.0,
        **words,
    ) -> None:
        super().__init__()
        if positions not in POSITIONS:
            raise ValueError(
                f"positions = {positions!r}: one of {', '.join(POSITIONS)}"
            )
        if "rotary" in words:
            raise ValueError(
                f"rotary = {words['rotary']}: say positions = 'rotary'"
            )
        check_context(context)
        target_vocab = vocab if target_vocab is None else target_vocab
        if shared and target_vocab != vocab:
            raise ValueError(
                f"vocab = {vocab}, target_vocab = {target_vocab}: shared "
                "embeddings need one vocabulary"
            )
        self.context, self.padding = context, padding
        self.positions, self.scale = positions, dim**0.5
        words |= dict(dropout=dropout, rotary=positions == "rotary")
        self.transformer = Transformer(
            dim=dim, heads=heads, hidden=hidden, depth=depth, **words
        )
        self.source_embedding = nn.Embedding(vocab, dim)
        self.target_embedding = nn.Embedding(target_vocab, dim)
        self.head = nn.Linear(dim, target_vocab, bias=False)
        if shared:
            self.target_embedding.weight = self.source_embedding.weight
            self.head.weight = self.source_embedding.weight
        for table in (self.source_embedding, self.target_embedding):
            nn.init.normal_(table.weight, std=dim**-0.5)
        if positions == "learned":
            self.places = LearnedPositions(dim=dim, context=context)
        if positions == "relative":
            self.bias = RelativeBias(heads=heads)
            self.past_bias = RelativeBias(heads=heads, both_ways=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t k"]:
        """Logits of the token after each of `target`, which begins with a
        token that says so."""
        return self.decode(target, self.encode(source), source)

    def encode(self, source: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
        """The memory: one vector for each token that was read."""
        x = self.embed(source, self.source_embedding)
        mask = self.seen(source)
        if self.positions == "relative":
            bias = self.bias(source.shape[1])
            mask = bias.masked_fill(~mask, -torch.inf)
        return self.transformer.encoder(x, mask)

    def decode(
        self,
        target: Int[Tensor, "b t"],
        memory: Float[Tensor, "b s d"],
        source: Int[Tensor, "b s"],
        caches: list[tuple[Cache, Cache]] | None = None,
    ) -> Float[Tensor, "b t k"]:
        """Logits after each of `target`; with `caches`, after those before.

        `source` says which vectors of the memory are padding. The caches
        belong to this memory; begin with new ones for another.
        """
        check_memory(target, memory, source)
        first = caches[0][0].length if caches else 0
        mask, t = None, target.shape[1]
        x = self.embed(target, self.target_embedding, first)
        if self.positions == "relative":
            mask = self.past_bias(t, first + t)
        x = self.transformer.decoder(
            x, memory, mask, self.seen(source), caches=caches
        )
        return self.head(x)

    def embed(self, tokens, table, first=0):
        """Vectors of tokens, the first of which stands at `first`."""
        check_tokens(tokens, table.num_embeddings)
        t = tokens.shape[1]
        if t == 0:
            raise ValueError("0 tokens: give at least 1, such as a begin")
        if first + t > self.context:
            raise ValueError(
                f"{first + t} tokens: the context of this model is "
                f"{self.context}; cut the sequence or build a longer one"
            )
        x = self.scale * table(tokens)
        at = torch.arange(first, first + t, device=tokens.device)
        if self.positions == "sinusoidal":
            x = x + sinusoidal(at, x.shape[2]).to(x.dtype)
        if self.positions == "learned":
            x = x + self.places(at)
        return self.dropout(x)

    def seen(self, source):
        """Every query may look at all but the padding: [b 1 1 s]."""
        return (source != self.padding)[:, None, None]

    def caches(self) -> list[tuple[Cache, Cache]]:
        """Empty caches, two for each layer of the decoder."""
        layers = self.transformer.decoder.layers
        return [(Cache(self.context), Cache(self.context)) for _ in layers]


def translation_loss(
    model: Callable[..., Tensor],
    batch: tuple[Int[Tensor, "b s"], Int[Tensor, "b t"]],
) -> Float[Tensor, ""]:
    """Cross-entropy of each target token after the true ones, in nats.

    Targets begin with a token that says so; 0 is padding and not counted.
    """
    source, target = batch
    logits = model(source, target[:, :-1])
    return F.cross_entropy(
        logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=0
    )


def check_memory(target, memory, source):
    """Refuse targets, a memory and a source of different batches."""
    if target.ndim != 2 or memory.shape[:2] != source.shape:
        raise ValueError(
            f"target of shape {tuple(target.shape)}, memory of "
            f"{tuple(memory.shape)}, source of {tuple(source.shape)}: give "
            "[b t] tokens, and the memory of this source"
        )
    if len(target) != len(memory):
        raise ValueError(
            f"{len(target)} targets for the memories of {len(memory)} "
            "sources: give each its own"
        )


def check_tokens(tokens, vocab):
    """Refuse tokens outside 0 … vocab - 1, where `check_range` looks.

    On a GPU the embedding stops by itself.
    """
    if tokens.ndim != 2:
        raise ValueError(
            f"tokens of shape {tuple(tokens.shape)}: give [b t], a batch of "
            "sequences; tokens[None] is one"
        )
    check_range(
        tokens,
        0,
        vocab - 1,
        f"token {{value}}: the {vocab} tokens of this vocabulary are 0 to "
        "{high}; encode with the vocabulary that the model was built for",
    )
