"""What the chapters on video do with all networks alike: draw clips and
their flow, mirror them, learn, and count what is right for each kind."""

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
)
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

from helpers.data import batches
from helpers.data.scenes import ACTIONS, Rules, make_clips
from helpers.training import (
    Batch,
    History,
    Loss,
    cosine_decay,
    evaluation_mode,
    fit,
    gradient_update,
    scheduled,
    warmup,
)
from helpers.video.optical_flow.checks import check_axes, check_numbers
from helpers.video.optical_flow.clips import KINDS
from helpers.video.optical_flow.flow import lucas_kanade

CALM = Rules(materials=("plain",), backgrounds=("plain", "gradient"))
FEW = (
    "star drifts",
    "heart drifts",
    "approaches",
    "recedes",
    "moves left",
    "moves right",
    "opens then closes",
    "closes then opens",
)
PAIRS = {  # actions that one is the other of, in a mirror
    "backwards": (
        ("turns clockwise", "turns anticlockwise"),
        ("approaches", "recedes"),
        ("moves left", "moves right"),
        ("speeds up", "slows down"),
    ),
    "upside down": (("turns clockwise", "turns anticlockwise"),),
    "left to right": (
        ("turns clockwise", "turns anticlockwise"),
        ("moves left", "moves right"),
    ),
}
AXES = {"backwards": 1, "upside down": 3, "left to right": 4}


class Clips(NamedTuple):
    """Clips, the place of their action in `ACTIONS`, and their flow."""

    videos: Float[Tensor, "n f 3 h w"]
    labels: Int[Tensor, " n"]
    flow: Float[Tensor, "n l 2 h w"]


def draw_clips(
    n: int,
    size: int,
    frames: int = 9,
    *,
    seed: int,
    actions: Collection[str] = tuple(ACTIONS),
    rules: Rules = CALM,
    device: torch.device | str = "cpu",
    **options,
) -> Clips:
    """Film `n` clips on calm grounds, and find their flow by Lucas-Kanade.

    `options` are those of `lucas_kanade`.
    """
    drawn = make_clips(
        n, size, frames, seed=seed, actions=actions, rules=rules
    )
    videos = drawn.videos.to(device)
    found = find_flow(videos, **options)
    return Clips(videos, drawn.labels.to(device), found)


def true_flow(
    n: int,
    size: int,
    frames: int = 9,
    *,
    seed: int,
    actions: Collection[str] = tuple(ACTIONS),
    rules: Rules = CALM,
) -> Float[Tensor, "n l 2 h w"]:
    """The flow by geometry of the first `n` clips that `draw_clips` films
    of this seed."""
    return make_clips(
        n, size, frames, seed=seed, actions=actions, rules=rules, flow=True
    ).flow


def find_flow(
    videos: Float[Tensor, "n f c h w"], **options
) -> Float[Tensor, "n f-1 2 h w"]:
    """Lucas-Kanade from each frame to the next, 50 clips at a time."""
    check_axes(videos, "n f c h w", "videos")
    if videos.shape[1] < 2:
        raise ValueError(
            f"clips of {videos.shape[1]} frames: flow leads from one frame "
            "to the next, so give 2 at the least"
        )
    found = []
    for part in videos.split(50):
        first, second = (x.flatten(0, 1) for x in (part[:, :-1], part[:, 1:]))
        flow = lucas_kanade(first, second, **options)
        found.append(flow.unflatten(0, (len(part), -1)))
    return torch.cat(found)


