"""Scaled dot-product attention, by hand and through torch's fused kernel (Vaswani et al. 2017, arXiv:1706.03762)."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from helpers.transformers.attention.masks import causal_mask, check_mask


def attention_weights(
    q: Float[Tensor, "b heads t d"],
    k: Float[Tensor, "b kv s d"],
    mask: Shaped[Tensor, "..."] | None = None,
    *,
    causal: bool = False,
) -> Float[Tensor, "b heads t s"]:
    """softmax(q kᵀ / √d) (equation 1): where each query looks.

    `mask` and `causal` are those of `attend`. Each row sums to 1, or is 0
    where the mask leaves a query nothing to look at.
    """
    check_heads(q, k)
    check_mask(mask, q, k)
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5  # [b heads t s]
    mask = combined(mask, causal, q, k)
    if mask is None:
        return scores.softmax(3)
    if mask.dtype != torch.bool:
        return (scores + mask).softmax(3)
    lowest = torch.finfo(scores.dtype).min  # -inf gives nan in empty rows
    weights = scores.masked_fill(~mask, lowest).softmax(3)
    return weights * mask.any(-1, keepdim=True)


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
    `dropout` drops weights. `fused` calls torch's kernel; without it the
    equation is carried out, and the weights are kept for the backward
    pass. Raises `ValueError` for heads and masks that do not fit.
    """
    if fused:
        return fused_attention(q, k, v, mask, causal, dropout)
    weights = attention_weights(q, k, mask, causal=causal)
    v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    return F.dropout(weights, dropout) @ v


def fused_attention(q, k, v, mask, causal, dropout):
    """The same in one kernel, which never holds all weights at once."""
    check_heads(q, k)
    check_mask(mask, q, k)
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
    if not causal or t == 1:
        return mask
    past = causal_mask(t, s, device=q.device)
    if mask is None:
        return past
    if mask.dtype == torch.bool:
        return mask & past
    return mask.masked_fill(~past, -torch.inf)


def check_heads(q, k):
    """Refuse query heads that the key heads cannot share evenly."""
    heads, kv = q.shape[1], k.shape[1]
    if kv < 1 or heads % kv:
        raise ValueError(
            f"{heads} query heads and {kv} key heads: the number of query "
            "heads is a multiple of the number of key heads"
        )
