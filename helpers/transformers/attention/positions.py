"""Where a token stands: sinusoidal, learned, relative and rotary positions."""

from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.transformers.attention.masks import check_lengths, check_range


def angles(
    at: Int[Tensor, "t"], dim: int, base: float = 10_000.0
) -> Float[Tensor, "t half"]:
    """Position times frequency: p / base^(2i / dim) for i < dim / 2.

    In float64, as large angles lose the digits that matter. Raises
    `ValueError` for an odd width.
    """
    check_pairs(dim)
    i = torch.arange(0, dim, 2, device=at.device, dtype=torch.float64)
    return at[:, None] * base ** (-i / dim)


def sinusoidal(
    at: Int[Tensor, "t"], dim: int
) -> Float[Tensor, "t {dim}"]:
    """PE(p): sin in the even features, cos in the odd ones.

    Vaswani et al. 2017, section 3.5. Each pair turns at its own speed.
    """
    turn = angles(at, dim)
    return torch.stack([turn.sin(), turn.cos()], 2).flatten(1)


def rotate(
    x: Float[Tensor, "b heads t d"], at: Int[Tensor, "t"]
) -> Float[Tensor, "b heads t d"]:
    """Turn features i and i + d/2 by the angle of position and frequency.

    Rotary positions (Su et al. 2021, arXiv:2104.09864), in the layout of
    the LLaMA weights; the paper pairs 2i and 2i + 1 instead. The product
    of two vectors turned so depends on their difference of positions.
    """
    if len(at) != x.shape[2]:
        raise ValueError(
            f"{len(at)} positions for {x.shape[2]} tokens: give each its own"
        )
    turn = angles(at, x.shape[3])  # [t d/2]
    cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
    left, right = x.chunk(2, 3)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], 3)


class LearnedPositions(nn.Module):
    """One vector for each of `context` positions, learned.

    Raises `ValueError` for positions beyond them.
    """

    def __init__(self, *, dim: int, context: int) -> None:
        super().__init__()
        check_context(context)
        self.table = nn.Embedding(context, dim)
        nn.init.normal_(self.table.weight, std=0.5)

    def forward(self, at: Int[Tensor, "t"]) -> Float[Tensor, "t d"]:
        check_range(
            at,
            0,
            self.table.num_embeddings - 1,
            "position {value}: those learned are 0 to {high}; build the "
            "table with a longer context",
        )
        return self.table(at)


def relative_bucket(
    difference: Int[Tensor, "t s"],
    *,
    buckets: int = 32,
    distance: int = 128,
    both_ways: bool = True,
) -> Int[Tensor, "t s"]:
    """Sort differences (key minus query) into `buckets`, near ones finely.

    Half of a side's buckets hold one distance each; the other half grow
    logarithmically up to `distance` and hold all beyond. `both_ways` gives
    the future buckets of its own, else it shares that of distance 0.
    Raffel et al. 2020 (T5), arXiv:1910.10683, section 2.1.
    """
    side, first = buckets, torch.zeros_like(difference)
    if both_ways:
        side = buckets // 2
        first = (difference > 0).long() * side
        far = difference.abs()
    else:
        far = (-difference).clamp(min=0)
    exact = side // 2
    if not 1 <= exact < distance:
        raise ValueError(
            f"buckets = {buckets}, distance = {distance}: at least "
            f"{4 if both_ways else 2} buckets, of which the finest are fewer "
            "than the distances"
        )
    share = torch.log(far.clamp(min=1).float() / exact) / log(distance / exact)
    coarse = exact + (share * (side - exact)).long()
    return first + torch.where(far < exact, far, coarse.clamp(max=side - 1))


class RelativeBias(nn.Module):
    """A learned number for each head and bucket of relative positions.

    Raffel et al. 2020; a scalar in place of the vectors of Shaw et al.
    2018 (arXiv:1803.02155). To be added to the scores: a float mask.
    """

    def __init__(
        self,
        *,
        heads: int,
        buckets: int = 32,
        distance: int = 128,
        both_ways: bool = True,
    ) -> None:
        super().__init__()
        self.words = dict(
            buckets=buckets, distance=distance, both_ways=both_ways
        )
        self.table = nn.Embedding(buckets, heads)
        nn.init.zeros_(self.table.weight)

    def forward(
        self, t: int, s: int | None = None
    ) -> Float[Tensor, "1 heads t s"]:
        """For the last `t` of `s` positions."""
        s = t if s is None else s
        check_lengths(t, s)
        at = torch.arange(s, device=self.table.weight.device)
        bucket = relative_bucket(at - at[s - t :, None], **self.words)
        return self.table(bucket).permute(2, 0, 1)[None]


def check_context(context):
    """Refuse a table without positions."""
    if context < 1:
        raise ValueError(f"context = {context}: at least 1 position")


def check_pairs(dim):
    """Refuse an odd number of features."""
    if dim < 2 or dim % 2:
        raise ValueError(
            f"dim = {dim}: sine and cosine come in pairs, so give an even "
            "number of features, of each head for rotary positions"
        )
