"""The Perceiver: a few latents look at any number of inputs
(Jaegle et al. 2021, arXiv:2103.03206)."""

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.transformers.attention import EncoderBlock, Stack, attend
from helpers.transformers.attention.blocks import check_depth
from helpers.transformers.attention.multihead import check_shares
from helpers.transformers.vision_transformers.vit import last_layer, mlp


def grid(*sides: int) -> Float[Tensor, "n axes"]:
    """The places of all points of a grid, each axis from -1 to 1.

    In reading order: a line of samples, the pixels of an image, the
    points of a video.
    """
    if not sides or min(sides) < 1:
        raise ValueError(f"sides = {sides}: give 1 axis or more, of 1 or more")
    lines = [torch.linspace(-1, 1, side) for side in sides]
    return torch.stack(torch.meshgrid(lines, indexing="ij"), -1).flatten(0, -2)


def fourier_features(
    at: Float[Tensor, "n axes"], *, bands: int, sides: tuple[int, ...]
) -> Float[Tensor, "n features"]:
    """Places, and their sines and cosines at `bands` frequencies.

    x, sin(f π x), cos(f π x) for each axis, with f from 1 to half the
    number of samples on that axis (Nyquist's), evenly spaced (section 3.2).
    They may be any places: points of a cloud too. Angles are taken in
    single precision or better.
    """
    if not at.is_floating_point():
        raise ValueError(f"places of {at.dtype}: give floats from -1 to 1")
    if bands < 1 or len(sides) != at.shape[1] or min(sides) < 1:
        raise ValueError(
            f"bands = {bands}, sides = {sides} for {at.shape[1]} axes: give "
            "1 band or more, and the number of samples of each axis"
        )
    wide = at.to(torch.promote_types(at.dtype, torch.float32))
    turns = [
        pi * wide[:, i, None] * torch.linspace(1, side / 2, bands).to(wide)
        for i, side in enumerate(sides)
    ]
    turn = torch.cat(turns, 1)
    return torch.cat([wide, turn.sin(), turn.cos()], 1).to(at.dtype)


class CrossBlock(nn.Module):
    """The latents look at the inputs, then two layers with GELU.

    Inputs of any width `inputs`; their number costs as much as it is.
    """

    def __init__(
        self, *, dim: int, inputs: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        check_shares(dim, heads)
        self.heads = heads
        self.norm, self.input_norm = nn.LayerNorm(dim), nn.LayerNorm(inputs)
        self.query = nn.Linear(dim, dim)
        self.key, self.value = nn.Linear(inputs, dim), nn.Linear(inputs, dim)
        self.output = nn.Linear(dim, dim)
        self.mlp_norm, self.mlp = nn.LayerNorm(dim), mlp(dim, hidden)

    def forward(
        self, x: Float[Tensor, "b t d"], inputs: Float[Tensor, "b s c"]
    ) -> Float[Tensor, "b t d"]:
        inputs = self.input_norm(inputs)
        parts = self.query(self.norm(x)), self.key(inputs), self.value(inputs)
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in parts
        )
        x = x + self.output(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.mlp_norm(x))


class Perceiver(nn.Module):
    """`latents` learned vectors that look, think, and look again.

    Each of `looks` rounds is a cross-attention to the inputs and a stack of
    `depth` blocks among the latents. The first cross-attention is of its
    own, all later ones share their weights, and so do all stacks (section
    3.1). For s inputs and n latents a round costs O(ns + depth n²), never
    O(s²). What an input is, and where, is up to its `channels` features;
    their order tells nothing. `classes=None` leaves `head` out.
    """

    def __init__(
        self,
        *,
        channels: int,
        latents: int,
        dim: int,
        depth: int,
        looks: int = 1,
        heads: int = 8,
        cross_heads: int = 1,
        hidden: int | None = None,
        classes: int | None = 1000,
    ) -> None:
        super().__init__()
        if latents < 1 or looks < 1:
            raise ValueError(
                f"latents = {latents}, looks = {looks}: at least 1 latent, "
                "that looks once"
            )
        check_depth(depth)
        hidden = 4 * dim if hidden is None else hidden
        self.looks, self.channels = looks, channels
        self.latents = nn.Parameter(torch.empty(latents, dim))
        nn.init.trunc_normal_(self.latents, std=0.02, a=-2, b=2)
        self.cross = nn.ModuleList(
            CrossBlock(
                dim=dim, inputs=channels, heads=cross_heads, hidden=hidden
            )
            for _ in range(min(looks, 2))
        )
        blocks = [
            EncoderBlock(
                dim=dim, heads=heads, hidden=hidden, activation=F.gelu
            )
            for _ in range(depth)
        ]
        self.think = Stack(blocks, None)
        self.norm = nn.LayerNorm(dim)
        self.head = last_layer(dim, classes)

    def features(
        self, inputs: Float[Tensor, "b s c"]
    ) -> Float[Tensor, "b n d"]:
        """The latents after the last round.

        Raises `ValueError` for no inputs, and for other features.
        """
        if inputs.ndim != 3 or inputs.shape[2] != self.channels:
            raise ValueError(
                f"inputs of shape {tuple(inputs.shape)}: give [b s "
                f"{self.channels}], a row of features for each input"
            )
        if not inputs.shape[1]:
            raise ValueError("0 inputs: there is nothing to look at")
        x = self.latents.expand(len(inputs), -1, -1)
        for i in range(self.looks):
            x = self.think(self.cross[min(i, 1)](x, inputs))
        return x

    def forward(
        self, inputs: Float[Tensor, "b s c"]
    ) -> Float[Tensor, "b k"]:
        return self.head(self.norm(self.features(inputs).mean(1)))
