"""The Vision Transformer: an image is a sentence of patches
(Dosovitskiy et al. 2021, arXiv:2010.11929).

Names of parameters are torchvision's, and so are the first weights
under one seed."""

from collections.abc import Iterator
from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.convnets.architectures.weights import load_published
from helpers.transformers.attention import MultiHeadAttention


def patches(
    images: Float[Tensor, "b c h w"], patch: int
) -> Float[Tensor, "b t d"]:
    """Cut images into squares of `patch` pixels, one row each.

    In reading order; within a row channel by channel, as the weights of a
    convolution lie. A linear layer on them is a convolution of stride
    `patch`. Raises `ValueError` for a side that `patch` does not divide.
    """
    check_pictures(images)
    for side in images.shape[2:]:
        check_patch(side, patch)
    return F.unfold(images, patch, stride=patch).transpose(1, 2)


class EncoderBlock(nn.Module):
    """Pre-norm attention, then a network of two layers with GELU.

    It is `attention.EncoderBlock` under the names of torchvision, old
    files included, which say `linear_1` and `linear_2`.
    """

    def __init__(
        self, *, dim: int, heads: int, hidden: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, eps=1e-6)
        self.self_attention = MultiHeadAttention(dim=dim, heads=heads)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = mlp(dim, hidden, dropout)
        self.mlp.register_load_state_dict_pre_hook(renamed)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x + self.dropout(self.self_attention(self.ln_1(x)))
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Positions are added, blocks follow, and a last norm."""

    def __init__(
        self,
        *,
        tokens: int,
        dim: int,
        depth: int,
        heads: int,
        hidden: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth = {depth}: an encoder has a block")
        self.pos_embedding = nn.Parameter(torch.empty(1, tokens, dim))
        nn.init.normal_(self.pos_embedding, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential()
        for i in range(depth):
            block = EncoderBlock(
                dim=dim, heads=heads, hidden=hidden, dropout=dropout
            )
            self.layers.add_module(f"encoder_layer_{i}", block)
        self.ln = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class ViT(nn.Module):
    """Patches, a class token before them, an encoder, one linear layer.

    `image` is the side in pixels that the positions are made for, and
    `patch` divides it. The last layer starts at zero, so all classes do as
    equals. `classes=None` leaves it out: the network then ends in the class
    token. Raises `ValueError` for a patch that does not divide the image,
    and for images of another size or number of channels.
    """

    def __init__(
        self,
        *,
        image: int = 224,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        hidden: int | None = None,
        classes: int | None = 1000,
        channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_patch(image, patch)
        check_classes(classes)
        self.image, self.patch = image, patch
        self.conv_proj = nn.Conv2d(channels, dim, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.encoder = Encoder(
            tokens=1 + (image // patch) ** 2,
            dim=dim,
            depth=depth,
            heads=heads,
            hidden=4 * dim if hidden is None else hidden,
            dropout=dropout,
        )
        self.heads = nn.Sequential()
        if classes is not None:
            self.heads.add_module("head", nn.Linear(dim, classes))
        fan_in = channels * patch**2
        nn.init.trunc_normal_(self.conv_proj.weight, std=fan_in**-0.5)
        for zero in [self.conv_proj.bias, *self.heads.parameters()]:
            nn.init.zeros_(zero)

    def embed(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b t d"]:
        """The class token and a token a patch, before any positions.

        Raises `ValueError` for images of another size than `image`.
        """
        check_pictures(images, self.conv_proj.in_channels)
        check_images(images, self.image)
        x = self.conv_proj(images).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)

    def features(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b t d"]:
        """What the encoder says of the class token and of each patch."""
        return self.encoder(self.embed(images))

    def forward(
        self, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k"]:
        return self.heads(self.features(images)[:, 0])


def attention_maps(
    network: ViT, images: Float[Tensor, "b c h w"]
) -> Iterator[Float[Tensor, "b heads t t"]]:
    """Where each head of each block looks, from the first block on.

    Token 0 is the class token, those after it the patches. Raises
    `ValueError` for a network whose dropout is on: `eval()` rests it.
    """
    if any(m.training and m.p for m in network.modules() if is_dropout(m)):
        raise ValueError(
            "the network is in training mode and drops at random: call "
            "network.eval() first"
        )
    x = network.embed(images) + network.encoder.pos_embedding
    for block in network.encoder.layers:
        yield block.self_attention.weights(block.ln_1(x))
        x = block(x)


def attention_distance(
    weights: Float[Tensor, "b heads t t"], patch: int
) -> Float[Tensor, "heads"]:
    """How far, in pixels, the patches look on average (section 4.5).

    The distance between centres of patches, weighed by attention. The class
    token, first of the tokens, has no place and is left out, and so is a
    patch that looks at nothing else. Raises `ValueError` for patches that
    are no square.
    """
    side = square_side(weights.shape[2])
    if side is None or weights.shape[2] != weights.shape[3]:
        raise ValueError(
            f"weights of shape {tuple(weights.shape)}: give those of a class "
            "token and a square of patches, all looking at all"
        )
    dtype = torch.promote_types(weights.dtype, torch.float32)
    line = torch.arange(side, device=weights.device, dtype=dtype)
    centres = torch.cartesian_prod(line, line).view(-1, 2) * patch
    far = torch.linalg.vector_norm(centres[:, None] - centres, dim=2)
    among = weights[:, :, 1:, 1:].to(dtype)
    total = among.sum(3)
    seen = total != 0
    distance = (among * far).sum(3) / total.where(seen, 1)
    return distance.sum((0, 2)) / seen.sum((0, 2))


def interpolate_positions(
    positions: Float[Tensor, "1 t d"], side: int
) -> Float[Tensor, "1 _ d"]:
    """Stretch the positions of a grid of patches to `side` by `side`.

    Bicubic, corner to corner, as torchvision does it; the position of the
    class token, which is the first, stays. Section 3.2: pretrain on small
    images, fine-tune on larger ones.
    """
    old = square_side(positions.shape[1])
    if side < 1 or old is None:
        raise ValueError(
            f"{positions.shape[1]} positions, side = {side}: give a class "
            "token's and those of a square grid, and a side of at least 1"
        )
    if side == old:
        return positions
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (old, old))
    grid = F.interpolate(
        grid, (side, side), mode="bicubic", align_corners=True
    )
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)


@torch.no_grad()
def resize(network: ViT, image: int) -> ViT:
    """Fit `network`, in place, to images of `image` pixels on a side.

    The positions are interpolated; all other weights fit any number of
    patches. Make the optimizer afterwards: the positions are new.
    """
    check_patch(image, network.patch)
    old = network.encoder.pos_embedding
    new = interpolate_positions(old, image // network.patch).clone()
    network.encoder.pos_embedding = nn.Parameter(new, old.requires_grad)
    network.image = image
    return network


def square_side(tokens: int) -> int | None:
    """The side of the square that all tokens but the first fill, if so."""
    side = isqrt(max(0, tokens - 1))
    return side if side and side**2 + 1 == tokens else None


def is_dropout(module):
    return isinstance(module, nn.Dropout)


def mlp(dim: int, hidden: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear, GELU, linear, each followed by dropout."""
    if hidden < 1:
        raise ValueError(f"hidden = {hidden}: at least 1 feature in between")
    layers = nn.Sequential(
        nn.Linear(dim, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, dim),
        nn.Dropout(dropout),
    )
    for layer in (layers[0], layers[3]):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(layer.bias, std=1e-6)
    return layers


