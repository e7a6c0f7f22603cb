"""What the chapters on video do with all networks alike: draw clips and
their flow, mirror them, learn, and count what is right for each kind."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data.scenes import (
    ACTIONS,
    CLASSES,
    Rules,
    make_clips,
    make_scenes,
)
from helpers.ledger import Figure, over_seeds
from helpers.training import Batch, Loss, evaluation_mode, train
from helpers.training.classification import classification_loss
from helpers.video.optical_flow.checks import check_axes, check_numbers
from helpers.video.optical_flow.clips import KINDS
from helpers.video.optical_flow.flow import lucas_kanade, warp
from helpers.video.optical_flow.frames import (
    FrameMean,
    frame_net,
    with_head_start,
)
from helpers.video.optical_flow.light import even_light, flicker, stack_changes
from helpers.video.optical_flow.two_stream import (
    fit_svm,
    fuse_average,
    fuse_svm,
    stack_flow,
    stack_trajectories,
    temporal_network,
)

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


def stacked(
    videos: Tensor, flow: Float[Tensor, "b l 2 h w"]
) -> Float[Tensor, "b 2*l h w"]:
    """All fields of flow at fixed points, as the channels of one image."""
    return stack_flow(flow)


def along_paths(
    videos: Tensor, flow: Float[Tensor, "b l 2 h w"]
) -> Float[Tensor, "b 2*l h w"]:
    """All fields of flow along the way of each pixel."""
    return stack_trajectories(flow)


def summed(
    videos: Tensor, flow: Float[Tensor, "b l 2 h w"]
) -> Float[Tensor, "b 2 h w"]:
    """The sum of all fields of flow, which forgets their order."""
    return flow.sum(1)


def changes_of(videos: Tensor, flow: Tensor) -> Float[Tensor, "b _ h w"]:
    """How frames differ that were put in even light before."""
    return stack_changes(videos)


def even_changes(videos: Tensor, flow: Tensor) -> Float[Tensor, "b _ h w"]:
    """How frames differ, once their light is even."""
    return stack_changes(even_light(videos))


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
        seen = [videos, flow, labels]  # copies of the clips: turned in place
        for mirror in AXES:
            turned = torch.rand(len(labels), generator=draw) < 0.5
            turned = turned.nonzero()[:, 0].to(labels.device)
            new = mirrored(*(x[turned] for x in seen), mirror)
            for old, part in zip(seen, new):
                old[turned] = part
        return F.cross_entropy(network(look(*seen[:2])), seen[2])

    return taught(
        network,
        loss,
        clips,
        steps,
        rate=rate,
        batch_size=batch_size,
        seed=draw,
    )


def learn_shapes(
    n: int,
    size: int,
    steps: int,
    *,
    seed: int,
    device: torch.device | str,
    rules: Rules = CALM,
) -> nn.Sequential:
    """A `frame_net` that has learned to name `n` single things."""
    rules = replace(rules, count=1)
    things = make_scenes(n, size, seed=seed, rules=rules)
    images = centred(things.images[:, None])[:, 0].to(device)
    labels = torch.cat(things.labels).to(device)
    torch.manual_seed(seed)
    return taught(
        frame_net(len(CLASSES)),
        classification_loss,
        (images, labels),
        steps,
        rate=5e-3,
        batch_size=min(32, n),
        seed=seed,
    )


def taught(
    network: nn.Module, loss: Loss, data: Sequence[Tensor], steps: int, **options
) -> nn.Module:
    """A network after the recipe of the chapters on video, ready to answer.

    The rate climbs over an eighth of the steps, then goes down to zero
    along a cosine. `options` are those of `helpers.training.train`.
    """
    train(
        network, loss, data, steps, rise=steps // 8, progress=False, **options
    )
    return network


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


def spread(values: Sequence[float]) -> Figure | float:
    """Mean and range over seeds, or the one number that there is."""
    return over_seeds(values) if len(values) > 1 else values[0]


class Comparison:
    """Networks that learned from the same clips, and what they answer.

    `networks` has each with its look, `scores` what it says of `test`, by
    name and run. `longer` stretches the steps of all of them.
    """

    def __init__(
        self, train: Clips, test: Clips, longer: float = 1.0
    ) -> None:
        self.train, self.test, self.longer = train, test, longer
        self.networks: dict[tuple[str, int], tuple[nn.Module, Look]] = {}
        self.scores: dict[tuple[str, int], Tensor] = {}

    def teach(
        self,
        name: str,
        make: Callable[[], nn.Module],
        look: Look,
        steps: int,
        run: int,
        **options,
    ) -> None:
        """Make, teach and examine a network; `options` are `learn`'s."""
        torch.manual_seed(run)
        steps = max(round(steps * self.longer), 1)
        net = learn(make(), look, self.train, steps, run=run, **options)
        self.networks[name, run] = net, look
        self.scores[name, run] = answer(net, look, self.test)

    def right(self, name: str, kind: str = "all") -> list[float]:
        """The share of right answers on one kind, for each run in turn.

        Raises `ValueError` for a network that has not learned, and for a
        kind of which the test has no clip.
        """
        shares = [
            by_kind(scores.argmax(1), self.test.labels)
            for (other, _), scores in self.scores.items()
            if other == name
        ]
        if not shares or kind not in shares[0]:
            known = dict.fromkeys(other for other, _ in self.scores)
            raise ValueError(
                f"{name!r}, {kind!r}: choose a network of {list(known)}, and "
                f"a kind of {list(shares[0]) if shares else [*KINDS, 'all']}"
            )
        return [share[kind] for share in shares]

    def table(self, names: Sequence[str]) -> list[list[str]]:
        """A row for each network, for `helpers.notebook.table`: its share
        of right answers by kind and on all, mean and range over seeds."""
        rows = []
        for name in names:
            runs = [self.right(name, kind) for kind in (*KINDS, "all")]
            rows.append([name, *map(spread, runs)])
        return rows


