"""What the page on convolutions in space and time runs: what inflation hands
down, and networks that learn which way things went."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data.scenes import CLASSES
from helpers.training import Batch, History, evaluation_mode
from helpers.training import train as recipe
from helpers.video.optical_flow.checks import check_axes, check_numbers
from helpers.video.optical_flow.frames import frame_net, with_head_start
from helpers.video.spacetime_convnets.i3d import i3d_small
from helpers.video.spacetime_convnets.inflate import FramesFirst
from helpers.video.spacetime_convnets.slowfast import (
    SlowFast,
    slowfast_small,
)
from helpers.video.spacetime_convnets.trips import (
    WAYS,
    WHATS,
    Trips,
    mirrored_trips,
)

Label = Callable[[Trips], Int[Tensor, " n"]]
Judge = Callable[[Int[Tensor, " n"], Trips], Mapping[str, float]]

LAYOUT = torch.channels_last_3d  # faster than channels first


def what_and_way(trips: Trips) -> Int[Tensor, " n"]:
    """A class for each thing and way."""
    return trips.what * len(WAYS) + trips.way


def way(trips: Trips) -> Int[Tensor, " n"]:
    """A class for each way."""
    return trips.way


def by_what_and_way(
    picked: Int[Tensor, " n"], trips: Trips
) -> Mapping[str, float]:
    """The share of answers whose thing, and whose way, is right."""
    what = picked // len(WAYS) == trips.what
    way = picked % len(WAYS) == trips.way
    return {"what": share(what), "way": share(way), "both": share(what & way)}


def by_way(picked: Int[Tensor, " n"], trips: Trips) -> Mapping[str, float]:
    """The share of right answers of a network that names the way alone."""
    return {"way": share(picked == trips.way)}


def steadied(
    videos: Float[Tensor, "b f 3 h w"],
) -> Float[Tensor, "b f 3 h w"]:
    """A clip without the mean colour of its first frame, five times as strong.

    The mean of all frames would tell a pathway that sees few of them
    what the others show.
    """
    check_axes(videos, "b f 3 h w", "videos")
    return 5 * (videos - videos[:, :1].mean((3, 4), keepdim=True))


def share(right):
    return right.double().mean().item()


@torch.no_grad()
def pick(
    network: nn.Module, videos: Float[Tensor, "n f 3 h w"]
) -> Int[Tensor, " n"]:
    """The class that a network gives the highest score, 50 at a time.

    Raises `ValueError` for scores that are no numbers.
    """
    with evaluation_mode(network):
        parts = [network(steadied(part)) for part in videos.split(50)]
    scores = torch.cat(parts)
    check_numbers(scores, "scores", "it has diverged: lower the rate")
    return scores.argmax(1)


def learn_trips(
    network: nn.Module,
    train: Trips,
    test: Trips,
    steps: int,
    *,
    label: Label,
    judge: Judge,
    run: int,
    every: int,
    rate: float = 5e-3,
    end: float = 0.0,
    batch_size: int = 16,
) -> History:
    """Teach a network to name trips, each seen in random mirrors.

    After each `every` steps `judge` examines what it picks for the clips
    of `test`, recorded as "test …". The rate climbs over an eighth of the
    steps, then goes to `end` times `rate` along a cosine. `run` seeds what
    is drawn.
    """
    draw = torch.Generator().manual_seed(run)

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        trips = mirrored_trips(Trips(*batch), draw)
        return F.cross_entropy(network(steadied(trips.videos)), label(trips))

    return recipe(
        network,
        loss,
        train,
        steps,
        rate=rate,
        batch_size=batch_size,
        seed=draw,
        rise=steps // 8,
        end=end,
        evaluate={"test": lambda: judge(pick(network, test.videos), test)},
        every=every,
        progress=False,
    )


@torch.no_grad()
def last_maps(
    network: nn.Module, x: Float[Tensor, "b c *_"]
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b d *_"]]:
    """The scores of a network, and what it hands to its last pool."""
    seen, pools = [], (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
    pool = next(m for m in network.modules() if isinstance(m, pools))
    hook = pool.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    try:
        return network(x), seen[0]
    finally:
        hook.remove()


def named_right(image: nn.Sequential, trips: Trips) -> float:
    """The share of things that an image net names in clips, only inflated.

    `image` is a `frame_net` that knows `CLASSES`; the ends of the clips are
    repeated.
    """
    names = torch.tensor([CLASSES.index(what) for what in WHATS])
    picked = pick(i3d_small(image, ends="repeat"), trips.videos)
    return share(picked.cpu() == names[trips.what.cpu()])


def learn_i3d(
    image: nn.Sequential | None,
    train: Trips,
    test: Trips,
    steps: int,
    *,
    run: int,
    every: int,
) -> tuple[FramesFirst, History]:
    """A small I3D that has learned what goes which way, and how it did.

    It begins with the filters of `image`, a `frame_net`, or from scratch;
    the rate stays once it has risen.
    """
    torch.manual_seed(run)
    classes = len(WHATS) * len(WAYS)
    if image is None:
        start = frame_net(classes)
    else:
        start = with_head_start(image, classes)
    network = i3d_small(start).to(memory_format=LAYOUT)
    history = learn_trips(
        network,
        train,
        test,
        steps,
        label=what_and_way,
        judge=by_what_and_way,
        run=run,
        every=every,
        end=1.0,
    )
    return network, history


def small_slowfast(**options) -> SlowFast:
    """The page's SlowFast: 8 channels and 4, two stages, four ways."""
    preset = dict(width=8, beta=2, depths=(1, 1), classes=len(WAYS))
    return slowfast_small(**preset | options)