def renamed(module, state, prefix, *unused):
    """Give `linear_1` and `linear_2` of old files their places, 0 and 3."""
    for old, new in (("linear_1", "0"), ("linear_2", "3")):
        for kind in ("weight", "bias"):
            if f"{prefix}{old}.{kind}" in state:
                value = state.pop(f"{prefix}{old}.{kind}")
                state[f"{prefix}{new}.{kind}"] = value


def check_patch(side, patch):
    """Refuse a side that is no whole number of patches."""
    if isinstance(side, (tuple, list)) or isinstance(patch, (tuple, list)):
        raise ValueError(
            f"image = {side}, patch = {patch}: give the side of a square in "
            "pixels, one number"
        )
    if patch < 1 or side < patch or side % patch:
        near = max(1, round(side / max(1, patch))) * max(1, patch)
        raise ValueError(
            f"image = {side}, patch = {patch}: the side of an image is a "
            f"multiple of the patch; resize or pad to {near}, or give a "
            "patch that divides it"
        )


def check_pictures(images, channels=None):
    """Refuse what is no batch of images of so many channels."""
    if images.ndim != 4 or channels not in (None, images.shape[1]):
        raise ValueError(
            f"images of shape {tuple(images.shape)}: give [b "
            f"{channels or 'c'} h w]; image[None] is a batch of one"
        )


