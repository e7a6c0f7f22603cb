"""CLIP's two kinds of text encoder: a causal transformer, and a bag of words
(Radford et al. 2021, arXiv:2103.00020, section 2.4 and figure 3)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

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
        self.context, self.end = context, last_of(vocab, end)
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
        x = vectors(tokens, self)
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
        self.context, self.end = context, last_of(vocab, end)
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
        x = vectors(tokens, self)  # [b t e]
        x = (weights[:, None].to(x.dtype) @ x)[:, 0]  # [b e]
        return self.ln_final(x) @ self.projection


def last_of(vocab: int, end: int | None) -> int:
    """The token that ends a text; `ValueError` for none of the vocabulary."""
    end = vocab - 1 if end is None else end
    if not 0 <= end < vocab:
        raise ValueError(
            f"end = {end}: the {vocab} tokens are 0 to {vocab - 1}"
        )
    return end


def vectors(tokens: Int[Tensor, "b t"], encoder: nn.Module) -> Tensor:
    """The tokens' embeddings: [b t e].

    An embedding looks at its tokens anyway, and stops at one that is none:
    only then are they looked at again, for a message that names it.
    """
    try:
        return encoder.token_embedding(tokens)
    except IndexError:
        check_tokens(tokens, encoder.token_embedding.num_embeddings)
        raise


def ends(tokens: Int[Tensor, "b t"], end: int) -> Int[Tensor, "b"]:
    """Where the first `end` of each text stands.

    No value leaves the device for that. In a text without an end the
    place is t, behind the last token, where `gather` stops; on a CPU the
    error is a `ValueError` that names the text.
    """
    found = F.pad(tokens == end, (0, 1), value=True)
    first = found.int().argmax(1)
    try:
        tokens.gather(1, first[:, None])
    except (IndexError, RuntimeError):
        without = ~(tokens == end).any(1)
        if not without.any():
            raise
        raise ValueError(
            f"text {int(without.int().argmax())} has no token {end}, "
            "which ends a text and is where its feature is read: encode "
            "with the tokenizer that the model was built for"
        ) from None
    return first


def check_texts(tokens, encoder):
    """Refuse what are no texts, or too long ones, by shape and dtype."""
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.is_complex():
        raise ValueError(
            f"tokens of {tuple(tokens.shape)}, {tokens.dtype}: integers, a "
            "row for each text, as the tokenizer gives them"
        )
    t = tokens.shape[1]
    if t > encoder.context:
        raise ValueError(
            f"{t} tokens: the context of this encoder is {encoder.context}; "
            "encode the texts with that context (and truncate=True to cut)"
        )
