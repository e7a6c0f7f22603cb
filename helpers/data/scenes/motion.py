"""The scene in time: things that travel, turn, grow and open under a panning camera, with the true optical flow.

Flow is exact: it comes from the geometry of the motion, never from the pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.data.scenes.render import check_size, draw, paint_background, tight_boxes
from helpers.data.scenes.shapes import check_finite, check_known
from helpers.data.scenes.world import WIDEST, Scene, Thing

PACES = ("even", "speeding", "slowing")
FARTHEST = 0.5  # pan, in image sides: as far as the photographs reach


@dataclass(frozen=True)
class Motion:
    """What one thing does during a clip, whose time runs from 0 to 1 at any number of frames.

    `travel` in image sides (right, down); `turn` in radians, clockwise; `zoom` the final size over the first; all three
    between the times `start` and `stop`, at an even, speeding or slowing pace. `opening` gives openings at evenly
    spaced times, joined by straight lines; the thing's own when empty.
    """

    travel: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    zoom: float = 1.0
    pace: str = "even"
    start: float = 0.0
    stop: float = 1.0
    opening: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_known("pace", [self.pace], PACES)
        check_finite(travel=self.travel, turn=self.turn, zoom=self.zoom)
        if self.zoom <= 0:
            raise ValueError(f"zoom = {self.zoom}: a ratio of sizes is positive; 2 doubles, 0.5 halves")
        if not 0 <= self.start < self.stop <= 1:
            raise ValueError(f"start = {self.start}, stop = {self.stop}: need 0 <= start < stop <= 1, in clip lengths")
        if not all(0 <= opening <= WIDEST for opening in self.opening):
            raise ValueError(f"opening = {self.opening}: half the gap lies between 0 and {WIDEST} radii")

    def progress(self, time: float) -> float:
        """Share of the motion that is done at a time."""
        share = min(max((time - self.start) / (self.stop - self.start), 0.0), 1.0)
        return {"even": share, "speeding": share**2, "slowing": 1 - (1 - share) ** 2}[self.pace]


def moved(thing: Thing, motion: Motion, time: float) -> Thing:
    """The thing as it is at a time of the clip, 0 … 1."""
    share = motion.progress(time)
    opening = thing.opening
    if motion.opening:
        opening = float(np.interp(time, np.linspace(0, 1, len(motion.opening)), motion.opening))
    return replace(
        thing,
        position=(thing.position[0] + share * motion.travel[0], thing.position[1] + share * motion.travel[1]),
        angle=thing.angle + share * motion.turn,
        size=thing.size * motion.zoom**share,
        opening=opening,
    )


@dataclass(frozen=True, eq=False)
class Clip:
    """A video in 0 … 1 and what is in it.

    `flow[t]` leads each pixel of frame t to its place in frame t + 1: channel 0 right, channel 1 down, in pixels.
    `valid[t]` says where that place is inside the image and not hidden there by something nearer. Instances, masks,
    boxes and labels as in `Picture`, per frame; `order` lists the things from near to far.
    """

    video: Float[Tensor, "f 3 h w"]
    flow: Float[Tensor, "f-1 2 h w"]
    valid: Bool[Tensor, "f-1 h w"]
    instances: Int[Tensor, "f h w"]
    masks: Bool[Tensor, "f n h w"]
    boxes: Float[Tensor, "f n 4"]
    labels: Int[Tensor, " n"]
    order: Int[Tensor, " n"]


def render_clip(
    scene: Scene, motions: Sequence[Motion], frames: int, size: int, *, pan: tuple[float, float] = (0.0, 0.0)
) -> Clip:
    """Film the scene, one motion per thing, while the camera looks `pan` image sides to the right and down.

    The scene is the state at time 0. Raises `ValueError` for fewer than two frames, a size below 8, a pan that leaves
    the world, or motions that are not one per thing.
    """
    video, instances, states, shifts = film(scene, motions, frames, size, pan)
    flows = [true_flow(instances[t], states[t], states[t + 1], shifts[t], shifts[t + 1]) for t in range(frames - 1)]
    masks = instances[:, None] == np.arange(1, len(scene.things) + 1)[:, None, None]
    return Clip(
        video=torch.from_numpy(video),
        flow=torch.from_numpy(np.stack([flow for flow, _ in flows])),
        valid=torch.from_numpy(np.stack([valid for _, valid in flows])),
        instances=torch.from_numpy(instances),
        masks=torch.from_numpy(masks),
        boxes=torch.from_numpy(np.stack([tight_boxes(frame) for frame in masks])),
        labels=torch.tensor([thing.label for thing in scene.things], dtype=torch.long),
        order=torch.tensor(scene.near_to_far, dtype=torch.long),
    )


def film(
    scene: Scene, motions: Sequence[Motion], frames: int, size: int, pan: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, list[Scene], list[tuple[float, float]]]:
    """Frames, instance ids, and per frame the scene and where the camera looks from."""
    check_size(size)
    if frames < 2:
        raise ValueError(f"frames = {frames}: motion needs two frames at least")
    if len(motions) != len(scene.things):
        raise ValueError(
            f"{len(motions)} motions for {len(scene.things)} things: give one each, Motion() for one that rests"
        )
    if not all(abs(way) <= FARTHEST for way in pan):
        raise ValueError(f"pan = {pan}: the camera may look {FARTHEST} image sides away at most, either way")
    times = [t / (frames - 1) for t in range(frames)]
    states = [
        replace(scene, things=tuple(moved(*pair, time) for pair in zip(scene.things, motions, strict=True)))
        for time in times
    ]
    shifts = [(time * pan[0], time * pan[1]) for time in times]
    ground = None if any(pan) else paint_background(scene, size)  # the same in every frame
    drawn = [draw(state, size, shift, ground) for state, shift in zip(states, shifts, strict=True)]
    return np.stack([image for image, _, _ in drawn]), np.stack([ids for _, ids, _ in drawn]), states, shifts


def true_flow(
    instances: Int[np.ndarray, "h w"],
    now: Scene,
    then: Scene,
    camera_now: tuple[float, float],
    camera_then: tuple[float, float],
) -> tuple[Float[np.ndarray, "2 h w"], Bool[np.ndarray, "h w"]]:
    """Where each pixel goes between two states of a scene, in pixels, and whether it can be seen there."""
    size = len(instances)
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    # The background stays in the world, so it moves against the camera.
    target_x, target_y = (axis - (b - a) for axis, a, b in zip((x, y), camera_now, camera_then, strict=True))
    nearness = np.full(len(now.things) + 1, len(now.things))  # rank in depth of each instance, the background last
    for rank, i in enumerate(now.near_to_far):
        nearness[i + 1] = rank
        mine = instances == i + 1
        before, after = now.things[i], then.things[i]
        from_x, from_y = x[mine] + camera_now[0], y[mine] + camera_now[1]
        u, v, _ = before.to_local(from_x, from_y)
        at_x, at_y = after.to_image(u, v)
        target_x[mine], target_y[mine] = at_x - camera_then[0], at_y - camera_then[1]
    valid = (target_x >= 0) & (target_x < 1) & (target_y >= 0) & (target_y < 1)
    owner = nearness[instances]
    for rank, i in enumerate(then.near_to_far):
        thing = then.things[i]
        at_x, at_y = target_x + camera_then[0], target_y + camera_then[1]
        near = (owner > rank) & (np.hypot(at_x - thing.position[0], at_y - thing.position[1]) < thing.reach)
        near[near] = thing.distance(at_x[near], at_y[near]) < 0
        valid &= ~near
    flow = np.stack([target_x - x, target_y - y]) * size
    return flow.astype(np.float32), valid