def last_layer(dim: int, classes: int | None) -> nn.Module:
    """A score for each of `classes`; None leaves the features alone."""
    check_classes(classes)
    return nn.Identity() if classes is None else nn.Linear(dim, classes)


def check_classes(classes):
    """Refuse a last layer without classes."""
    if classes is not None and classes < 1:
        raise ValueError(
            f"classes = {classes}: at least 1, or None to leave the last "
            "layer out"
        )


def check_images(images, side):
    """Refuse images of another size than the positions are made for."""
    if images.shape[2:] != (side, side):
        h, w = images.shape[2:]
        raise ValueError(
            f"images of {h}x{w} pixels in a network for {side}x{side}: "
            "resize the images, or its positions with resize(network, image)"
        )


def vit_b_16(*, weights: str | None = None, **options) -> ViT:
    """Base: 12 blocks of width 768, patches of 16 pixels."""
    net = ViT(**dict(patch=16, dim=768, depth=12, heads=12) | options)
    return load_published(net, "vit_b_16", weights)


def vit_b_32(*, weights: str | None = None, **options) -> ViT:
    """Base, patches of 32 pixels: a quarter of the tokens."""
    net = ViT(**dict(patch=32, dim=768, depth=12, heads=12) | options)
    return load_published(net, "vit_b_32", weights)


def vit_l_16(*, weights: str | None = None, **options) -> ViT:
    """Large: 24 blocks of width 1024."""
    net = ViT(**dict(patch=16, dim=1024, depth=24, heads=16) | options)
    return load_published(net, "vit_l_16", weights)


def vit_l_32(*, weights: str | None = None, **options) -> ViT:
    """Large, patches of 32 pixels."""
    net = ViT(**dict(patch=32, dim=1024, depth=24, heads=16) | options)
    return load_published(net, "vit_l_32", weights)


def vit_h_14(*, weights: str | None = None, **options) -> ViT:
    """Huge: 32 blocks of width 1280, patches of 14 pixels.

    Published as "IMAGENET1K_SWAG_LINEAR_V1", and for `image=518` as
    "IMAGENET1K_SWAG_E2E_V1".
    """
    net = ViT(**dict(patch=14, dim=1280, depth=32, heads=16) | options)
    return load_published(net, "vit_h_14", weights)


def vit_ti_16(**options) -> ViT:
    """Tiny: width 192 (DeiT, Touvron et al. 2021, arXiv:2012.12877)."""
    return ViT(**dict(patch=16, dim=192, depth=12, heads=3) | options)


def vit_s_16(**options) -> ViT:
    """Small: width 384 (DeiT)."""
    return ViT(**dict(patch=16, dim=384, depth=12, heads=6) | options)


def vit_small(**options) -> ViT:
    """The book's own size, for images of 8 to 32 pixels on a side.

    Give `image`, and `patch=2` where the images have 8 pixels.
    """
    preset = dict(image=32, patch=4, dim=64, depth=4, heads=4, classes=10)
    return ViT(**preset | options)
