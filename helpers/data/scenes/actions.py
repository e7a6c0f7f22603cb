"""Labelled actions for video: told by appearance alone, by motion alone, or by order alone.

The middle moment of an episode is drawn before its action: the middle frame of a clip with an odd number of frames is
the same, pixel for pixel, whatever the motion. So no classifier of that frame beats chance on the actions of motion and of
order, and no classifier of a frame that does not know its time can tell a motion from its opposite.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from helpers.data.scenes.captions import describe
from helpers.data.scenes.motion import Motion
from helpers.data.scenes.shapes import check_known
from helpers.data.scenes.world import (
    Rules,
    Scene,
    Thing,
    sample_background,
    sample_light,
    sample_thing,
    stream,
    visible_fractions,
)

# What tells the action. Sideways is for left and right, up and down for passing, the diagonals for the change of speed.
ACTIONS: dict[str, str] = {
    "star drifts": "appearance",
    "heart drifts": "appearance",
    "turns clockwise": "motion",
    "turns anticlockwise": "motion",
    "approaches": "motion",
    "recedes": "motion",
    "moves left": "motion",
    "moves right": "motion",
    "speeds up": "motion",
    "slows down": "motion",
    "passes in front": "motion",
    "passes behind": "motion",
    "opens then closes": "order",
    "closes then opens": "order",
}
RESERVED = {"star drifts": "star", "heart drifts": "heart"}  # shapes that no other action has


@dataclass(frozen=True)
class Episode:
    """A scene at time 0, a motion for each of its things, the action they show and a sentence about it."""

    scene: Scene
    motions: tuple[Motion, ...]
    action: str
    caption: str

    @property
    def label(self) -> int:
        """Place of the action in `ACTIONS`."""
        return tuple(ACTIONS).index(self.action)


def sample_action(seed: int, action: str | None = None, rules: Rules = Rules(), *, index: int = 0) -> Episode:  # noqa: B008
    """Draw episode `index` of the endless stream `seed`: two things that overlap, one of which acts while one rests.

    Without an `action` each is as likely as the other. Of the `rules`, count, sizes and min_visible
    do not apply. Raises `ValueError` for an unknown action, or rules whose only shapes are star and heart.
    """
    if action is not None:
        check_known("action", [action], ACTIONS)
    rng = stream(seed, index)
    scene = _middle(rng, rules)
    action = action or tuple(ACTIONS)[rng.integers(len(ACTIONS))]
    sign, amount, direction = (int(rng.integers(2)) * 2 - 1, float(rng.random()), float(rng.uniform(0, 2 * math.pi)))
    actor = int(rng.integers(2))
    if action in ("passes in front", "passes behind"):
        actor = scene.near_to_far[0 if action == "passes in front" else 1]
    if action in RESERVED:
        scene = _with(scene, actor, replace(scene.things[actor], shape=RESERVED[action], glyph=0))
    thing = scene.things[actor]
    motion = _motion(action, sign=sign, amount=amount, direction=direction)
    start = _rewind(thing, motion)
    text = describe(thing, size=False)
    if action in RESERVED:
        text += " drifts"
    elif action.startswith("passes"):
        text += f" {action}{' of' if action.endswith('front') else ''} {describe(scene.things[1 - actor], size=False)}"
    else:
        text += f" {action}"
    motions = tuple(motion if i == actor else Motion() for i in (0, 1))
    return Episode(_with(scene, actor, start), motions, action, text)


def _middle(rng: np.random.Generator, rules: Rules) -> Scene:
    """The moment in the middle: two things, one partly before the other."""
    rules = replace(rules, shapes=[shape for shape in rules.shapes if shape not in RESERVED.values()])
    background, light = sample_background(rng, rules), sample_light(rng)
    a, b = (replace(sample_thing(rng, rules), size=float(size)) for size in rng.uniform(0.14, 0.18, 2))
    a, b = _with_texture(a), _with_texture(b)
    centre, axis = rng.uniform(0.42, 0.58, 2), rng.uniform(0, 2 * math.pi)
    direction = np.array([math.cos(axis), math.sin(axis)]) * (a.size + b.size)
    for apart in np.arange(0.45, 0.05, -0.05):  # closer until a good part of one is hidden
        (ax, ay), (bx, by) = (centre + apart * direction).tolist(), (centre - apart * direction).tolist()
        a, b = replace(a, position=(ax, ay)), replace(b, position=(bx, by))
        if min(visible_fractions([a, b])) < 0.85:
            break
    return Scene((a, b), background, light)


def _with_texture(thing: Thing) -> Thing:
    """What is round gets stripes if it is plain: it would not show that it turns."""
    hides_turning = thing.shape in ("disk", "ring") and thing.material == "plain"
    return replace(thing, material="striped") if hides_turning else thing


def _motion(action: str, *, sign: int, amount: float, direction: float) -> Motion:
    """The motion of an action; `sign` and `direction` choose what the action leaves open, `amount` how strong it is."""
    length = 0.3 + 0.15 * amount
    diagonal = (round(direction / (math.pi / 2)) + 0.5) * math.pi / 2
    slant = (length * math.cos(diagonal), length * math.sin(diagonal))
    match action:
        case "turns clockwise" | "turns anticlockwise":
            turn = math.radians(70 + 50 * amount)
            return Motion(turn=turn if action == "turns clockwise" else -turn)
        case "approaches" | "recedes":
            zoom = 1.6 + 0.5 * amount
            return Motion(zoom=zoom if action == "approaches" else 1 / zoom)
        case "moves left" | "moves right":
            return Motion(travel=(length if action == "moves right" else -length, 0.0))
        case "speeds up" | "slows down":
            return Motion(travel=slant, pace="speeding" if action == "speeds up" else "slowing")
        case "passes in front" | "passes behind":
            return Motion(travel=(0.0, sign * length))
        case "opens then closes":
            gap = 0.35 + 0.2 * amount
            return Motion(opening=(0.0, gap, 0.0, 0.0, 0.0) if sign > 0 else (0.0, 0.0, 0.0, gap, 0.0))
        case "closes then opens":
            gap = 0.35 + 0.2 * amount
            return Motion(opening=(gap, 0.0, 0.0, 0.0, gap))
        case _:
            return Motion(travel=(0.5 * length * math.cos(direction), 0.5 * length * math.sin(direction)))


def _rewind(thing: Thing, motion: Motion) -> Thing:
    """The thing at time 0, given how it is in the middle."""
    share = motion.progress(0.5)
    x, y = (p - share * d for p, d in zip(thing.position, motion.travel, strict=True))
    angle, size = thing.angle - share * motion.turn, thing.size / motion.zoom**share
    return replace(thing, position=(x, y), angle=angle, size=size)


def _with(scene: Scene, i: int, thing: Thing) -> Scene:
    return replace(scene, things=(*scene.things[:i], thing, *scene.things[i + 1 :]))