def learn_slowfast(
    train: Trips,
    test: Trips,
    steps: int,
    *,
    run: int,
    every: int,
    **options,
) -> tuple[SlowFast, History]:
    """A small SlowFast that has learned which way, and how it did.

    `options` are those of `small_slowfast`.
    """
    torch.manual_seed(run)
    network = small_slowfast(**options).to(memory_format=LAYOUT)
    history = learn_trips(
        network,
        train,
        test,
        steps,
        label=way,
        judge=by_way,
        run=run,
        every=every,
        rate=1e-2,
    )
    return network, history


def right_in_test(
    histories: Sequence[History], asked: str = "way"
) -> Float[Tensor, "seeds t"]:
    """What each run had right in the test after each few steps."""
    rows = [history[f"test {asked}"].tolist() for history in histories]
    return torch.tensor(rows)


def first_filters(network: nn.Module) -> Float[Tensor, "o c t h w"]:
    """The weights of the first convolution in space and time."""
    layers = network.modules()
    first = next(layer for layer in layers if isinstance(layer, nn.Conv3d))
    return first.weight.detach().cpu()


def part_that_changes(filters: Float[Tensor, "o c t h w"]) -> float:
    """How much of the filters differs from frame to frame, on average.

    The norm of what is left without the mean over time, over that of all.
    """
    off = filters - filters.mean(2, keepdim=True)
    norms = off.flatten(1).norm(dim=1) / filters.flatten(1).norm(dim=1)
    return norms.mean().item()


def answers_to_twins(
    network: nn.Module, twins: Trips
) -> tuple[bool, float]:
    """Whether four twins get the same scores, to the bit, and the share right.

    `twins` come in fours, one for each way.
    """
    clips = steadied(twins.videos).unflatten(0, (-1, len(WAYS)))
    with torch.no_grad(), evaluation_mode(network):
        scores = [network(clips[:, i]) for i in range(len(WAYS))]
    scores = torch.stack(scores, 1)
    ways = torch.arange(len(WAYS), device=scores.device)
    return (
        (scores == scores[:, :1]).all().item(),
        share(scores.argmax(2) == ways),
    )
