"""What the chapter does with its networks: what they see of a clip, what a
scheme costs, and where a class token looks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.output_size import multiply_adds
from helpers.video.optical_flow.checks import check_axes, check_numbers
from helpers.video.video_transformers.plans import Plan
from helpers.video.video_transformers.timesformer import (
    TimeSformer,
    timesformer_b,
    token_maps,
)


def unit(videos: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
    """Each clip in units of its own standard deviation."""
    check_axes(videos, "b f c h w", "videos")
    scale = videos.std((1, 2, 3, 4), keepdim=True)
    return videos / scale.clamp(min=1e-3)


def changes(
    videos: Float[Tensor, "b f c h w"], flow: Tensor | None = None
) -> Float[Tensor, "b f-1 c h w"]:
    """What changes from each frame to the next, in units of its deviation.

    What rests is gone, and dark and bright clips are alike.
    """
    check_axes(videos, "b f c h w", "videos")
    return unit(videos.diff(dim=1))


def pixels(
    videos: Float[Tensor, "b f c h w"], flow: Tensor | None = None
) -> Float[Tensor, "b f-1 c h w"]:
    """All frames but the last, without mean colour, in the same unit."""
    check_axes(videos, "b f c h w", "videos")
    return unit(videos - videos.mean((1, 3, 4), keepdim=True))[:, :-1]


def fields(videos: Tensor, flow: Tensor) -> Float[Tensor, "b l 2 h w"]:
    """The flow alone, in the same unit: a field for all frames but one."""
    return unit(flow)


def small_scheme(
    plan: str | Plan,
    *,
    frames: int = 8,
    image: int = 32,
    classes: int = 14,
    channels: int = 3,
    loud: float = 0.5,
) -> TimeSformer:
    """The chapter's network: patches of 8 pixels, 2 blocks, width 32.

    Positions in space and time begin at N(0, s²), s = `loud`, as large as
    patches. The authors' begin at nothing in time, for their networks have
    learned from images before; ours learn from clips alone.
    """
    network = TimeSformer(
        plan=plan,
        frames=frames,
        image=image,
        patch=8,
        dim=32,
        depth=2,
        heads=2,
        classes=classes,
        channels=channels,
    )
    nn.init.normal_(network.positions, std=loud)
    if not network.timeless:
        nn.init.normal_(network.times, std=loud)
    return network


def base_cost(plan: str | Plan, frames: int, image: int) -> int:
    """Multiply-adds of TimeSformer-Base for one clip; needs no memory.

    All of its blocks cost the same, so that two networks tell: one with
    one block and one with two.
    """
    one, two = (
        clip_cost(timesformer_b, plan, frames, image, depth)
        for depth in (1, 2)
    )
    return one + 11 * (two - one)


def clip_cost(build, plan, frames, image, depth):
    """Multiply-adds of a network of some depth, built without memory."""
    with torch.device("meta"):
        network = build(plan=plan, frames=frames, image=image, depth=depth)
        clip = torch.empty(1, frames, 3, image, image)
        return multiply_adds(lambda: network(clip))


def patch_shares(
    moving: Float[Tensor, "b f h w"], patch: int
) -> Float[Tensor, "b f p q"]:
    """The share of each patch that moves, of pixels that do (1) or not."""
    return nn.functional.avg_pool2d(moving, patch)


def attention_on(
    maps: Float[Tensor, "b heads t p q"], shares: Float[Tensor, "b t p q"]
) -> float:
    """The share of attention on what moves, over its share of the area.

    Within a patch attention is even. 1 for eyes that wander at random.
    Raises `ValueError` where nothing moves, for maps of other patches, and
    for such as are no numbers.
    """
    if maps.shape[:1] + maps.shape[2:] != shares.shape:
        raise ValueError(
            f"maps of shape {tuple(maps.shape)}, shares of "
            f"{tuple(shares.shape)}: give [b heads t p q] and [b t p q]"
        )
    check_numbers(maps, "maps", "the network has diverged")
    area = shares.mean().item()
    if area == 0:
        raise ValueError("shares are all 0: give clips in which things move")
    weights = maps.mean(1)  # over heads
    seen = (weights * shares).sum() / weights.sum()
    return seen.item() / area


@torch.no_grad()
def space_maps(
    network: TimeSformer, videos: Float[Tensor, "b f c h w"]
) -> list[Float[Tensor, "b heads t p q"]]:
    """The class token's looks along height and width, from the first on."""
    steps = [s for _ in network.blocks for s in network.plan if s.token]
    maps = token_maps(network, videos)
    return [m for step, m in zip(steps, maps) if {*"hw"} <= {*step.axes}]
