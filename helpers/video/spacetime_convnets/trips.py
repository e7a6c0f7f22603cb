"""Clips that ask which way a thing went: trips that last as long as the
clip, and brief ones that are over before the next slow frame."""

from collections.abc import Collection
from dataclasses import replace
from random import Random
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from helpers.data.scenes import Rules, Scene, render, sample_scene
from helpers.video.optical_flow.checks import check_axes
from helpers.video.optical_flow.experiments import CALM
from helpers.video.spacetime_convnets.laterals import slow_places

WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
LENGTHS = ("lasting", "brief")
WHATS = ("disk", "cross", "star", "heart")
BIG = replace(CALM, shapes=WHATS, sizes=("large",))


class Trips(NamedTuple):
    """Clips; which way, how long and what, as places in WAYS, LENGTHS and
    WHATS."""

    videos: Float[Tensor, "n f 3 h w"]
    way: Int[Tensor, " n"]
    length: Int[Tensor, " n"]
    what: Int[Tensor, " n"]


def make_trips(
    n: int,
    size: int = 24,
    frames: int = 8,
    *,
    seed: int,
    alpha: int = 4,
    lengths: Collection[str] = LENGTHS,
    far: tuple[float, float] = (0.25, 0.35),
    twins: bool = False,
    rules: Rules = BIG,
    device: torch.device | str = "cpu",
) -> Trips:
    """Film one thing that goes left, right, up or down, `n` times.

    A lasting trip takes the whole clip, and its middle is where the thing
    is at home. A brief one starts at home behind one slow frame, and
    before the next, all at once, the thing is home again: what `pathways`
    shows to the slow pathway is then the same, to the bit, for all four
    ways. `far` is the least and the most it goes away, in image sides.
    Ways, lengths and shapes take turns, so that all are as frequent.
    Each clip has a scene of its own; with `twins` each scene is filmed
    with all ways and lengths. Raises `ValueError` where no frame lies
    between two slow ones, for unknown lengths, for `far` in disorder, for
    a single frame, and for twins of which the last scene would lack some.
    """
    unknown = set(lengths) - set(LENGTHS)
    if unknown or not lengths:
        raise ValueError(
            f"lengths = {sorted(lengths)}: choose some of {LENGTHS}"
        )
    if n < 1:
        raise ValueError(f"n = {n}: film one clip at least")
    if not 0 <= far[0] <= far[1]:
        raise ValueError(f"far = {far}: give the least, then the most")
    if frames < 2:
        raise ValueError(f"frames = {frames}: a trip takes 2 at the least")
    plans = [(length, way) for length in lengths for way in WAYS]
    if twins and n % len(plans):
        raise ValueError(
            f"n = {n} with twins: a multiple of {len(plans)} films each "
            "scene with all ways and lengths"
        )
    videos, labels = [], []
    for i in range(n):
        turn, (length, way) = i // len(plans), plans[i % len(plans)]
        what = WHATS[turn % len(WHATS)]
        scene, draw = draw_scene(seed, turn if twins else i, what, rules)
        reach = far[0] + (far[1] - far[0]) * draw.random()
        if length == "brief":
            steps = there_and_back(frames, alpha, draw)
        else:
            steps = [t / (frames - 1) - 0.5 for t in range(frames)]
        still = {}
        for step in steps:
            if step not in still:
                x, y = (reach * step * axis for axis in WAYS[way])
                still[step] = render(shifted(scene, x, y), size).image
        videos.append(torch.stack([still[step] for step in steps]))
        labels.append(
            [list(WAYS).index(way), LENGTHS.index(length), WHATS.index(what)]
        )
    way, length, what = torch.tensor(labels, device=device).unbind(1)
    return Trips(torch.stack(videos).to(device), way, length, what)


def draw_scene(
    seed: int, number: int, what: str, rules: Rules
) -> tuple[Scene, Random]:
    """One thing at home, near the middle, and what draws the rest."""
    rules = replace(rules, count=1, shapes=(what,))
    scene = sample_scene(seed, rules, index=number)
    draw = Random(f"{seed} {number}")
    home = (draw.uniform(0.4, 0.6), draw.uniform(0.4, 0.6))
    thing = replace(scene.things[0], position=home)
    return replace(scene, things=(thing,)), draw


def there_and_back(frames: int, alpha: int, draw: Random) -> list[float]:
    """How far away each frame shows the thing: 0 at home, 1 farthest."""
    slow = slow_places(frames, alpha).tolist()
    gaps = [(a, b) for a, b in zip(slow, slow[1:]) if b > a + 1]
    if not gaps:
        raise ValueError(
            f"{frames} frames, alpha = {alpha}: no two slow frames have "
            "another between them; take more frames, or a larger alpha"
        )
    a, b = draw.choice(gaps)
    away = [(t - a) / (b - 1 - a) for t in range(a, b)]
    return [0.0] * a + away + [0.0] * (frames - b)


def shifted(scene: Scene, x: float, y: float) -> Scene:
    """The scene with its only thing elsewhere."""
    (thing,) = scene.things
    position = (thing.position[0] + x, thing.position[1] + y)
    return replace(scene, things=(replace(thing, position=position),))


def mirrored_trips(trips: Trips, draw: torch.Generator) -> Trips:
    """Each clip as it is or in a mirror, left to right and upside down.

    The mirrors are drawn for each clip; what went left goes right.
    """
    check_axes(trips.videos, "n f 3 h w", "videos")
    videos, way = trips.videos.clone(), trips.way.clone()
    for axis, pair in ((4, (0, 1)), (3, (2, 3))):
        turned = torch.rand(len(videos), generator=draw) < 0.5
        places = turned.nonzero()[:, 0].to(way.device)
        turned = turned.to(way.device)
        videos[places] = videos[places].flip(axis)
        swap = turned & ((way == pair[0]) | (way == pair[1]))
        way = torch.where(swap, sum(pair) - way, way)
    return trips._replace(videos=videos, way=way)
