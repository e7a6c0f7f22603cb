"""Scaled dot-product attention, by hand and through torch's fused kernel (Vaswani et al. 2017, arXiv:1706.03762)."""

from contextlib import nullcontext

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from helpers.transformers.attention.masks import additive, causal_mask, check_mask


def attention_weights(
    q: Float[Tensor, "b heads t d"],
    k: Float[Tensor, "b kv s d"],
    mask: Shaped[Tensor, "..."] | None = None,
    *,
    causal: bool = False,
) -> Float[Tensor, "b heads t s"]:
    """softmax(q kᵀ / √d) (equation 1): where each query looks.

    `mask` and `causal` are those of `attend`. Each row sums to 1, or is 0
    where the mask leaves a query nothing to look at. Scores of half
    precision are taken in single precision, as the fused kernel does.
    """
    check_inputs(q, k, k, mask)
    hidden = combined(mask, causal, q, k)
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    dtype = torch.promote_types(q.dtype, torch.float32)
    with without_autocast(q):
        scaled = q.to(dtype) / q.shape[3] ** 0.5
        scores = scaled @ k.to(dtype).transpose(2, 3)  # [b heads t s]
    if hidden is not None and hidden.dtype == torch.bool:
        hidden = additive(hidden, dtype)
    if hidden is not None:
        scores = scores + hidden
    if mask is None:  # each query sees a key
        return scores.softmax(3).to(q.dtype)
    blind = (hidden == -torch.inf).all(-1, keepdim=True)
    weights = scores.masked_fill(blind, 0).softmax(3)
    return weights.masked_fill(blind, 0).to(q.dtype)


def attend(
    q: Float[Tensor, "b heads t d"],
    k: Float[Tensor, "b kv s d"],
    v: Float[Tensor, "b kv s o"],
    mask: Shaped[Tensor, "..."] | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    fused: bool = True,
) -> Float[Tensor, "b heads t o"]:
    """Mix the values by where each query looks: softmax(q kᵀ / √d) v.

    `mask` is [t s] or [b heads t s], with 1 for any of b, heads and t: True
    where a query may look, or numbers that are added to the scores.
    `causal` lets query i of t see the first s - t + i + 1 keys. With fewer
    key heads than query heads, consecutive query heads share one.
    A query that sees no key gets zeros. `dropout` drops weights. `fused`
    calls torch's kernel; without it the equation is carried out, and the
    weights are kept for the backward pass. Raises `ValueError` for shapes,
    types, heads and masks that do not fit.
    """
    check_inputs(q, k, v, mask)
    check_dropout(dropout)
    if fused:
        return fused_attention(q, k, v, mask, causal, dropout)
    weights = attention_weights(q, k, mask, causal=causal)
    v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    return F.dropout(weights, dropout) @ v


def fused_attention(q, k, v, mask, causal, dropout):
    """The same in one kernel, which never holds all weights at once."""
    t, s = q.shape[2], k.shape[2]
    if mask is not None or t != s:  # torch aligns the first keys, not the last
        mask, causal = combined(mask, causal, q, k), False
    shared = q.shape[1] != k.shape[1]
    if mask is None and not causal and shared and q.is_cpu:
        # The heads of a group are further queries of one head. A GPU gives
        # each head a part of itself, and would leave most of it idle.
        b, heads, _, d = q.shape
        rows = q.reshape(b, k.shape[1], -1, d)  # [b kv heads/kv·t d]
        out = F.scaled_dot_product_attention(rows, k, v, dropout_p=dropout)
        return out.reshape(b, heads, t, v.shape[3])
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        mask,
        dropout,
        is_causal=causal,
        enable_gqa=shared,
    )


def combined(mask, causal, q, k):
    """One mask for both, or None. A single last query sees every key."""
    t, s = q.shape[2], k.shape[2]
    if t > s and causal:
        raise ValueError(
            f"{t} queries and {s} keys: the causal mask gives each query "
            "its own key and those before it, so give at least as many keys"
        )
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q.dtype)
    if not causal or t == 1:
        return mask
    past = causal_mask(t, s, device=q.device)
    if mask is None:
        return past
    if mask.dtype == torch.bool:
        return mask & past
    return mask.masked_fill(~past, -torch.inf)


def without_autocast(x):
    """Products as they are: those of half precision overflow at 65,504."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def check_inputs(q, k, v, mask):
    """Refuse queries, keys, values and a mask that do not go together."""
    if not q.ndim == k.ndim == v.ndim == 4:
        raise ValueError(
            f"{shapes(q, k, v)}: give each four axes, [b heads t d]; "
            "x[:, None] is one head"
        )
    b, heads, t, d = q.shape
    kv, s = k.shape[1:3]
    if kv < 1 or heads % kv:
        raise ValueError(
            f"{heads} query heads and {kv} key heads: the number of query "
            "heads is a multiple of the number of key heads"
        )
    if k.shape != (b, kv, s, d) or v.shape[:3] != (b, kv, s):
        raise ValueError(
            f"{shapes(q, k, v)}: give all the same batch, each key a "
            "value, and queries and keys the same width"
        )
    mixed = not q.dtype == k.dtype == v.dtype
    if mixed and torch.is_autocast_enabled(q.device.type):
        mixed = False  # autocast makes them one
    if mixed or not q.is_floating_point():
        raise ValueError(
            f"queries of {q.dtype}, keys of {k.dtype}, values of {v.dtype}: "
            "give all the same floating-point type"
        )
    check_mask(mask, b, heads, t, s)


def shapes(q, k, v):
    q, k, v = (tuple(x.shape) for x in (q, k, v))
    return f"queries, keys and values of shapes {q}, {k} and {v}"


def check_dropout(dropout):
    """Refuse a share that is no share, or all."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout = {dropout}: from 0 to below 1")
