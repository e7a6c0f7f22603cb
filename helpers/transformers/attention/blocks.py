"""Encoder and decoder layers, pre- and post-norm, with the parameter names of torch's."""

from collections.abc import Callable

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.transformers.attention.cache import Cache
from helpers.transformers.attention.multihead import MultiHeadAttention

Mask = Shaped[Tensor, "..."] | None


def check_depth(depth):
    """Refuse a stack without layers."""
    if depth < 1:
        raise ValueError(f"depth = {depth}: a stack has at least 1 layer")


class Block(nn.Module):
    """What encoder and decoder layers share.

    `norm_first` normalises what goes into each sublayer and leaves the
    residual path alone (pre-norm; Xiong et al. 2020, arXiv:2002.04745);
    without it each sum is normalised (post-norm, as in Vaswani et al.).
    `kv_heads`, `rotary` and `fused` are those of `MultiHeadAttention`.
    """

    attentions = ("self_attn",)

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        hidden: int,
        kv_heads: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        activation: Callable[[Tensor], Tensor] = F.relu,
        rotary: bool = False,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.norm_first, self.activation = norm_first, activation
        self.dropout = nn.Dropout(dropout)
        for name in self.attentions:
            attention = MultiHeadAttention(
                dim=dim,
                heads=heads,
                kv_heads=kv_heads,
                dropout=dropout,
                rotary=rotary and name == "self_attn",
                fused=fused,
            )
            self.add_module(name, attention)
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        for i in range(len(self.attentions) + 1):
            self.add_module(f"norm{i + 1}", nn.LayerNorm(dim))

    def residual(self, x, norm, sublayer):
        """x + sublayer(norm(x)), or norm(x + sublayer(x))."""
        if self.norm_first:
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))

    def feed_forward(
        self, x: Float[Tensor, "b t d"]
    ) -> Float[Tensor, "b t d"]:
        """The same small network at every position."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class EncoderBlock(Block):
    """Self-attention, then the feed-forward network.

    Takes the state of a `torch.nn.TransformerEncoderLayer`. With `causal`
    and a `cache` it is the layer of a decoder-only language model.
    """

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        mask: Mask = None,
        *,
        causal: bool = False,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b t d"]:
        x = self.residual(
            x,
            self.norm1,
            lambda h: self.self_attn(
                h, None, mask, causal=causal, cache=cache
            ),
        )
        return self.residual(x, self.norm2, self.feed_forward)


class DecoderBlock(Block):
    """Causal self-attention, a look at the memory, the feed-forward net.

    Takes the state of a `torch.nn.TransformerDecoderLayer`.
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: Float[Tensor, "b s d"],
        mask: Mask = None,
        memory_mask: Mask = None,
        *,
        cache: tuple[Cache, Cache] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """The two caches are that of x and that of the memory."""
        own, other = (None, None) if cache is None else cache
        self.multihead_attn.check(x, memory, memory_mask, other)

        x = self.residual(
            x,
            self.norm1,
            lambda h: self.self_attn(h, None, mask, causal=True, cache=own),
        )
        x = self.residual(
            x,
            self.norm2,
            lambda h: self.multihead_attn(h, memory, memory_mask, cache=other),
        )
        return self.residual(x, self.norm3, self.feed_forward)


class Stack(nn.Module):
    """Layers one after another, and a last norm.

    Takes the state of a `torch.nn.TransformerEncoder` or `…Decoder`.
    """

    def __init__(self, layers: list[Block], norm: nn.Module | None) -> None:
        super().__init__()
        if not layers:
            raise ValueError("no layers: a stack has at least 1")
        self.layers, self.norm = nn.ModuleList(layers), norm

    def forward(
        self, x: Float[Tensor, "b t d"], *others, caches=None, **words
    ) -> Float[Tensor, "b t d"]:
        """`others` and `words` go to every layer, of `caches` one to each.

        Raises `ValueError` for more caches than layers, or fewer.
        """
        if caches is not None and len(caches) != len(self.layers):
            raise ValueError(
                f"{len(caches)} caches for {len(self.layers)} layers: give "
                "each its own, as the model's caches() does"
            )
        for i, layer in enumerate(self.layers):
            if caches is not None:
                words["cache"] = caches[i]
            x = layer(x, *others, **words)
        return x if self.norm is None else self.norm(x)

