"""TimeSformer: five ways of looking around in space and time
(Bertasius, Wang & Torresani 2021, arXiv:2102.05095), one block for all.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.transformers.attention import MultiHeadAttention
from helpers.transformers.vision_transformers.vit import check_patch, mlp
from helpers.video.optical_flow.checks import check_axes
from helpers.video.video_transformers.plans import (
    Plan,
    Step,
    chosen,
    group,
    splits,
    ungroup,
)


class Look(nn.Module):
    """One step of a plan: norm, attention in groups, back to the grid.

    A class token that joins has a copy in each group; what the copies
    bring home is averaged.
    """

    def __init__(self, step: Step, *, dim: int, heads: int) -> None:
        super().__init__()
        self.step = step
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = MultiHeadAttention(dim=dim, heads=heads)
        self.dense = nn.Linear(dim, dim) if step.dense else nn.Identity()

    def rows(self, token, x):
        """The groups, with a copy of the token at the head of each."""
        rows = group(x, self.step)
        if self.step.token:
            copies = token.repeat_interleave(len(rows) // len(x), 0)
            rows = torch.cat([copies, rows], 1)
        return self.norm(rows)

    def forward(
        self, token: Float[Tensor, "b 1 d"], x: Float[Tensor, "b f h w d"]
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b f h w d"]]:
        out = self.dense(self.attention(self.rows(token, x)))
        if self.step.token:
            copies = out[:, :1].unflatten(0, (len(x), -1))
            token = token + copies.mean(1)
            out = out[:, 1:]
        return token, x + ungroup(out, self.step, x.shape[1:4])


class Block(nn.Module):
    """The steps of a plan one after another, then a network of two layers."""

    def __init__(
        self,
        plan: Plan,
        *,
        dim: int,
        heads: int,
        hidden: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.looks = nn.ModuleList(
            Look(step, dim=dim, heads=heads) for step in plan
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = mlp(dim, hidden, dropout)

    def forward(
        self, token: Float[Tensor, "b 1 d"], x: Float[Tensor, "b f h w d"]
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b f h w d"]]:
        for look in self.looks:
            token, x = look(token, x)
        return token + self.mlp(self.norm(token)), x + self.mlp(self.norm(x))


class TimeSformer(nn.Module):
    """Patches of all frames, a class token, blocks that follow a plan.

    `plan` is a name in `PLANS` or a plan. One that never looks along time
    reads each frame as an image of its own, without positions in time,
    and averages over frames at the end. `classes=None` leaves the last
    layer out. Raises `ValueError` for plans, frames and sides that do not
    fit, and videos of another size than it is built for.
    """

    def __init__(
        self,
        *,
        plan: str | Plan = "released",
        frames: int = 8,
        image: int = 224,
        patch: int = 16,
        dim: int,
        depth: int,
        heads: int,
        hidden: int | None = None,
        classes: int | None = 400,
        channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_patch(image, patch)
        check_sizes(frames=frames, hidden=hidden, classes=classes)
        self.channels = channels
        self.plan = plan = chosen(plan)
        self.frames, self.image, self.side = frames, image, image // patch
        self.timeless = not any("t" in step.axes for step in plan)
        for step in plan:
            splits(step, (frames, self.side, self.side))
        self.patches = nn.Conv2d(channels, dim, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, 1 + self.side**2, dim))
        if not self.timeless:
            self.times = nn.Parameter(torch.zeros(1, frames, dim))
        self.dropout = nn.Dropout(dropout)
        hidden = 4 * dim if hidden is None else hidden
        options = dict(dim=dim, heads=heads, hidden=hidden)
        self.blocks = nn.ModuleList(
            Block(plan, dropout=dropout, **options) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Identity()
        if classes is not None:
            self.head = nn.Linear(dim, classes)
        initialise(self)

    def embed(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> tuple[Float[Tensor, "_ 1 d"], Float[Tensor, "_ t p q d"]]:
        """The class token and the grid of patches, with their positions.

        One of each a clip, or a frame where the plan never looks along
        time.
        """
        check_videos(videos, self)
        clips, frames = len(videos), videos.shape[1]
        x = self.patches(videos.flatten(0, 1)).permute(0, 2, 3, 1)
        here = self.positions[:, 1:].unflatten(1, (self.side, self.side))
        x = x + here  # [b·f h w d]
        if self.timeless:
            clips, x = len(x), x[:, None]
        else:
            x = self.dropout(x).unflatten(0, (clips, frames))
            x = x + self.times[:, :, None, None]
        token = (self.token + self.positions[:, :1]).expand(clips, -1, -1)
        return self.dropout(token), self.dropout(x)

    def features(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> tuple[Float[Tensor, "_ 1 d"], Float[Tensor, "_ t p q d"]]:
        """What the last block says of the token and of each patch."""
        token, x = self.embed(videos)
        for block in self.blocks:
            token, x = block(token, x)
        return self.norm(token), self.norm(x)

    def forward(
        self, videos: Float[Tensor, "b f c h w"]
    ) -> Float[Tensor, "b k"]:
        token, _ = self.features(videos)
        scores = self.head(token[:, 0])
        return scores.unflatten(0, (len(videos), -1)).mean(1)


def initialise(network):
    """As the book's ViT; later looks along time start as nothing."""
    fan_in = network.patches.weight[0].numel()
    nn.init.trunc_normal_(network.patches.weight, std=fan_in**-0.5)
    nn.init.zeros_(network.patches.bias)
    nn.init.trunc_normal_(network.token, std=0.02)
    nn.init.trunc_normal_(network.positions, std=0.02)
    for block in network.blocks[1:]:
        for look in block.looks:
            for zero in look.dense.parameters():
                nn.init.zeros_(zero)