def mirrored(
    videos: Float[Tensor, "b f c h w"],
    flow: Float[Tensor, "b l 2 h w"],
    labels: Int[Tensor, " b"],
    mirror: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Clips in one of the mirrors `AXES`: some become their opposites.

    What moves right moves left, and what is played backwards recedes
    where it approached. The flow of a clip played backwards is taken as
    the negative one of the clip, which misses by up to one displacement.
    Raises `ValueError` for a mirror of another name.
    """
    if mirror not in AXES:
        raise ValueError(f"mirror = {mirror!r}: choose {', '.join(AXES)}")
    axis, names = AXES[mirror], list(ACTIONS)
    sign = flow.new_ones(2)
    if mirror != "upside down":
        sign[0] = -1
    if mirror != "left to right":
        sign[1] = -1
    places = torch.arange(len(names), device=labels.device)
    for pair in PAIRS[mirror]:
        a, b = (names.index(name) for name in pair)
        places[a], places[b] = b, a
    flow = flow.flip(axis) * sign[:, None, None]
    return videos.flip(axis), flow, places[labels]


Look = Callable[[Tensor, Tensor], Tensor]  # videos, flow: the input


def centred(
    videos: Float[Tensor, "b f 3 h w"], flow: Tensor | None = None
) -> Float[Tensor, "b f 3 h w"]:
    """A clip without its mean colour, in units of its usual deviation."""
    check_axes(videos, "b f 3 h w", "videos")
    return 5 * (videos - videos.mean((1, 3, 4), keepdim=True))


def middle(
    videos: Float[Tensor, "b f 3 h w"], flow: Tensor | None = None
) -> Float[Tensor, "b 3 h w"]:
    """The frame in the middle alone, without its mean colour."""
    check_axes(videos, "b f 3 h w", "videos")
    half = videos.shape[1] // 2
    return centred(videos[:, half : half + 1])[:, 0]


def learn(
    network: nn.Module,
    look: Look,
    clips: Clips,
    steps: int,
    *,
    run: int,
    rate: float = 5e-3,
    batch_size: int = 16,
) -> nn.Module:
    """Teach a network the actions from clips, each in random mirrors.

    `look` makes its input of videos and flow; `run` seeds what is drawn.
    Comes back ready to answer.
    """
    draw = torch.Generator().manual_seed(run)

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        videos, labels, flow = batch
        seen = [videos.clone(), flow.clone(), labels.clone()]
        for mirror in AXES:
            turned = torch.rand(len(videos), generator=draw) < 0.5
            turned = turned.nonzero()[:, 0].to(labels.device)
            new = mirrored(*(x[turned] for x in seen), mirror)
            for old, part in zip(seen, new):
                old[turned] = part
        return F.cross_entropy(network(look(*seen[:2])), seen[2])

    options = dict(draw=draw, rate=rate, batch_size=batch_size)
    train(network, clips, loss, steps, **options)
    return network.eval()


def train(
    network: nn.Module,
    clips: Iterable[Tensor],
    loss: Loss,
    steps: int,
    *,
    draw: torch.Generator,
    rate: float,
    batch_size: int,
    decay: bool = True,
    **options,
) -> History:
    """The recipe of all networks for video: AdamW, shuffled batches.

    The rate is warmed up over an eighth of the steps and, with `decay`,
    goes down to zero along a cosine. `options` are those of `fit`.
    """
    clips = tuple(clips)
    network.to(clips[0].device).train()
    optimizer = AdamW(
        network.parameters(), rate, weight_decay=0.01, fused=True
    )
    warm = max(steps // 8, 1)
    later = cosine_decay(steps - warm) if decay else lambda step: 1.0
    update = gradient_update(network, optimizer, loss)
    update = scheduled(update, optimizer, warmup(warm, later))
    stream = batches(
        *clips, batch_size=batch_size, generator=draw, drop_last=True
    )
    return fit(update, stream, steps, progress=False, **options)


@torch.no_grad()
def answer(
    network: nn.Module, look: Look, clips: Clips
) -> Float[Tensor, "n k"]:
    """The scores of all clips in evaluation, 50 at a time.

    Raises `ValueError` for scores that are no numbers.
    """
    parts = zip(clips.videos.split(50), clips.flow.split(50))
    with evaluation_mode(network):
        scores = torch.cat([network(look(*part)) for part in parts])
    check_numbers(scores, "scores", "it has diverged: lower the rate")
    return scores


def by_kind(
    picked: Int[Tensor, " n"], labels: Int[Tensor, " n"]
) -> Mapping[str, float]:
    """The share of right answers for each kind of action, and for all.

    A kind of which there is no clip is left out. Raises `ValueError` for
    more or fewer answers than labels, and for none.
    """
    if picked.shape != labels.shape or not len(labels):
        raise ValueError(
            f"{tuple(picked.shape)} answers, {tuple(labels.shape)} labels: "
            "give one each, of one clip at the least"
        )
    right = (picked == labels).double()
    kinds = [list(ACTIONS.values())[label] for label in labels.tolist()]
    shares = {"all": right.mean().item()}
    for kind in KINDS:
        mine = torch.tensor([kind == k for k in kinds], device=right.device)
        if mine.any():
            shares[kind] = right[mine].mean().item()
    return shares