def teach_frames(
    comparison: Comparison, namers: Mapping[int, nn.Sequential]
) -> None:
    """Two networks that see no motion: one of the middle frame, one of all.

    Both begin as the `frame_net` that `namers` has for the run, in all but
    the last layer.
    """
    for run, namer in namers.items():

        def one_frame(namer: nn.Sequential = namer) -> nn.Module:
            return with_head_start(namer, len(ACTIONS))

        def all_frames(namer: nn.Sequential = namer) -> nn.Module:
            return FrameMean(with_head_start(namer, len(ACTIONS)))

        comparison.teach(
            "middle frame", one_frame, middle, 150, run, rate=2e-3
        )
        comparison.teach(
            "frames, averaged", all_frames, centred, 250, run, rate=2e-3
        )


def teach_flow(
    comparison: Comparison, name: str, look: Look, runs: Iterable[int]
) -> None:
    """Teach a `frame_net` what a look makes of the flow."""
    seen = look(comparison.train.videos[:1], comparison.train.flow[:1])
    channels = seen.shape[1]

    def temporal() -> nn.Module:
        return frame_net(len(ACTIONS), channels)

    for run in runs:
        comparison.teach(name, temporal, look, 200, run)


def teach_other_starts(
    comparison: Comparison, namers: Mapping[int, nn.Sequential]
) -> None:
    """The stream of frames from scratch, that of flow from a namer."""
    channels = 2 * comparison.train.flow.shape[1]

    def frames() -> nn.Module:
        return FrameMean(frame_net(len(ACTIONS)))

    for run, namer in namers.items():

        def flow(namer: nn.Sequential = namer) -> nn.Module:
            start = with_head_start(namer, len(ACTIONS))
            return temporal_network(start, channels)

        comparison.teach(
            "frames, from scratch", frames, centred, 250, run, rate=2e-3
        )
        comparison.teach("flow, head start", flow, stacked, 200, run)


def teach_changes(comparison: Comparison, runs: Iterable[int]) -> None:
    """A third stream, "changes": how frames in even light differ.

    The light is made even once, before it learns.
    """
    even = [
        Clips(even_light(clips.videos), clips.labels, clips.flow)
        for clips in (comparison.train, comparison.test)
    ]
    third = Comparison(*even, comparison.longer)
    fields = comparison.train.flow.shape[1]

    def network() -> nn.Module:
        return frame_net(len(ACTIONS), fields)

    for run in runs:
        third.teach("changes", network, changes_of, 200, run)
        net, _ = third.networks["changes", run]
        comparison.networks["changes", run] = net, even_changes
        comparison.scores["changes", run] = third.scores["changes", run]


def relit(
    clips: Clips, generator: torch.Generator, strength: float = 0.1
) -> Clips:
    """The clips by a lamp that flickers, and their flow found anew."""
    videos = flicker(clips.videos, strength, generator=generator)
    return Clips(videos, clips.labels, find_flow(videos, levels=1, steps=3))


Heard = Mapping[tuple[str, int], Float[Tensor, "n k"]]


def answers(
    comparison: Comparison,
    names: Sequence[str],
    clips: Clips,
    runs: Sequence[int],
) -> Heard:
    """The scores of some networks for other clips, by name and run."""
    return {
        (name, run): answer(*comparison.networks[name, run], clips)
        for name in names
        for run in runs
    }


def fuse(
    known: Collection[Heard],
    labels: Int[Tensor, " n"],
    heard: Heard,
    names: Sequence[str],
    run: int,
) -> dict[str, Int[Tensor, " m"]]:
    """What streams answer together, "by average" and "by SVM".

    The SVM learns from what they say of the same clips in several lights,
    `known`, all with the same labels.
    """
    scores = [heard[name, run] for name in names]
    seen = [torch.cat([light[name, run] for light in known]) for name in names]
    svm = fit_svm(seen, labels.repeat(len(known)))
    return {
        "by average": fuse_average(scores).argmax(1),
        "by SVM": fuse_svm(svm, scores),
    }


def left_by_warping(
    flow: Float[Tensor, "n 2 h w"],
    first: Float[Tensor, "n c h w"],
    second: Float[Tensor, "n c h w"],
    moves: Tensor,
) -> Float[Tensor, " pairs"]:
    """How far the frame that the flow fetches is off where things move.

    Pair by pair; a pair in which nothing moves tells nothing and is left
    out.
    """
    off = (warp(second, flow) - first).abs().mean(1)
    return torch.stack(
        [one[where].mean() for one, where in zip(off, moves) if where.any()]
    )


def confusion(
    picked: Sequence[Int[Tensor, " n"]], labels: Int[Tensor, " n"], classes: int
) -> Float[Tensor, "k k"]:
    """The share of each class (row) that is taken for another, over runs."""
    counts = torch.zeros(classes, classes)
    for one in picked:
        places = labels.cpu(), one.cpu()
        counts.index_put_(places, torch.ones(()), accumulate=True)
    return counts / counts.sum(1, keepdim=True)
