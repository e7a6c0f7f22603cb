"""Attention and transformer layers against torch.nn.

One function for the equation and the kernel, one module for all ways of sharing heads, and layers made of them.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Pair
from helpers.transformers.attention import DecoderBlock, EncoderBlock, MultiHeadAttention, attend

LENGTHS = {"cpu": (64, 256, 1024), "cuda": (1024, 4096, 32_768)}  # tokens
LONGEST = 4096  # by the equation: the weights of 32 heads fill two gigabytes
WRAPPER = (
    "Ours checks the shapes of heads and mask, chooses between the kernel's cases, and is some ten calls from Python where "
    "torch's layer is one in compiled code; what that costs does not grow with the sequence."
)
EQUATION = (
    "By the equation all weights are written to memory and read back; the kernel works through them block by block."
)


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """The same weights and inputs on both sides; lengths in tokens, batch 4, width 256 in 8 heads."""
    d, heads = (16, 4) if tiny else (256, 8)
    b, lengths = (2, (5,)) if tiny else (4, LENGTHS[device.type])
    for t in lengths:
        q, k, v = (torch.randn(b, heads, t, d // heads, device=device) for _ in range(3))
        kernel = "F.scaled_dot_product_attention"
        yield Pair(f"attend, fused, {t} tokens", kernel, *fused(q, k, v), WRAPPER)
        if t <= LONGEST:
            yield Pair(f"attend, by the equation, {t} tokens", kernel, *by_equation(q, k, v), EQUATION)
        few = k[:, : heads // 4].contiguous(), v[:, : heads // 4].contiguous()
        yield Pair(
            f"one query on {t} keys, a quarter of the heads", "the same with enable_gqa", *grouped(q, *few), WRAPPER
        )
    for t in lengths[:2]:
        torch.manual_seed(0)
        x, memory = torch.randn(2, b, t, d, device=device)
        sizes = dict(dim=d, heads=heads, hidden=4 * d, norm_first=True)
        theirs = dict(d_model=d, nhead=heads, dim_feedforward=4 * d, dropout=0.0, batch_first=True, norm_first=True)
        for what, ours, other, inputs, run in (
            (
                "multi-head attention",
                MultiHeadAttention(dim=d, heads=heads),
                multi_head(d, heads),
                (x,),
                self_attention,
            ),
            ("encoder layer", EncoderBlock(**sizes), nn.TransformerEncoderLayer(**theirs), (x,), causal_layer),
            ("decoder layer", DecoderBlock(**sizes), nn.TransformerDecoderLayer(**theirs), (x, memory), decoder_layer),
        ):
            ours.load_state_dict(other.state_dict())
            ours, other = ours.to(device).eval(), other.to(device).eval()
            name = f"torch.nn.{type(other).__name__}"
            for way in (forward, both_ways):
                direction = "forward" if way is forward else "both ways"
                calls = (way(layer, run(layer), inputs) for layer in (ours, other))
                yield Pair(f"{what}, {t} tokens, {direction}", name, *calls, WRAPPER)


def multi_head(d: int, heads: int) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(d, heads, batch_first=True)


def fused(q, k, v):
    return lambda: attend(q, k, v, causal=True), lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def by_equation(q, k, v):
    def equation():
        return attend(q, k, v, causal=True, fused=False)

    return equation, fused(q, k, v)[1]


def grouped(q, k, v):
    last = q[:, :, -1:]
    return lambda: attend(last, k, v, causal=True), lambda: F.scaled_dot_product_attention(last, k, v, enable_gqa=True)


def future(t: int, device: torch.device) -> torch.Tensor:
    """torch's mask, in which True hides."""
    return torch.ones(t, t, dtype=torch.bool, device=device).triu(1)


def self_attention(layer: nn.Module):
    """Our layer and torch's, without a mask and without the weights."""
    if isinstance(layer, MultiHeadAttention):
        return lambda x: layer(x)
    return lambda x: layer(x, x, x, need_weights=False)[0]


def causal_layer(layer: nn.Module):
    if isinstance(layer, EncoderBlock):
        return lambda x: layer(x, causal=True)
    return lambda x: layer(x, future(x.shape[1], x.device), is_causal=True)


def decoder_layer(layer: nn.Module):
    if isinstance(layer, DecoderBlock):
        return lambda x, memory: layer(x, memory)
    return lambda x, memory: layer(x, memory, future(x.shape[1], x.device), tgt_is_causal=True)


def forward(layer: nn.Module, run, inputs):
    """A function that returns the outputs."""
    return torch.no_grad()(lambda: run(*inputs))


def both_ways(layer: nn.Module, run, inputs):
    """A function that returns the gradient of the self-attention's projections."""

    def call():
        layer.zero_grad()
        run(*inputs).square().mean().backward()
        return (layer.self_attn if hasattr(layer, "self_attn") else layer).in_proj_weight.grad

    return call
