"""The scene as data, things before a background in coordinates that no image size enters; how to draw one at random.

Positions run from (0, 0), the upper left corner of the image, to (1, 1); lengths are in image sides; angles are in
radians, clockwise as seen; the smaller the depth, the nearer.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from helpers.data.scenes.shapes import CLASSES, DIGITS, check_finite, check_known, scans, signed_distance
from helpers.data.scenes.textures import BACKGROUNDS, MATERIALS

Colour = tuple[float, float, float]

# Names that everyone agrees on, far apart for the three common kinds of colour blindness too.
COLOURS: dict[str, Colour] = {
    "red": (0.80, 0.10, 0.12),
    "orange": (0.97, 0.52, 0.04),
    "yellow": (1.00, 0.92, 0.18),
    "green": (0.05, 0.56, 0.38),
    "cyan": (0.36, 0.78, 0.96),
    "blue": (0.06, 0.35, 0.84),
    "purple": (0.38, 0.08, 0.46),
    "pink": (0.94, 0.68, 0.74),
}
# Radii. The gaps between the ranges keep the words unambiguous.
SIZES: dict[str, tuple[float, float]] = {"small": (0.09, 0.12), "medium": (0.14, 0.165), "large": (0.19, 0.24)}
WIDEST = 0.6  # opening


@dataclass(frozen=True)
class Thing:
    """One coloured shape or digit. `size` is its radius; `opening` half the gap between its two halves, in radii."""

    shape: str
    colour: str
    position: tuple[float, float] = (0.5, 0.5)
    size: float = 0.2
    angle: float = 0.0
    depth: float = 0.5
    material: str = "plain"
    tone: float = 1.0  # brightness of its colour
    glyph: int = 0  # which scan of a digit
    opening: float = 0.0

    def __post_init__(self) -> None:
        check_known("shape", [self.shape], CLASSES)
        check_known("colour", [self.colour], COLOURS)
        check_known("material", [self.material], MATERIALS)
        check_finite(position=self.position, size=self.size, angle=self.angle, depth=self.depth, tone=self.tone)
        if self.size <= 0:
            raise ValueError(f"size = {self.size}: the radius of a thing is positive, in image sides (0.1 is small)")
        if not 0 <= self.opening <= WIDEST:
            raise ValueError(f"opening = {self.opening}: half the gap lies between 0 and {WIDEST} radii")
        if self.shape in DIGITS and not 0 <= self.glyph < len(scans()[int(self.shape)]):
            count = len(scans()[int(self.shape)])
            raise ValueError(f"glyph = {self.glyph}: there are {count} scans of the digit {self.shape}, from 0 on")

    @property
    def label(self) -> int:
        """Place of the shape in `CLASSES`."""
        return CLASSES.index(self.shape)

    @property
    def size_name(self) -> str:
        """small, medium or large."""
        return "small" if self.size < 0.13 else "medium" if self.size < 0.1775 else "large"

    @property
    def reach(self) -> float:
        """Radius of the disk around the position that holds the whole thing, its opening included."""
        return self.size * (1 + self.opening)

    def to_local(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of the image in the thing's own frame (radius 1, closed), and by how much each lies inside the gap."""
        cos, sin = math.cos(self.angle) / self.size, math.sin(self.angle) / self.size
        x, y = x - self.position[0], y - self.position[1]
        u, v = x * cos + y * sin, y * cos - x * sin
        if not self.opening:
            return u, v, -np.abs(u)
        gap = self.opening - np.abs(u)
        return np.copysign(np.maximum(-gap, 0), u), v, gap  # the sign stays: it says which half

    def to_image(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points of the thing's own frame lie in the image; the sign of u says to which half they belong."""
        u = u + np.copysign(np.float32(self.opening), u)
        cos, sin = math.cos(self.angle) * self.size, math.sin(self.angle) * self.size
        return u * cos - v * sin + self.position[0], u * sin + v * cos + self.position[1]

    def distance_local(self, u: np.ndarray, v: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Signed distance to the outline, in image sides, of what `to_local` returns: negative inside."""
        distance = signed_distance(self.shape, self.glyph, u, v)
        return (np.maximum(distance, gap) if self.opening else distance) * self.size

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Signed distance, in image sides, from points of the image to the outline: negative inside."""
        return self.distance_local(*self.to_local(x, y))

    def window(self, size: int, shift: tuple[float, float] = (0.0, 0.0)) -> tuple[slice, slice]:
        """Rows and columns that the thing may touch in an image of `size` pixels whose camera looks from `shift`."""
        rows_columns = []
        for axis in (1, 0):
            middle, reach = (self.position[axis] - shift[axis]) * size, self.reach * size + 1
            low, high = math.floor(middle - reach), math.ceil(middle + reach)
            rows_columns.append(slice(min(max(low, 0), size), min(max(high, 0), size)))
        return rows_columns[0], rows_columns[1]


@dataclass(frozen=True)
class Background:
    """A pattern between two colours; `scale`, `angle` and `seed` as in `background_pattern`."""

    kind: str = "plain"
    first: Colour = (0.82, 0.82, 0.80)
    second: Colour = (0.70, 0.70, 0.69)
    scale: float = 4.0
    angle: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_known("background", [self.kind], BACKGROUNDS)
        check_finite(first=self.first, second=self.second, scale=self.scale, angle=self.angle)
        if self.scale <= 0:
            raise ValueError(f"scale = {self.scale}: the periods along a side are a positive number")


@dataclass(frozen=True)
class Light:
    """Brightness of the scene, how much brighter it is on the side of `angle`, and the warmth of the light."""

    exposure: float = 1.0
    falloff: float = 0.0
    angle: float = 0.0
    warmth: float = 0.0

    def __post_init__(self) -> None:
        check_finite(exposure=self.exposure, falloff=self.falloff, angle=self.angle, warmth=self.warmth)


@dataclass(frozen=True)
class Scene:
    """Things before a background under a light. Instance i + 1 of a picture is `things[i]`."""

    things: tuple[Thing, ...]
    background: Background = Background()
    light: Light = Light()

    @property
    def near_to_far(self) -> list[int]:
        """Indices of the things, the nearest first; of two at one depth the later one is nearer."""
        return sorted(range(len(self.things)), key=lambda i: (self.things[i].depth, -i))


@dataclass(frozen=True)
class Rules:
    """What may be drawn: the defaults are the whole world.

    `count` is a number of things, or the lowest and the highest. `combinations` holds the allowed pairs of shape and
    colour (all when None): see `split_combinations`. No thing is hidden so far that less than `min_visible` of it
    remains. `writers` keeps the scans of the digits of "train" and "test" apart; "all" has both.
    """

    count: int | tuple[int, int] = (1, 4)
    shapes: Collection[str] = CLASSES
    colours: Collection[str] = tuple(COLOURS)
    materials: Collection[str] = MATERIALS
    sizes: Collection[str] = tuple(SIZES)
    backgrounds: Collection[str] = BACKGROUNDS
    combinations: Collection[tuple[str, str]] | None = None
    min_visible: float = 0.6
    tilt: float = 0.35
    writers: str = "all"
    pairs: tuple[tuple[str, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_known("shape", self.shapes, CLASSES)
        check_known("colour", self.colours, COLOURS)
        check_known("material", self.materials, MATERIALS)
        check_known("size", self.sizes, SIZES)
        check_known("background", self.backgrounds, BACKGROUNDS)
        check_known("writers", [self.writers], ("all", "train", "test"))
        check_finite(tilt=self.tilt)
        for shape, colour in self.combinations or ():
            check_known("shape", [shape], CLASSES)
            check_known("colour", [colour], COLOURS)
        low, high = self.counts
        if not 1 <= low <= high:
            raise ValueError(f"count = {self.count}: a number of things from 1 on, or (lowest, highest)")
        if not 0 < self.min_visible <= 1:
            raise ValueError(f"min_visible = {self.min_visible}: a fraction above 0, at most 1 (nothing overlaps)")
        pairs = [(shape, colour) for shape in self.shapes for colour in self.colours]
        if self.combinations is not None:
            allowed = set(self.combinations)
            pairs = [pair for pair in pairs if pair in allowed]
        if not pairs:
            raise ValueError("combinations: no pair has one of the shapes and one of the colours; allow one at least")
        object.__setattr__(self, "pairs", tuple(pairs))

    @property
    def counts(self) -> tuple[int, int]:
        """Lowest and highest number of things."""
        return (self.count, self.count) if isinstance(self.count, int) else self.count


def split_combinations(
    shapes: Collection[str] = CLASSES,
    colours: Collection[str] = tuple(COLOURS),
    *,
    held_out: float = 0.2,
    seed: int = 0,
) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
    """Split the pairs of shape and colour into those to train on and those held out, as even over both as can be.

    Every shape and every colour stays in training: only the combination is new. Raises `ValueError` where that cannot
    be, or nothing would be held out.
    """
    check_known("shape", shapes, CLASSES)
    check_known("colour", colours, COLOURS)
    rng = np.random.default_rng(seed)
    rows, columns = list(rng.permutation(list(shapes))), list(rng.permutation(list(colours)))
    # The generalised diagonals of the table: each takes one pair from every row and spreads over the columns.
    pairs = [
        (str(rows[i]), str(columns[(i + d) % len(columns)])) for d in range(len(columns)) for i in range(len(rows))
    ]
    cut = round(held_out * len(pairs))
    held, seen = frozenset(pairs[:cut]), frozenset(pairs[cut:])
    if not held or {s for s, _ in seen} != set(shapes) or {c for _, c in seen} != set(colours):
        raise ValueError(
            f"held_out = {held_out}: of {len(rows)} shapes x {len(columns)} colours that holds out {cut} pairs; "
            "take a fraction that holds out one at least and leaves every shape and colour in training"
        )
    return seen, held


def sample_scene(seed: int, rules: Rules = Rules(), *, index: int = 0) -> Scene:  # noqa: B008
    """Draw scene `index` of the endless stream `seed`; it depends on nothing else.

    Raises `ValueError` when the things find no room under `rules`.
    """
    rng = stream(seed, index)
    background, light = sample_background(rng, rules), sample_light(rng)
    low, high = rules.counts
    count = int(rng.integers(low, high + 1))
    for _ in range(8):
        things = _place(rng, rules, count)
        if things is not None:
            return Scene(things, background, light)
    raise ValueError(
        f"count = {count}: so many things found no room with {rules.min_visible:.0%} of each visible; "
        "ask for fewer, for small ones, or for a lower min_visible"
    )


def _place(rng: np.random.Generator, rules: Rules, count: int) -> tuple[Thing, ...] | None:
    things: tuple[Thing, ...] = ()
    for _ in range(count):
        thing = sample_thing(rng, rules)
        for _ in range(24):
            x, y = (float(value) for value in rng.uniform(thing.size, 1 - thing.size, 2))
            thing = replace(thing, position=(x, y))
            apart = all(math.dist(thing.position, other.position) > thing.size + other.size for other in things)
            if apart or min(visible_fractions((*things, thing))) >= rules.min_visible:
                things = (*things, thing)
                break
        else:
            return None
    return things


def visible_fractions(things: Collection[Thing], resolution: int = 48) -> list[float]:
    """How much of each thing no nearer one hides, of what lies in the image, on a grid of points."""
    centres = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    scene = Scene(tuple(things))
    covered = np.zeros((resolution, resolution), dtype=bool)
    fractions = [0.0] * len(scene.things)
    for i in scene.near_to_far:
        rows, columns = scene.things[i].window(resolution)
        inside = scene.things[i].distance(centres[None, columns], centres[rows, None]) < 0
        nearer = covered[rows, columns]  # a view
        fractions[i] = float((inside & ~nearer).sum() / max(inside.sum(), 1))
        nearer |= inside
    return fractions


def sample_thing(rng: np.random.Generator, rules: Rules) -> Thing:
    """A thing in the middle of the image, everything else at random."""
    shape, colour = rules.pairs[rng.integers(len(rules.pairs))]
    glyph = 0
    if shape in DIGITS:
        glyphs = np.arange(len(scans()[int(shape)]))
        test = glyphs % 5 == 0
        glyph = int(rng.choice(glyphs[{"all": test | True, "train": ~test, "test": test}[rules.writers]]))
    return Thing(
        shape=shape,
        colour=colour,
        size=float(rng.uniform(*SIZES[pick(rng, rules.sizes)])),
        angle=float(rng.uniform(-rules.tilt, rules.tilt)),
        depth=float(rng.random()),
        material=pick(rng, rules.materials),
        tone=float(rng.uniform(0.88, 1.06)),
        glyph=glyph,
    )


def sample_background(rng: np.random.Generator, rules: Rules) -> Background:
    """A pattern between two muted colours of one hue, so that the things stand out."""
    hue, saturation = rng.uniform(0, 2 * math.pi), rng.uniform(0.01, 0.08)
    tint = saturation * np.cos(hue - np.array([0, 2, 4]) * math.pi / 3)
    value, contrast = rng.uniform(0.5, 0.84), rng.uniform(0.08, 0.16)
    first, second = (tuple(float(c) for c in np.clip(value + sign * contrast + tint, 0, 1)) for sign in (0.6, -0.6))
    return Background(
        kind=pick(rng, rules.backgrounds),
        first=first,
        second=second,
        scale=float(rng.uniform(3, 6)),
        angle=float(rng.uniform(0, math.pi)),
        seed=int(rng.integers(2**31)),
    )


def sample_light(rng: np.random.Generator) -> Light:
    """Light that changes every colour a little and no colour's name."""
    exposure, falloff, angle, warmth = rng.uniform([0.85, 0.0, 0.0, -0.04], [1.05, 0.25, 2 * math.pi, 0.04])
    return Light(float(exposure), float(falloff), float(angle), float(warmth))


def stream(seed: int, index: int) -> np.random.Generator:
    """The random numbers of element `index` of the stream `seed`."""
    if seed < 0 or index < 0:
        raise ValueError(f"seed = {seed}, index = {index}: both are integers from 0 on")
    return np.random.default_rng([seed, index])


def pick(rng: np.random.Generator, options: Collection[str]) -> str:
    """One of the options, each as likely as the other."""
    return tuple(options)[rng.integers(len(options))]
