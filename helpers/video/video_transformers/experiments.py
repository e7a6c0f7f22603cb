"""What the page on video transformers runs: what networks see of a clip,
what a scheme costs, how all of them learn, and where a class token looks."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from helpers.convnets.output_size import inputs_per_second, multiply_adds
from helpers.training.classification import classification_loss
from helpers.video.optical_flow import frame_net_small, fuse_average
from helpers.video.optical_flow.checks import check_axes, check_numbers
from helpers.video.optical_flow.experiments import (
    Clips,
    Comparison,
    Look,
    centred,
    find_flow,
    stacked,
    taught,
)
from helpers.video.optical_flow.frames import FrameMean, with_head_start
from helpers.video.spacetime_convnets import i3d_small, slowfast_small
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


def scheme_for(plan: str | Plan, look: Look, clips: Clips) -> TimeSformer:
    """A `small_scheme` for what a look makes of such clips."""
    seen = look(clips.videos[:1], clips.flow[:1])
    frames, channels, image = seen.shape[1:4]
    return small_scheme(plan, frames=frames, image=image, channels=channels)


def teach_scheme(
    comparison: Comparison,
    name: str,
    plan: str | Plan,
    look: Look,
    steps: int,
    runs: Iterable[int],
) -> None:
    """Teach a scheme what it sees of the clips, once for each run."""
    make = partial(scheme_for, plan, look, comparison.train)
    for run in runs:
        comparison.teach(name, make, look, steps, run, rate=4e-3)


def equal_work(
    plans: Collection[str], look: Look, clips: Clips, steps: int
) -> dict[str, int]:
    """How many steps of each plan cost what `steps` of "divided" cost."""
    seen = look(clips.videos[:1], clips.flow[:1])
    work = {}
    for plan in {*plans, "divided"}:
        network = scheme_for(plan, look, clips).to(seen.device)
        work[plan] = multiply_adds(partial(network, seen))
    return {plan: round(steps * work["divided"] / work[plan]) for plan in plans}


FAMILIES = {  # what each sees, and for how many steps it learns
    "frame average": ("frames", 150),
    "temporal stream": ("flow", 80),
    "two streams, fused": ("frames, flow", 230),
    "TimeSformer, flow": ("flow", 100),
    "I3D, changes": ("changes", 120),
    "SlowFast, changes": ("changes", 120),
    "TimeSformer, changes": ("changes", 160),
}
STREAMS = ("frame average", "temporal stream")


def teach_families(
    comparison: Comparison,
    namer: nn.Sequential,
    runs: Iterable[int],
    classes: int = 14,
) -> None:
    """Teach the families of the other chapters, and fuse two of them.

    `namer` is the `frame_net` whose filters the frame average and I3D
    begin with.
    """
    fields = comparison.train.flow.shape[1]

    def frame_average() -> nn.Module:
        return FrameMean(with_head_start(namer, classes))

    def temporal_stream() -> nn.Module:
        return frame_net_small(channels=2 * fields, classes=classes)

    layout = torch.channels_last_3d  # faster

    def i3d() -> nn.Module:
        network = i3d_small(with_head_start(namer, classes))
        return network.to(memory_format=layout)

    def slowfast() -> nn.Module:
        network = slowfast_small(
            width=8, beta=2, depths=(1, 1), classes=classes
        )
        return network.to(memory_format=layout)

    lessons = {
        "frame average": (frame_average, centred, 2e-3),
        "temporal stream": (temporal_stream, stacked, 5e-3),
        "I3D, changes": (i3d, changes, 5e-3),
        "SlowFast, changes": (slowfast, changes, 1e-2),
    }
    for run in runs:
        for name, (make, look, rate) in lessons.items():
            steps = FAMILIES[name][1]
            comparison.teach(name, make, look, steps, run, rate=rate)
        alone = [comparison.scores[name, run] for name in STREAMS]
        comparison.scores["two streams, fused", run] = fuse_average(alone)


def members(
    comparison: Comparison, name: str, run: int
) -> list[tuple[nn.Module, Look]]:
    """A network and its look, or the two that are fused."""
    parts = STREAMS if name == "two streams, fused" else (name,)
    return [comparison.networks[part, run] for part in parts]


@torch.no_grad()
def ask(
    comparison: Comparison, name: str, run: int, clips: slice
) -> list[Float[Tensor, "n k"]]:
    """The scores of a network, or of two, for some clips of the test."""
    test = comparison.test
    return [
        network(look(test.videos[clips], test.flow[clips]))
        for network, look in members(comparison, name, run)
    ]


def size_and_work(
    comparison: Comparison, name: str, run: int
) -> tuple[int, int]:
    """Parameters, and multiply-adds for one clip."""
    networks = [network for network, _ in members(comparison, name, run)]
    size = sum(p.numel() for net in networks for p in net.parameters())
    work = multiply_adds(lambda: ask(comparison, name, run, slice(1)))
    return size, work


def speed_of_finding(comparison: Comparison, clips: int = 24) -> float:
    """For how many clips per second the flow is found."""
    return inputs_per_second(
        lambda films: find_flow(films, levels=1, steps=3),
        comparison.test.videos[:clips],
    )


def speeds(
    comparison: Comparison,
    name: str,
    run: int,
    finding: float,
    clips: int = 24,
) -> tuple[float, float]:
    """Clips per second from what a network sees, and from the films.

    The second counts the time to find the flow, of `finding` clips per
    second, for those that see it.
    """
    some = slice(clips)
    videos = comparison.test.videos[some]
    alone = inputs_per_second(
        lambda _: ask(comparison, name, run, some), videos
    )
    if "flow" not in FAMILIES[name][0]:
        return alone, alone
    return alone, 1 / (1 / alone + 1 / finding)


def learn_folder(
    videos: Float[Tensor, "n f c h w"],
    labels: Int[Tensor, " n"],
    steps: int,
    *,
    seed: int,
) -> Bool[Tensor, " m"]:
    """Learn from every second video of each class; which of the others are
    told right.

    Raises `ValueError` for a class with fewer than two videos.
    """
    counts = labels.bincount().tolist()
    if min(counts, default=0) < 2:
        raise ValueError(
            f"{counts} videos of the classes: give each two at least, one "
            "to learn from and one to be judged on"
        )
    place = (labels[:, None] == labels).tril().sum(1)  # in its class, from 1
    shown, asked = place % 2 == 1, place % 2 == 0
    seen = changes(videos)
    torch.manual_seed(seed)
    network = small_scheme(
        "divided",
        frames=seen.shape[1],
        image=seen.shape[3],
        classes=int(labels.max()) + 1,
    )
    learned = seen[shown], labels[shown]
    taught(
        network,
        classification_loss,
        learned,
        steps,
        rate=1e-3,
        batch_size=min(8, len(learned[1])),
        seed=seed,
    )
    with torch.no_grad():
        return network(seen[asked]).argmax(1) == labels[asked]


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


def attention_on_motion(
    comparison: Comparison,
    names: Mapping[str, str],
    shares: Float[Tensor, "n t p q"],
    runs: Iterable[int],
) -> dict[tuple[str, str], list[float]]:
    """`attention_on` in the last step, "before" and "learned", by plan.

    `names` are those of the plans in a comparison whose networks saw
    `changes`; `shares` those of its first test clips that move.
    """
    test, found = comparison.test, {}
    seen = changes(test.videos[: len(shares)])
    for plan, name in names.items():
        for run in runs:
            torch.manual_seed(run)
            before = scheme_for(plan, changes, test).to(seen.device).eval()
            learned, _ = comparison.networks[name, run]
            for when, net in (("before", before), ("learned", learned)):
                maps = space_maps(net, seen)[-1]
                on = attention_on(maps, shares)
                found.setdefault((plan, when), []).append(on)
    return found
