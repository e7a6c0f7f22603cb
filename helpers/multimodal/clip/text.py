"""CLIP's two kinds of text encoder: a causal transformer, and a bag of words
(Radford et al. 2021, arXiv:2103.00020, section 2.4 and figure 3)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.multimodal.clip.image import residual_stack
from helpers.transformers.attention.transformer import check_tokens


class TextTransformer(nn.Module):
    """A causal transformer, read at the token that ends each text.

    `end` is that token, by default the last of the `vocab`. What follows
    it does not matter: the first `end` sees only what is before it. Raises
    `ValueError` for tokens out of range, texts longer than the `context`,
    and texts without an end.
    """

    def __init__(
        self,
        *,
        vocab: int,
        context: int,
        dim: int,
        depth: int,
        heads: int,
        features: int,
        end: int | None = None,
    ) -> None:
        super().__init__()
        self.context, self.end = context, vocab - 1 if end is None else end
        self.token_embedding = nn.Embedding(vocab, dim)
        self.positional_embedding = nn.Parameter(torch.empty(context, dim))
        self.transformer = residual_stack(dim=dim, depth=depth, heads=heads)
        self.ln_final = nn.LayerNorm(dim)
        self.projection = nn.Parameter(torch.empty(dim, features))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.projection, std=dim**-0.5)

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        check_texts(tokens, self)
        x = self.token_embedding(tokens)
        x = x + self.positional_embedding[: tokens.shape[1]]
        x = self.transformer(x, causal=True)
        each = torch.arange(len(x), device=x.device)
        x = x[each, ends(tokens, self.end)]  # [b e]
        return self.ln_final(x) @ self.projection


class BagOfWords(nn.Module):
    """The mean of the word vectors, normalised and projected.

    The other encoder of figure 3, CBOW after Mikolov et al. 2013
    (arXiv:1301.3781): it does not know the order of the words. What stands
    between the token that begins a text and the first `end` is counted.
    """

    def __init__(
        self,
        *,
        vocab: int,
        context: int,
        dim: int,
        features: int,
        end: int | None = None,
    ) -> None:
        super().__init__()
        self.context, self.end = context, vocab - 1 if end is None else end
        self.token_embedding = nn.Embedding(vocab, dim)
        self.ln_final = nn.LayerNorm(dim)
        self.projection = nn.Parameter(torch.empty(dim, features))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.projection, std=dim**-0.5)

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        check_texts(tokens, self)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        inside = (place > 0) & (place < ends(tokens, self.end)[:, None])
        weights = inside / inside.sum(1, keepdim=True).clamp(min=1)
        x = self.token_embedding(tokens)  # [b t e]
        x = (weights[:, None].to(x.dtype) @ x)[:, 0]  # [b e]
        return self.ln_final(x) @ self.projection


def ends(tokens: Int[Tensor, "b t"], end: int) -> Int[Tensor, "b"]:
    """Where the first `end` of each text stands."""
    return (tokens == end).int().argmax(1)


def check_texts(tokens, encoder):
    """Refuse texts that are too long, of unknown tokens, or without end.

    The last two not on a GPU, which would have to stop and report, and
    not in a compiled graph.
    """
    t = tokens.shape[1]
    if t > encoder.context:
        raise ValueError(
            f"{t} tokens: the context of this encoder is {encoder.context}; "
            "encode the texts with that context (and truncate=True to cut)"
        )
    check_tokens(tokens, encoder.token_embedding.num_embeddings)
    if torch.compiler.is_compiling() or not tokens.is_cpu:
        return
    ended = (tokens == encoder.end).any(1)
    if not ended.all():
        raise ValueError(
            f"text {int(ended.int().argmin())} has no token {encoder.end}, "
            "which ends a text and is where its feature is read: encode "
            "with the tokenizer that the model was built for"
        )
