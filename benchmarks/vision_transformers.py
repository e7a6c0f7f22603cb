"""Vision transformers at full size against torchvision and timm, and against one product of matrices.

That product has as many multiply-adds as the network: the share of its time is the model-FLOP utilisation, measured
against what this machine reaches and not against a data sheet.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import timm
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models
from torchvision.ops import StochasticDepth

from benchmarks.architectures import Side, answer, both_ways, gradient, pictures, placed
from benchmarks.harness import Pair, against_product, can_compile, count_flops
from helpers.transformers.vision_transformers import swin_t, vit_b_16, vit_ti_16

PAIRS = 5  # a call takes up to some seconds
VIT = {  # timm's names, and ours
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "patch_embed.proj.": "conv_proj.",
    "blocks.": "encoder.layers.encoder_layer_",
    ".norm1.": ".ln_1.",
    ".norm2.": ".ln_2.",
    ".attn.qkv.": ".self_attention.in_proj_",
    ".attn.proj.": ".self_attention.out_proj.",
    ".mlp.fc1.": ".mlp.0.",
    ".mlp.fc2.": ".mlp.3.",
    "head.": "heads.head.",
}
SWIN = {"patch_embed.proj.": "features.0.0.", "patch_embed.norm.": "features.0.2.", "head.fc.": "head."}
SWIN |= {f"layers.{i}.downsample.": f"features.{2 * i}." for i in range(4)}
SWIN |= {f"layers.{i}.blocks.": f"features.{2 * i + 1}." for i in range(4)}
SWIN |= {".mlp.fc1.": ".mlp.0.", ".mlp.fc2.": ".mlp.3."}
SAME = "The same calls of torch on both sides: what differs from 1 is noise and where the weights lie in memory."
SIZES = {"cpu": {vit_b_16: (2, 64), swin_t: (1, 224)}, "cuda": {vit_b_16: (64, 224), swin_t: (64, 224)}}
COMPILED = {"cpu": (vit_ti_16, 8, 64), "cuda": (vit_b_16, 64, 224)}


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Forward in evaluation, forward and backward in training, with the same weights on all sides.

    On a CPU few images in single precision, on a GPU many in bfloat16; then a ViT compiled, beside torchvision's, which takes
    the compiler a minute: on a CPU two blocks of a small one.
    """
    runs = [(builder, *size, False) for builder, size in SIZES[device.type].items()]
    if tiny:
        runs = [(vit_ti_16, 2, 32, False), (swin_t, 2, 56, False)]
    elif can_compile(device):
        runs.append((*COMPILED[device.type], True))
    for builder, batch, image, compiled in runs:
        small = tiny or builder is vit_ti_16
        name = builder.__name__ + ", two blocks" * (small and not tiny)
        what = f"{name}, {batch} x {image} x {image}{', compiled' * compiled}"
        three = partial(networks, builder, (batch, 3, image, image), device, compiled, small)
        for name in ("torchvision", "timm")[: 1 if compiled else 2]:
            sides = partial(chosen, three, name)
            yield from both_ways(what, f"{name} {title(builder, name)}", sides, device, SAME)
        if not tiny:
            passes = (partial(run, three, 0, device) for run in (answer, gradient))
            yield from against_product(what, *passes, partial(flops, three), device)


def title(builder: Callable, name: str) -> str:
    timms = {vit_b_16: "vit_base_patch16", vit_ti_16: "vit_tiny_patch16", swin_t: "swin_tiny_patch4_window7"}
    return timms[builder] if name == "timm" else "VisionTransformer" if builder is vit_ti_16 else builder.__name__


def chosen(three: Callable[[], "Three"], name: str) -> tuple[Side, Side]:
    """Ours and one of the others."""
    return three().ours, getattr(three(), name)


def flops(three: Callable[[], "Three"]) -> int:
    return three().flops


class Three(NamedTuple):
    """The sides, and the flops of one forward pass."""

    ours: Side
    torchvision: Side
    timm: Side
    flops: int


@lru_cache(maxsize=1)
def networks(builder: Callable, shape: tuple, device: torch.device, compiled: bool, tiny: bool) -> Three:
    """Ours, torchvision's and timm's with the same weights, and without chance in training."""
    images, image = pictures(shape, device), shape[-1]
    labels = torch.arange(shape[0], device=device)
    torch.manual_seed(0)
    if builder is swin_t:
        ours, torchvisions, timms = swins(image, tiny)
    else:
        ours, torchvisions, timms = vits(builder, image, tiny)
    torchvisions.load_state_dict(ours.state_dict())
    names = SWIN if builder is swin_t else VIT
    state = ours.state_dict()
    with torch.no_grad():
        for name, p in timms.named_parameters():
            p.copy_(state[renamed(name, names)])
    sides = []
    for network in (ours, torchvisions, timms):
        for module in network.modules():
            if isinstance(module, StochasticDepth):
                module.p = 0.0
        placed(network, device)
        if network is ours:
            flops = count_flops(partial(network, images))
        if compiled:
            network.compile()
        answer = partial(network, images)
        sides.append(Side(network, answer, lambda answer=answer: F.cross_entropy(answer(), labels)))
    return Three(*sides, flops)


def vits(builder: Callable, image: int, tiny: bool) -> tuple[nn.Module, ...]:
    ours = builder(image=image, **dict(depth=2) if tiny else {})
    nn.init.normal_(ours.heads.head.weight, std=0.02)  # zeros would hide the rest
    block, d = ours.encoder.layers[0], ours.conv_proj.out_channels
    depth, heads = len(ours.encoder.layers), block.self_attention.heads
    words = dict(image_size=image, patch_size=16, num_layers=depth, num_heads=heads, hidden_dim=d, mlp_dim=4 * d)
    timms = timm.create_model(title(builder, "timm") + "_224", img_size=image, depth=depth)
    return ours, models.VisionTransformer(**words), timms


def swins(image: int, tiny: bool) -> tuple[nn.Module, ...]:
    sizes = (
        dict(dim=24, depths=(2, 2), heads=(3, 6)) if tiny else dict(dim=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24))
    )
    ours = swin_t(**sizes, survival=1.0)
    d, depths, heads = sizes.values()
    theirs = models.SwinTransformer([4, 4], d, [*depths], [*heads], [7, 7], stochastic_depth_prob=0.0)
    words = dict(img_size=image, embed_dim=d, depths=depths, num_heads=heads, drop_path_rate=0.0)
    return ours, theirs, timm.create_model(title(swin_t, "timm") + "_224", **words)


def renamed(name: str, names: dict[str, str]) -> str:
    """Our name of a parameter of timm's."""
    name = "encoder.ln." + name[5:] if name.startswith("norm.") and names is VIT else name
    for theirs, own in names.items():
        name = name.replace(theirs, own)
    return name