def token_maps(
    network: TimeSformer, videos: Float[Tensor, "b f c h w"]
) -> Iterator[Float[Tensor, "_ heads t p q"]]:
    """Where the class token looks, for each look that it joins.

    From the first block on. Its copies in the groups each look at their
    own, so that a look along t sums to below 1 at every place, one along h
    and w in every frame; the rest is the token's look at itself. Raises
    `ValueError` for a network in training mode, whose dropout would blot
    out places.
    """
    if network.training:
        raise ValueError("the network is in training mode: call eval() first")
    token, x = network.embed(videos)
    for block in network.blocks:
        for look in block.looks:
            if look.step.token:
                rows = look.attention.weights(look.rows(token, x))
                seen = rows[:, :, 0, 1:].transpose(1, 2)  # [groups n heads]
                grid = ungroup(seen, look.step, x.shape[1:4])
                yield grid.permute(0, 4, 1, 2, 3)
            token, x = look(token, x)
        token = token + block.mlp(block.norm(token))
        x = x + block.mlp(block.norm(x))


def check_videos(videos, network):
    """Refuse clips of another length or size than the positions fit."""
    check_axes(videos, f"b f {network.channels} h w", "videos")
    f, _, h, w = videos.shape[1:]
    if f != network.frames and not network.timeless:
        raise ValueError(
            f"clips of {f} frames in a network for {network.frames}: sample "
            f"so many, or build it with frames={f}"
        )
    if (h, w) != (network.image, network.image):
        raise ValueError(
            f"frames of {h}x{w} pixels in a network for "
            f"{network.image}x{network.image}: resize them"
        )


def check_sizes(**sizes):
    """Refuse numbers below 1 of what may be left out, but not be none."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} = {size}: 1 at the least, or None")


NAMES = {
    "timesformer.": "",
    "embeddings.cls_token": "token",
    "embeddings.position_embeddings": "positions",
    "embeddings.time_embeddings": "times",
    "embeddings.patch_embeddings.projection.": "patches.",
    "encoder.layer.": "blocks.",
    ".layernorm_after.": ".norm.",
    ".intermediate.dense.": ".mlp.0.",
    ".temporal_layernorm.": ".looks.0.norm.",
    ".temporal_attention.attention.qkv.": ".looks.0.attention.in_proj_",
    ".temporal_attention.output.dense.": ".looks.0.attention.out_proj.",
    ".temporal_dense.": ".looks.0.dense.",
    ".layernorm_before.": ".looks.LAST.norm.",
    ".attention.attention.qkv.": ".looks.LAST.attention.in_proj_",
    ".attention.output.dense.": ".looks.LAST.attention.out_proj.",
    ".output.dense.": ".mlp.3.",
    "layernorm.": "norm.",
    "classifier.": "head.",
}


def from_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the state of transformers' TimeSformer, whichever scheme.

    `TimesformerModel`, to be loaded with `classes=None`, or
    `TimesformerForVideoClassification`. Raises `ValueError` for the state
    of another network.
    """
    divided = any("temporal_dense" in key for key in state)
    renamed = {}
    for key, value in state.items():
        for old, new in NAMES.items():
            if old in key and not (old == "layernorm." and "blocks" in key):
                key = key.replace(old, new)
        renamed[key.replace("LAST", str(int(divided)))] = value
    ours = ("token", "positions", "times", "patches", "blocks", "norm", "head")
    foreign = [key for key in renamed if key.split(".")[0] not in ours]
    if foreign or "token" not in renamed:
        raise ValueError(
            f"state with {foreign[:3] or list(renamed)[:3]}: no TimeSformer "
            "of transformers has these; give its state_dict()"
        )
    return renamed


def timesformer_b(**options) -> TimeSformer:
    """Base: 8 frames of 224 pixels, 12 blocks of width 768."""
    return TimeSformer(**dict(dim=768, depth=12, heads=12) | options)


def timesformer_hr(**options) -> TimeSformer:
    """High resolution: 16 frames of 448 pixels."""
    return timesformer_b(**dict(frames=16, image=448) | options)


def timesformer_l(**options) -> TimeSformer:
    """Long: 96 frames."""
    return timesformer_b(**dict(frames=96) | options)


def timesformer_small(**options) -> TimeSformer:
    """The book's own: 8 frames of 32 pixels, patches of 4."""
    preset = dict(image=32, patch=4, dim=48, depth=2, heads=4, classes=14)
    return TimeSformer(**preset | options)
