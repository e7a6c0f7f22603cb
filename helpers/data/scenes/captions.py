"""True sentences about a scene: attributes, places, counts and relations, in several wordings."""

import math
from collections import Counter

import numpy as np

from helpers.data.scenes.world import Scene, Thing, pick, stream, visible_fractions

NUMBERS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RELATIONS = ("to the left of", "to the right of", "above", "below", "in front of", "behind")
PREFIXES = ("", "a picture of ", "an image of ", "a drawing of ")
APART = 0.15  # image sides between two centres before one is said to be left of, or above, the other


def describe(thing: Thing, *, size: bool = True, material: bool = True, count: int = 1) -> str:
    """A noun phrase: "a large striped red star"; of several, "two small blue 7s". Medium and plain go unsaid."""
    words = [thing.size_name] if size and thing.size_name != "medium" else []
    words += [thing.material] if material and thing.material != "plain" else []
    words += [thing.colour, thing.shape]
    if count == 1:
        article = "an" if words[0] == "orange" else "a"
        return " ".join([article, *words])
    ending = "es" if thing.shape == "cross" else "s"
    return " ".join([NUMBERS[count] if count < len(NUMBERS) else str(count), *words]) + ending


def place(thing: Thing) -> str:
    """Where in the image a thing is: "in the centre", "at the top left", "on the right" …"""
    x, y = thing.position
    row = "top" if y < 0.4 else "bottom" if y > 0.6 else ""
    column = "left" if x < 0.4 else "right" if x > 0.6 else ""
    if row:
        return f"at the {row} {column}".rstrip()
    return f"on the {column}" if column else "in the centre"


def relations(scene: Scene) -> list[tuple[int, str, int]]:
    """All that clearly holds between two things: (i, relation, j), read "thing i is … thing j".

    Left, right, above and below need centres well apart, and more so in that direction than across it; in front of
    and behind need one thing to hide a part of the other.
    """
    found = []
    for i, a in enumerate(scene.things):
        for j, b in enumerate(scene.things):
            dx, dy = b.position[0] - a.position[0], b.position[1] - a.position[1]
            if i != j and abs(dx) > max(APART, abs(dy)):
                found.append((i, "to the left of" if dx > 0 else "to the right of", j))
            if i != j and abs(dy) > max(APART, abs(dx)):
                found.append((i, "above" if dy > 0 else "below", j))
            if i < j and math.dist(a.position, b.position) < a.reach + b.reach:
                near, far = (i, j) if scene.near_to_far.index(i) < scene.near_to_far.index(j) else (j, i)
                if visible_fractions([scene.things[near], scene.things[far]])[1] < 0.97:
                    found += [(near, "in front of", far), (far, "behind", near)]
    return found


def caption(scene: Scene, seed: int = 0) -> str:
    """A true sentence about the scene, in lower case and without a full stop; `seed` chooses what it says and how.

    One thing: its attributes, at times its place. Several: all of them, counted where alike, or a relation of two.
    """
    rng = stream(seed, 0)
    size, material = (bool(rng.random() < 0.6) for _ in range(2))
    prefix = pick(rng, PREFIXES)
    related = relations(scene)
    if len(scene.things) == 1:
        body = describe(scene.things[0], size=size, material=material)
        if rng.random() < 0.5:
            body += f" {place(scene.things[0])}"
    elif related and rng.random() < 0.5:
        kinds = sorted({relation for _, relation, _ in related}, key=RELATIONS.index)
        kind = pick(rng, kinds)  # first the relation, then the pair: depth is rarer and would hardly be told
        options = [fact for fact in related if fact[1] == kind]
        i, _, j = options[rng.integers(len(options))]
        one, other = (describe(scene.things[k], size=size, material=material) for k in (i, j))
        return f"there is {one} {kind} {other}" if rng.random() < 0.3 else f"{prefix}{one} {kind} {other}"
    else:
        body = _list(scene, rng, size=size, material=material)
    if rng.random() < 0.3:
        one = body.startswith(("a ", "an "))
        return f"there {'is' if one else 'are'} {body}"
    return prefix + body


def _list(scene: Scene, rng: np.random.Generator, *, size: bool, material: bool) -> str:
    """All things, those of one description counted together, in random order."""
    counts = Counter(describe(thing, size=size, material=material) for thing in scene.things)
    example = {describe(thing, size=size, material=material): thing for thing in scene.things}
    phrases = [describe(example[one], size=size, material=material, count=count) for one, count in counts.items()]
    phrases = [phrases[k] for k in rng.permutation(len(phrases))]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1] if len(phrases) > 1 else phrases[0]
