"""Multi-head, grouped-query and multi-query attention in one module.

Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023 (arXiv:2305.13245); Shazeer 2019 (arXiv:1911.02150).
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.transformers.attention.cache import Cache
from helpers.transformers.attention.dot_product import attend, attention_weights, check_dropout
from helpers.transformers.attention.masks import check_mask
from helpers.transformers.attention.positions import check_pairs, rotate


class MultiHeadAttention(nn.Module):
    """`heads` attentions side by side, each on its share of the width.

    With `kv_heads` = `heads` it is multi-head attention, and takes the
    state of a `torch.nn.MultiheadAttention`; with 1 multi-query attention;
    between them grouped-query attention. `rotary` turns queries and keys
    by their positions, in self-attention only. `fused` is `attend`'s.
    Raises `ValueError` for heads that do not divide the width, or each
    other.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        kv_heads: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        rotary: bool = False,
        fused: bool = True,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        check_widths(dim, heads, kv_heads, dropout)
        if rotary:
            check_pairs(dim // heads)
        self.heads, self.kv_heads = heads, kv_heads
        self.dropout, self.rotary, self.fused = dropout, rotary, fused
        self.widths = [dim] + 2 * [kv_heads * dim // heads]  # of q, k and v
        rows = sum(self.widths)
        self.in_proj_weight = nn.Parameter(torch.empty(rows, dim))
        if bias:
            self.in_proj_bias = nn.Parameter(torch.zeros(rows))
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = nn.Linear(dim, dim, bias)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"] | None = None,
        mask: Shaped[Tensor, "..."] | None = None,
        *,
        causal: bool = False,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Each of x looks at `memory`; without it, at x itself.

        `mask` and `causal` are those of `attend`. With a `cache` the keys
        and values of x are added to those that it holds; those of a memory
        are computed once. Raises `ValueError` for sequences, masks and
        caches that do not fit, and then leaves the cache as it was.
        """
        self.check(x, memory, mask, cache)
        q, k, v = self.project(x, memory, cache)
        out = attend(
            q,
            k,
            v,
            mask,
            causal=causal,
            dropout=self.dropout if self.training else 0.0,
            fused=self.fused,
        )
        return self.out_proj(out.transpose(1, 2).flatten(2))  # [b t d]

    def weights(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"] | None = None,
        mask: Shaped[Tensor, "..."] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Tensor, "b heads t s"]:
        """Where each head looks."""
        self.check(x, memory, mask)
        q, k, _ = self.project(x, memory, None)
        return attention_weights(q, k, mask, causal=causal)

    def project(self, x, memory, cache):
        """q [b heads t e], k and v [b kv s e], with e = d / heads."""
        first = cache.length if cache is not None and memory is None else 0
        if memory is None:
            q, k, v = self.linear(x, 0, 3).split(self.widths, 2)
        elif cache is not None and cache.length:  # read before
            q = self.split(self.linear(x, 0, 1), self.heads)
            return q, *cache.held()
        else:
            q = self.linear(x, 0, 1)
            k, v = self.linear(memory, 1, 3).split(self.widths[1:], 2)
        q = self.split(q, self.heads)
        k, v = (self.split(part, self.kv_heads) for part in (k, v))
        if self.rotary and memory is None:
            at = first + torch.arange(x.shape[1], device=x.device)
            q, k = rotate(q, at), rotate(k, at)
        if cache is not None:
            k, v = cache.extend(k, v)
        return q, k, v

    def check(self, x, memory, mask, cache=None):
        """Refuse what does not fit, before anything is computed."""
        dim = self.widths[0]
        for name, given in (("x", x), ("memory", memory)):
            if given is None:
                continue
            if given.ndim != 3 or given.shape[2] != dim:
                raise ValueError(
                    f"{name} of shape {tuple(given.shape)}: give [b t {dim}]"
                    ", a batch of sequences of this width"
                )
        b, t, _ = x.shape
        s = t if memory is None else memory.shape[1]
        if memory is not None and len(memory) != b:
            raise ValueError(
                f"{b} sequences look at the memories of {len(memory)}: give "
                "each its own, memory.expand(b, -1, -1) for one that is "
                "shared"
            )
        if cache is not None and cache.length:
            held = tuple(cache.keys.shape[:2])
            if held != (b, self.kv_heads):
                raise ValueError(
                    f"{b} sequences, {self.kv_heads} key heads, and a cache "
                    f"that was filled for {held[0]} with {held[1]}: begin "
                    "with new caches for other sequences"
                )
            if memory is None:
                s += cache.length
            elif s != cache.length:
                raise ValueError(
                    f"a memory of {s} tokens and a cache of one of "
                    f"{cache.length}: begin with new caches for another "
                    "memory"
                )
        check_mask(mask, b, self.heads, t, s)

    def linear(self, x, first, last):
        """The projections number `first` to `last` of q, k and v."""
        rows = slice(sum(self.widths[:first]), sum(self.widths[:last]))
        bias = self.in_proj_bias
        bias = None if bias is None else bias[rows]
        return F.linear(x, self.in_proj_weight[rows], bias)

    def split(self, x, heads):
        """[b t heads·e] to [b heads t e]."""
        return x.unflatten(2, (heads, -1)).transpose(1, 2)


def tied(layer: MultiHeadAttention) -> MultiHeadAttention:
    """The multi-head attention that repeats the keys and values of `layer`.

    It computes the same function: multi-query attention is multi-head
    attention with tied projections. In training the copies would part. It
    is in training mode if `layer` is.
    """
    d, kv = layer.widths[:2]
    groups = layer.heads // layer.kv_heads
    whole = MultiHeadAttention(
        dim=d,
        heads=layer.heads,
        bias=layer.in_proj_bias is not None,
        dropout=layer.dropout,
        rotary=layer.rotary,
        fused=layer.fused,
    )

    def repeat(rows):
        parts = rows.split(layer.widths)
        heads = (part.unflatten(0, (layer.kv_heads, -1)) for part in parts[1:])
        copies = (part.repeat_interleave(groups, 0) for part in heads)
        return torch.cat([parts[0], *(part.flatten(0, 1) for part in copies)])

    state = {
        key: repeat(value) if key.startswith("in_proj") else value
        for key, value in layer.state_dict().items()
    }
    whole.to(layer.in_proj_weight).load_state_dict(state)
    return whole.train(layer.training)


def check_widths(dim, heads, kv_heads, dropout):
    """Refuse heads that do not divide the width, or each other."""
    check_shares(dim, heads)
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(
            f"heads = {heads}, kv_heads = {kv_heads}: the key heads are "
            "shared evenly, so heads is a multiple of kv_heads"
        )
    check_dropout(dropout)


def check_shares(dim, heads):
    """Refuse heads that do not divide the width."""
    if heads < 1 or dim < 1 or dim % heads:
        raise ValueError(
            f"dim = {dim}, heads = {heads}: each head takes an equal share, "
            "so the width is a multiple of the number of heads"
        )
