"""Networks for video against transformers, pytorchvideo and torchvision."""

import warnings
from collections.abc import Iterator
from functools import lru_cache, partial
from importlib.util import find_spec

import torch
from jaxtyping import config
from torch import nn
from torchvision.models.video import r3d_18

from benchmarks.architectures import Side, both_ways
from benchmarks.harness import Pair
from helpers.convnets.architectures.resnet import resnet18
from helpers.video.spacetime_convnets import FramesFirst, SlowFast, inflate, pathways
from helpers.video.video_transformers import TimeSformer, from_transformers

PAIRS = 5  # a call takes up to some seconds
SCHEMES = {"released": "divided_space_time", "space": "space_only", "joint": "joint_space_time"}
GROUPS = (
    "Ours puts patches into groups by one pattern for all schemes and asks torch's fused kernel; transformers carries the "
    "attention out by its equation."
)
SAME = "The same calls of torch on both sides, but for the last mean: what differs from 1 is noise."
PADDING = "An inflated layer pads time by itself, with one copy of the maps, before torch's convolution pads the image."


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Forward in evaluation, forward and backward in training, the same weights on both sides.

    At full size in bfloat16 on a GPU, of small frames in single precision elsewhere.
    """
    large = device.type == "cuda" and not tiny
    batch, image, patch = (8, 224, 16) if large else (2, 64, 8) if not tiny else (1, 8, 4)
    for plan, scheme in SCHEMES.items():
        what = f"TimeSformer, {plan}, {batch} x 8 x {image} x {image}"
        sides = partial(timesformers, plan, batch, image, patch, large, tiny, device)
        yield from both_ways(what, f"transformers {scheme}", sides, device, GROUPS)
    batch, image = (8, 224) if large else (1, 64) if not tiny else (1, 32)
    if find_spec("pytorchvideo"):
        sides = partial(slowfasts, batch, image, tiny, device)
        what = "SlowFast-R50" if not tiny else "SlowFast"
        yield from both_ways(f"{what}, {batch} x 32 x {image} x {image}", "pytorchvideo slowfast", sides, device, SAME)
    batch, frames, image = (16, 16, 112) if large else (2, 8, 56) if not tiny else (2, 4, 16)
    sides = partial(residuals, batch, frames, image, device)
    what = f"ResNet-18, inflated, {batch} x {frames} x {image} x {image}"
    yield from both_ways(what, "torchvision r3d_18", sides, device, PADDING)


def videos(batch: int, frames: int, image: int, device: torch.device) -> torch.Tensor:
    return torch.rand(batch, frames, 3, image, image, generator=torch.Generator().manual_seed(0)).to(device)


def side(network: nn.Module, answer) -> Side:
    """A network, what it answers, and a loss that depends on all of it."""
    return Side(network, answer, lambda: answer().float().square().mean())


@lru_cache(maxsize=1)
def timesformers(
    plan: str, batch: int, image: int, patch: int, large: bool, tiny: bool, device: torch.device
) -> tuple[Side, Side]:
    from transformers import TimesformerConfig, TimesformerModel

    dim, depth, heads = (768, 12, 12) if large else (192, 4, 3) if not tiny else (16, 2, 2)
    torch.manual_seed(0)
    config = TimesformerConfig(
        image_size=image,
        patch_size=patch,
        num_frames=8,
        hidden_size=dim,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * dim,
        attention_type=SCHEMES[plan],
    )
    other = TimesformerModel(config).to(device)
    ours = TimeSformer(plan=plan, image=image, patch=patch, dim=dim, depth=depth, heads=heads, classes=None).to(device)
    ours.load_state_dict(from_transformers(other.state_dict()))
    x = videos(batch, 8, image, device)

    def theirs() -> torch.Tensor:
        token = other(x).last_hidden_state[:, 0]
        return token.unflatten(0, (len(x), -1)).mean(1)

    return side(ours, partial(ours, x)), side(other, theirs)


@lru_cache(maxsize=1)
def slowfasts(batch: int, image: int, tiny: bool, device: torch.device) -> tuple[Side, Side]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was written for an older torch
        from pytorchvideo.models.slowfast import create_slowfast

    last = image // 32
    pools = dict(head_pool_kernel_sizes=((8, last, last), (32, last, last)), dropout_rate=0.0)
    small = dict(model_depth=18, stem_dim_outs=(16, 2))
    torch.manual_seed(0)
    other = create_slowfast(**pools, **small if tiny else {}).to(device)
    ours = SlowFast(**dict(depths=(1, 1, 1, 1), width=16) if tiny else {}, dropout=0.0).to(device)
    ours.load_state_dict(other.state_dict())
    x = videos(batch, 32, image, device)
    return side(ours, partial(ours, x)), side(other, lambda: other([*pathways(x, 4)]))


@lru_cache(maxsize=1)
def residuals(batch: int, frames: int, image: int, device: torch.device) -> tuple[Side, Side]:
    """torchvision's net is an inflated ResNet-18 whose stem neither pools nor strides in time."""
    torch.manual_seed(0)
    other = r3d_18().to(device)
    flat = resnet18(classes=400)
    flat.maxpool = nn.Identity()
    ours = inflate(flat, frames=3).to(device)
    ours.conv1.stride = (1, 2, 2)
    ours.load_state_dict(dict(zip(ours.state_dict(), other.state_dict().values(), strict=True)))
    x = videos(batch, frames, image, device)
    theirs, net = FramesFirst(other), FramesFirst(ours)

    def inflated() -> torch.Tensor:
        """Its methods are annotated for images, which tests check."""
        checks = config.jaxtyping_disable
        config.update("jaxtyping_disable", True)
        try:
            return net(x)
        finally:
            config.update("jaxtyping_disable", checks)

    return side(net, inflated), side(theirs, partial(theirs, x))
