"""Swin: attention in windows, every other time in shifted ones
(Liu et al. 2021, arXiv:2103.14030).

Names of parameters are torchvision's, and so are the first weights
under one seed."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.stochastic_depth import stochastic_depth
from helpers.convnets.architectures.weights import load_published
from helpers.transformers.attention import attend
from helpers.transformers.attention.multihead import check_shares
from helpers.transformers.vision_transformers.vit import check_patch, check_pictures, last_layer, mlp


def windows(
    x: Shaped[Tensor, "b h w c"], window: int
) -> Shaped[Tensor, "b m n c"]:
    """Cut a map into m squares of n tokens, `window` on a side each.

    Raises `ValueError` for a side that `window` does not divide.
    """
    h, w = x.shape[1:3]
    if window < 1 or h % window or w % window:
        raise ValueError(
            f"a map of {h}x{w} in windows of {window}: pad it to a multiple, "
            "or give a window that divides it"
        )
    pattern = "b (i p) (j q) c -> b (i j) (p q) c"
    return rearrange(x, pattern, p=window, q=window)


def joined(
    x: Shaped[Tensor, "b m n c"], h: int, w: int, window: int
) -> Shaped[Tensor, "b {h} {w} c"]:
    """Lay windows out again as a map of h by w."""
    pattern = "b (i j) (p q) c -> b (i p) (j q) c"
    return rearrange(x, pattern, i=h // window, j=w // window, p=window)


def shift_mask(
    h: int, w: int, window: int, down: int, right: int, device=None
) -> Bool[Tensor, "m n n"]:
    """Who may look at whom in the windows of a map that was rolled.

    Rolling by `-down` and `-right` brings the first rows behind the last
    ones, and the first columns. In the windows that hold both, the two
    sides were no neighbours: True only on the same side of both seams.
    """
    row = torch.arange(h, device=device) >= h - down
    column = torch.arange(w, device=device) >= w - right
    side = 2 * row[:, None].long() + column  # [h w]
    side = windows(side[None, :, :, None], window)[0]  # [m n 1]
    return side == side.transpose(1, 2)


def relative_index(window: int) -> Int[Tensor, "nn"]:
    """For each query and key of a window its row in the table of biases.

    Differences of rows, then of columns, each from 1 - `window` on.
    """
    line = torch.arange(window)
    at = torch.cartesian_prod(line, line).reshape(-1, 2)
    far = at[:, None] - at + window - 1  # [n n 2], from 0 on
    return (far[:, :, 0] * (2 * window - 1) + far[:, :, 1]).flatten()


def attention_cost(
    h: int, w: int, dim: int, window: int | None = None
) -> int:
    """Multiply-adds of one attention on a map (equations 1 and 2).

    Four projections, 4hwC²; then scores and mixing: 2(hw)²C, or in windows
    of M by M tokens 2M²hwC, which grows with the map as convolutions do. A
    map that the window does not divide is padded, which is counted.
    """
    if window is not None:
        check_windows(dim, 1, window, 0)
        h, w = h + -h % window, w + -w % window
    seen = h * w if window is None else window**2
    return 4 * h * w * dim**2 + 2 * seen * h * w * dim


class WindowAttention(nn.Module):
    """Attention within windows, with a learned bias for each difference.

    The windows are moved by `shift` in both axes: the map is rolled, and
    `shift_mask` parts what only the rolling joined (section 3.2). A map
    whose side is no multiple of `window` gets zeros at its ends, which
    are looked at, as in torchvision. An axis of one window is not shifted.
    """

    def __init__(
        self, *, dim: int, heads: int, window: int, shift: int
    ) -> None:
        super().__init__()
        check_windows(dim, heads, window, shift)
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        table = torch.zeros((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(table)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_index(window))

    def bias(self) -> Float[Tensor, "heads n n"]:
        """What is added to the scores of each query and key."""
        n = self.window**2
        chosen = self.relative_position_bias_table[
            self.relative_position_index
        ]
        return chosen.unflatten(0, (n, n)).permute(2, 0, 1)

    def forward(
        self, x: Float[Tensor, "b h w d"]
    ) -> Float[Tensor, "b h w d"]:
        check_map(x, self.qkv.in_features)
        _, h, w, _ = x.shape
        window = self.window
        x = F.pad(x, (0, 0, 0, -w % window, 0, -h % window))
        tall, wide = x.shape[1:3]
        down = self.shift if tall > window else 0
        right = self.shift if wide > window else 0
        bias = self.bias()
        m = tall * wide // window**2
        bias = bias.expand(m, -1, -1, -1)  # [m heads n n]
        if down or right:
            x = x.roll((-down, -right), (1, 2))
            seen = shift_mask(tall, wide, window, down, right, x.device)
            bias = bias.masked_fill(~seen[:, None], -torch.inf)
        qkv = self.qkv(windows(x, window))
        # A window is to attention as a head is: neither sees the others.
        pattern = "b m n (three heads e) -> three b (m heads) n e"
        q, k, v = rearrange(qkv, pattern, three=3, heads=self.heads)
        out = attend(q, k, v, bias.flatten(0, 1)[None].to(q.dtype))
        out = rearrange(
            out, "b (m heads) n e -> b m n (heads e)", heads=self.heads
        )
        x = joined(self.proj(out), tall, wide, window)
        return x.roll((down, right), (1, 2))[:, :h, :w]


class Block(nn.Module):
    """Window attention, then two layers with GELU, both pre-norm.

    While training each branch of an image survives with probability
    `survival`.
    """

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        window: int,
        shift: int,
        hidden: int,
        dropout: float = 0.0,
        survival: float = 1.0,
    ) -> None:
        super().__init__()
        self.survival = survival
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(
            dim=dim, heads=heads, window=window, shift=shift
        )
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = mlp(dim, hidden, dropout)

    def forward(
        self, x: Float[Tensor, "b h w d"]
    ) -> Float[Tensor, "b h w d"]:
        x = x + self.thinned(self.dropout(self.attn(self.norm1(x))))
        return x + self.thinned(self.mlp(self.norm2(x)))

    def thinned(self, branch):
        """Some rows of the batch go without the branch."""
        p = 1 - self.survival
        return stochastic_depth(branch, p, "row", self.training)


class PatchMerging(nn.Module):
    """Four neighbours become one token: 4C features, of them 2C.

    An odd side gets a row or column of zeros at its end.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(
        self, x: Float[Tensor, "b h w d"]
    ) -> Float[Tensor, "b p q e"]:
        check_map(x, self.norm.normalized_shape[0] // 4)
        _, h, w, _ = x.shape
        x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
        corners = (0, 0), (1, 0), (0, 1), (1, 1)
        x = torch.cat([x[:, i::2, j::2] for i, j in corners], 3)
        return self.reduction(self.norm(x))


class ChannelsLast(nn.Module):
    """[b c h w] to [b h w c]."""

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b h w c"]:
        return x.permute(0, 2, 3, 1)


class Swin(nn.Module):
    """Patches, stages of blocks, merging between them, the mean, a layer.

    `depths` and `heads` are those of each stage; from stage to stage the
    width `dim` doubles and the side halves. Blocks take turns with windows
    in place and shifted by half. Takes images of any size that `patch`
    divides. `survival` is that of the last block, falling linearly from 1.
    `classes=None` leaves `head` out. Raises `ValueError` for images whose
    side `patch` does not divide, and for other channels than `channels`.
    """

    def __init__(
        self,
        *,
        dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int = 7,
        patch: int = 4,
        classes: int | None = 1000,
        channels: int = 3,
        dropout: float = 0.0,
        survival: float = 1.0,
    ) -> None:
        super().__init__()
        if len(depths) != len(heads) or not depths or min(depths) < 1:
            raise ValueError(
                f"depths = {depths}, heads = {heads}: give one number of "
                "blocks, at least 1, and one of heads for each stage"
            )
        if not 0 < survival <= 1:
            raise ValueError(
                f"survival = {survival}: a share above 0, 1 to keep all"
            )
        check_patch(patch, patch)
        check_windows(dim, heads[0], window, 0)
        self.patch = patch
        conv = nn.Conv2d(channels, dim, patch, patch)
        self.features = nn.Sequential(
            nn.Sequential(conv, ChannelsLast(), nn.LayerNorm(dim))
        )
        falls, before = (1 - survival) / max(1, sum(depths) - 1), 0
        for stage, depth in enumerate(depths):
            if stage:
                self.features.append(PatchMerging(dim))
                dim *= 2
            blocks = [
                Block(
                    dim=dim,
                    heads=heads[stage],
                    window=window,
                    shift=i % 2 * (window // 2),
                    hidden=4 * dim,
                    dropout=dropout,
                    survival=1 - falls * (before + i),
                )
                for i in range(depth)
            ]
            self.features.append(nn.Sequential(*blocks))
            before += depth
        self.norm = nn.LayerNorm(dim)
        self.head = last_layer(dim, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        check_pictures(images, self.features[0][0].in_channels)
        for side in images.shape[2:]:
            check_patch(side, self.patch)
        x = self.norm(self.features(images))
        return self.head(x.mean((1, 2)))


def check_map(x, dim):
    """Refuse what is no batch of maps of this width, the width last."""
    if x.ndim != 4 or x.shape[3] != dim:
        raise ValueError(
            f"a map of shape {tuple(x.shape)}: give [b h w {dim}]"
        )


def check_windows(dim, heads, window, shift):
    """Refuse heads that do not divide the width, and no window."""
    check_shares(dim, heads)
    if isinstance(window, (tuple, list)):
        raise ValueError(
            f"window = {window}: windows are square, give one number"
        )
    if window < 1 or not 0 <= shift < window:
        raise ValueError(
            f"window = {window}, shift = {shift}: a window has 1 token on "
            "a side or more, and is shifted by less than that"
        )


def swin_t(*, weights: str | None = None, **options) -> Swin:
    """Tiny: 12 blocks, of width 96 in the first stage."""
    preset = dict(
        dim=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), survival=0.8
    )
    return load_published(Swin(**preset | options), "swin_t", weights)


def swin_s(*, weights: str | None = None, **options) -> Swin:
    """Small: 12 blocks more, all in the third stage."""
    preset = dict(
        dim=96, depths=(2, 2, 18, 2), heads=(3, 6, 12, 24), survival=0.7
    )
    return load_published(Swin(**preset | options), "swin_s", weights)


def swin_b(*, weights: str | None = None, **options) -> Swin:
    """Base: the depths of Small, of width 128 in the first stage."""
    preset = dict(
        dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), survival=0.5
    )
    return load_published(Swin(**preset | options), "swin_b", weights)


def swin_small(**options) -> Swin:
    """The book's own size, for images of 16 to 32 pixels on a side.

    Give `patch=1` where the images have 8 pixels.
    """
    preset = dict(
        dim=32, depths=(2, 2), heads=(2, 4), window=4, patch=2, classes=10
    )
    return Swin(**preset | options)
