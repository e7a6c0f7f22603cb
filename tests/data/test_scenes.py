"""The still world: what is drawn is what the scene says, at any size, from the seed alone, and captions tell the truth."""

import math
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.ndimage import label as connected
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import avg_pool2d

from helpers.data.scenes import (
    BACKGROUNDS,
    CLASSES,
    COLOURS,
    DIGITS,
    MATERIALS,
    Background,
    Light,
    Rules,
    Scene,
    Thing,
    caption,
    describe,
    make_scenes,
    relations,
    render,
    sample_scene,
    split_combinations,
)
from helpers.data.scenes.shapes import signed_distance

BUSY = Rules(count=(2, 5), min_visible=0.4)


def test_a_seed_gives_the_same_world_and_another_seed_another() -> None:
    once, again, other = (make_scenes(6, 24, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(once.images, again.images) and once.captions == again.captions
    assert once.scenes == again.scenes
    assert all(not torch.equal(a, b) for a, b in zip(once.images, other.images, strict=True))
    assert all(not torch.equal(a, b) for a, b in combinations(once.images, 2))  # and each index another scene


def test_a_stream_can_be_cut_anywhere() -> None:
    whole, tail = make_scenes(6, 24, seed=7), make_scenes(2, 24, seed=7, start=4)
    assert torch.equal(whole.images[4:], tail.images)
    assert whole.captions[4:] == tail.captions and whole.scenes[4:] == tail.scenes
    assert all(torch.equal(a, b) for a, b in zip(whole.boxes[4:], tail.boxes, strict=True))
    assert sample_scene(7, index=5) == whole.scenes[5]


@pytest.mark.parametrize("shape", CLASSES)
def test_shapes_stay_in_the_unit_disk_and_fill_it(shape: str) -> None:
    grid = np.linspace(-1.2, 1.2, 241, dtype=np.float32)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    for glyph in range(3):
        inside = signed_distance(shape, glyph, x, y) < 0
        reach = np.hypot(x, y)[inside].max()
        assert 0.85 < reach <= 1.01
        assert 0.08 < inside.mean() * 2.4**2 / math.pi < 0.8  # of the disk's area


def test_digits_are_in_one_piece_with_their_holes_open() -> None:
    """Too much ink would close the holes of 0, 6, 8 and 9; too little would break the strokes."""
    pieces, holes = [], {}
    for digit in DIGITS:
        masks = [render(Scene((Thing(digit, "red", glyph=g, size=0.5),)), 64).masks[0] for g in range(0, 170, 14)]
        pieces += [connected(mask, np.ones((3, 3)))[1] for mask in masks]
        holes[digit] = np.mean([connected(~mask)[1] - 1 for mask in masks])
    assert np.mean(np.array(pieces) == 1) > 0.95
    assert all(holes[digit] > 0.75 for digit in "069") and holes["8"] > 1.3, holes
    assert all(holes[digit] < 0.2 for digit in "12357"), holes


def test_the_star_has_its_tips_where_geometry_says() -> None:
    def at(angle: float, radius: float) -> float:
        return signed_distance("star", 0, np.array([radius * math.sin(angle)]), np.array([-radius * math.cos(angle)]))[
            0
        ]

    for k in range(5):
        assert at(k * 2 * math.pi / 5, 1.0) == pytest.approx(0, abs=1e-6)  # tip, the first one up
        assert at((k + 0.5) * 2 * math.pi / 5, 0.46) == pytest.approx(0, abs=1e-6)  # notch


def test_boxes_are_tight_around_visible_masks() -> None:
    for i in range(20):
        picture = render(sample_scene(1, BUSY, index=i), 48)
        for mask, (x1, y1, x2, y2) in zip(picture.masks, picture.boxes.long().tolist(), strict=True):
            crop = mask[y1:y2, x1:x2]
            assert crop.sum() == mask.sum() > 0  # nothing outside
            assert crop[0].any() and crop[-1].any() and crop[:, 0].any() and crop[:, -1].any()  # no empty border


def test_masks_are_disjoint_and_agree_with_instances_and_depth() -> None:
    hidden = 0
    for i in range(20):
        scene = sample_scene(2, BUSY, index=i)
        picture = render(scene, 48)
        assert picture.masks.sum(0).max() <= 1
        ids = torch.arange(1, len(scene.things) + 1)[:, None, None]
        assert torch.equal((picture.masks * ids).sum(0), picture.instances)
        # Each thing alone, laid over one another from far to near.
        alone = [render(replace(scene, things=(thing,)), 48).masks[0] for thing in scene.things]
        expected = torch.zeros(48, 48, dtype=torch.long)
        for k in sorted(range(len(alone)), key=lambda k: -scene.things[k].depth):
            expected[alone[k]] = k + 1
        assert torch.equal(expected, picture.instances)
        visible = torch.stack([(expected[mask] == k + 1).float().mean() for k, mask in enumerate(alone)])
        torch.testing.assert_close(picture.visible, visible)
        hidden += int((visible < 1).sum())
    assert hidden > 5  # or the test has not seen an overlap


def test_labels_and_semantic_map() -> None:
    scene = sample_scene(3, Rules(count=3))
    picture = render(scene, 64)
    assert [CLASSES[label] for label in picture.labels] == [thing.shape for thing in scene.things]
    for mask, label in zip(picture.masks, picture.labels, strict=True):
        assert (picture.semantic[mask] == label + 1).all()
    assert (picture.semantic[picture.instances == 0] == 0).all()
    batch = make_scenes(3, 32, seed=3, rules=BUSY)
    for i, scene in enumerate(batch.scenes):
        picture = render(scene, 32)
        assert torch.equal(batch.semantic[i], picture.semantic) and torch.equal(batch.masks(i), picture.masks)
        assert torch.equal(batch.boxes[i], picture.boxes) and torch.equal(batch.visible[i], picture.visible)


def test_a_wholly_hidden_thing_has_no_box() -> None:
    behind, before = Thing("star", "red", size=0.1, depth=0.9), Thing("square", "blue", size=0.3, depth=0.1)
    picture = render(Scene((behind, before)), 32)
    assert picture.boxes[0].tolist() == [0, 0, 0, 0] and picture.visible.tolist() == [0, 1]


def test_the_same_scene_at_two_sizes() -> None:
    for i, kind in enumerate(BACKGROUNDS):
        scene = sample_scene(4, Rules(count=3, backgrounds=[kind]), index=i)
        small, large = render(scene, 64), render(scene, 384)
        error = (avg_pool2d(large.image, 6) - small.image).abs().amax(0)
        share = avg_pool2d(large.masks.float(), 6)
        ground, inside = share.sum(0) == 0, share.amax(0) == 1
        assert error[ground].mean() < 0.001, kind
        assert error[inside].mean() < 0.02, kind
        assert error[~ground & ~inside].mean() < 0.035, kind
        assert ((share > 0.5) != small.masks).float().mean() < 0.005
        torch.testing.assert_close(large.boxes / 6, small.boxes, atol=1.6, rtol=0)


def test_images_are_finite_textures_in_range() -> None:
    batch = make_scenes(16, 32, seed=5)
    assert batch.images.dtype == torch.float32 and batch.images.min() >= 0 and batch.images.max() <= 1
    for kind in BACKGROUNDS:
        ground = Background(kind, first=(1.0, 1.0, 1.0), second=(0.0, 0.0, 0.0))
        spread = render(Scene((), ground), 64).image.std()
        assert spread == 0 if kind == "plain" else spread > 0.1, kind
    plain, *patterned = (
        render(Scene((Thing("square", "blue", size=0.5, material=material),)), 64).image for material in MATERIALS
    )
    assert all((image - plain).abs().mean() > 0.02 for image in patterned)


def test_colours_have_one_name_each() -> None:
    """In every material and light the mean colour of a thing is nearest, in CIELAB, to the colour of its name."""
    from skimage.color import rgb2lab

    names, palette = list(COLOURS), rgb2lab(np.array(list(COLOURS.values()))[None])[0]
    wrong = []
    for i in range(150):
        scene = sample_scene(6, Rules(count=1, sizes=["large"]), index=i)
        picture = render(scene, 48)
        mean = rgb2lab(picture.image[:, picture.masks[0]].T.numpy()[None])[0].mean(0)
        nearest = names[int(np.linalg.norm(palette - mean, axis=1).argmin())]
        wrong += [scene.things[0]] if nearest != scene.things[0].colour else []
    assert len(wrong) <= 1, wrong


def test_the_palette_is_fit_for_the_colour_blind() -> None:
    """Any two colours stay at least 12 CIEDE2000 apart in the simulations of Machado et al. 2009 (severity 1)."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    simulations = {
        "normal": np.eye(3),
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "tritanopia": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    }
    colours = np.array(list(COLOURS.values()))
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for name, matrix in simulations.items():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = rgb2lab(seen[None])[0]
        assert min(deltaE_ciede2000(lab[a], lab[b]) for a, b in combinations(range(len(lab)), 2)) > 12, name


def test_rules_are_kept() -> None:
    rules = Rules(
        count=(2, 3),
        shapes=["star", "4", "ring"],
        colours=["red", "cyan"],
        materials=["plain", "spotted"],
        sizes=["small", "large"],
        backgrounds=["clouds", "brick"],
        min_visible=0.7,
        writers="test",
    )
    seen = set()
    for i in range(60):
        scene = sample_scene(8, rules, index=i)
        assert 2 <= len(scene.things) <= 3
        assert scene.background.kind in rules.backgrounds
        for thing in scene.things:
            assert thing.shape in rules.shapes and thing.colour in rules.colours and thing.material in rules.materials
            assert thing.size_name in rules.sizes and abs(thing.angle) <= rules.tilt
            assert thing.size <= min(thing.position) and max(thing.position) <= 1 - thing.size  # wholly in the image
            assert thing.shape != "4" or thing.glyph % 5 == 0
            seen.add((thing.shape, thing.colour, thing.material, thing.size_name))
        if i < 20:
            assert render(scene, 96).visible.min() > 0.65
    assert len(seen) == 3 * 2 * 2 * 2  # everything allowed occurs
    train = [t for i in range(40) for t in sample_scene(8, Rules(shapes=DIGITS, writers="train"), index=i).things]
    assert all(thing.glyph % 5 for thing in train)
    assert all(
        render(sample_scene(9, Rules(count=4, min_visible=1.0), index=i), 48).visible.min() > 0.97 for i in range(5)
    )


def test_held_out_combinations_never_occur() -> None:
    seen, held = split_combinations(held_out=0.25, seed=1)
    assert not seen & held and len(seen | held) == len(CLASSES) * len(COLOURS)
    assert len(held) == round(0.25 * len(CLASSES) * len(COLOURS))
    # Each shape and each colour is held out about equally often, so that no class or colour becomes rare.
    for axis, names in ((0, CLASSES), (1, COLOURS)):
        counts = [sum(pair[axis] == name for pair in held) for name in names]
        assert max(counts) - min(counts) <= 2 and min(counts) > 0
    assert split_combinations(held_out=0.25, seed=1) == (seen, held) != split_combinations(held_out=0.25, seed=2)
    for combos in (seen, held):
        drawn = {
            (thing.shape, thing.colour)
            for i in range(80)
            for thing in sample_scene(10, Rules(combinations=combos), index=i).things
        }
        assert drawn <= combos and len(drawn) > 30


PHRASE = re.compile(
    rf"(a|an|two|three|four|five) (?:(small|large) )?(?:(striped|spotted|checked) )?({'|'.join(COLOURS)}) "
    rf"({'|'.join(CLASSES)})(es|s)?"
)
NUMBER = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5}


def parse(phrase: str) -> tuple[int, dict[str, str]]:
    """Number and stated attributes of a noun phrase; fails on bad grammar."""
    match = PHRASE.fullmatch(phrase)
    assert match, phrase
    number, size, material, colour, shape, plural = match.groups()
    assert (NUMBER[number] > 1) == (plural is not None), phrase
    assert plural is None or (plural == "es") == (shape == "cross"), phrase
    following = phrase.split()[1]
    assert number not in ("a", "an") or (number == "an") == (following[0] in "aeiou"), phrase
    stated = {"size_name": size, "material": material, "colour": colour, "shape": shape}
    return NUMBER[number], {name: value for name, value in stated.items() if value}


def fits(thing: Thing, stated: dict[str, str]) -> bool:
    return all(getattr(thing, name) == value for name, value in stated.items())


def related(scene: Scene, i: int, relation: str, j: int) -> bool:
    (x, y), (other_x, other_y) = scene.things[i].position, scene.things[j].position
    match relation:
        case "to the left of":
            return x < other_x - 0.1 and other_x - x > abs(y - other_y)
        case "to the right of":
            return related(scene, j, "to the left of", i)
        case "above":
            return y < other_y - 0.1 and other_y - y > abs(x - other_x)
        case "below":
            return related(scene, j, "above", i)
        case "behind":
            pair = replace(scene, things=(scene.things[i], scene.things[j]))
            return render(pair, 128).visible[0].item() < 1
        case _:
            return related(scene, j, "behind", i)


def test_captions_tell_the_truth_in_english() -> None:
    kinds = {"relation": 0, "list": 0, "count": 0, "place": 0, "there": 0}
    said = set()
    for i in range(180):
        scene = sample_scene(
            11, Rules(count=(1, 4), min_visible=0.5, shapes=["cross", "star", "8"], colours=["orange", "blue"]), index=i
        )
        text = caption(scene, seed=i)
        assert text == caption(scene, seed=i) and text == text.strip() and "  " not in text
        body = re.sub(r"^(a picture of|an image of|a drawing of|there is|there are) ", "", text)
        if text.startswith("there"):
            kinds["there"] += 1
            assert text.startswith("there is") == body.startswith(("a ", "an ")), text
        relation = re.search(r" (to the left of|to the right of|above|below|in front of|behind) ", body)
        where = re.search(r" (in the centre|(?:at|on) the (?:top|bottom|left|right)(?: left| right)?)$", body)
        if relation:
            kinds["relation"] += 1
            said.add(relation[1])
            ones = [parse(body[: relation.start()]), parse(body[relation.end() :])]
            assert [number for number, _ in ones] == [1, 1]
            assert any(
                fits(a, ones[0][1]) and fits(b, ones[1][1]) and related(scene, k, relation[1], m)
                for k, a in enumerate(scene.things)
                for m, b in enumerate(scene.things)
                if k != m
            ), text
            continue
        if where:
            kinds["place"] += 1
            x, y = scene.things[0].position
            words = where[1].split()
            assert ("left" in words) == (x < 0.4) and ("right" in words) == (x > 0.6), text
            assert ("top" in words) == (y < 0.4) and ("bottom" in words) == (y > 0.6), text
            body = body[: where.start()]
        slots = [parse(phrase) for phrase in re.split(r", | and ", body)]
        assert body.count(" and ") == (len(slots) > 1)
        kinds["count"] += any(number > 1 for number, _ in slots)
        kinds["list"] += 1
        slots = [stated for number, stated in slots for _ in range(number)]
        assert len(slots) == len(scene.things), text  # nothing left out, nothing added
        misfit = np.array([[not fits(thing, stated) for thing in scene.things] for stated in slots])
        assert misfit[linear_sum_assignment(misfit)].sum() == 0, text
    assert min(kinds.values()) >= 5, kinds
    assert len(said) == 6, said


def test_captions_vary_with_their_seed() -> None:
    scene = sample_scene(12, Rules(count=3))
    assert len({caption(scene, seed=i) for i in range(30)}) > 10


def test_relations_of_a_known_scene() -> None:
    scene = Scene(
        (
            Thing("disk", "red", position=(0.2, 0.5), size=0.15, depth=0.2),
            Thing("square", "blue", position=(0.8, 0.5), size=0.15, depth=0.1),
            Thing("ring", "pink", position=(0.25, 0.7), size=0.15, depth=0.8),
        )
    )
    assert set(relations(scene)) == {
        (0, "to the left of", 1),
        (1, "to the right of", 0),
        (0, "above", 2),
        (2, "below", 0),
        (0, "in front of", 2),
        (2, "behind", 0),
        (1, "to the right of", 2),
        (2, "to the left of", 1),
    }
    assert describe(scene.things[0], size=False) == "a red disk"
    assert (
        describe(Thing("cross", "orange", size=0.1, material="spotted"), count=2) == "two small spotted orange crosses"
    )
    assert describe(Thing("7", "orange", size=0.15)) == "an orange 7"


def test_size_words_leave_no_doubt() -> None:
    for i in range(60):
        for thing in sample_scene(13, index=i).things:
            radius = thing.size
            assert thing.size_name == ("small" if radius <= 0.12 else "large" if radius >= 0.19 else "medium")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: render(sample_scene(0), 7), "size = 7: the world needs 8 pixels"),
        (lambda: make_scenes(0), "n = 0: a batch holds one element at least"),
        (lambda: Rules(count=0), "count = 0: a number of things from 1 on"),
        (lambda: Rules(count=(3, 2)), r"count = \(3, 2\): .* \(lowest, highest\)"),
        (lambda: Rules(shapes=["blob"]), "shape = 'blob': the world knows disk, square, .*, 9"),
        (lambda: Rules(shapes=[]), "shape: none given; choose from disk"),
        (lambda: Rules(colours=["mauve"]), "colour = 'mauve': the world knows red, orange"),
        (lambda: Rules(materials=["wood"]), "material = 'wood': the world knows plain"),
        (lambda: Rules(sizes=["huge"]), "size = 'huge': the world knows small"),
        (lambda: Rules(backgrounds=["sea"]), "background = 'sea': the world knows plain"),
        (lambda: Rules(writers="mine"), "writers = 'mine': the world knows all, train, test"),
        (lambda: Rules(min_visible=0.0), "min_visible = 0.0: a fraction above 0"),
        (lambda: Rules(combinations=[("disk", "mauve")]), "colour = 'mauve'"),
        (lambda: Rules(shapes=["disk"], combinations=[("ring", "red")]), "combinations: no pair has one of the shapes"),
        (lambda: Thing("blob", "red"), "shape = 'blob': the world knows"),
        (lambda: Thing("disk", "mauve"), "colour = 'mauve': the world knows"),
        (lambda: Thing("disk", "red", size=0.0), "size = 0.0: the radius of a thing is positive"),
        (lambda: Thing("disk", "red", opening=0.7), "opening = 0.7: half the gap lies between 0 and 0.6"),
        (lambda: Thing("3", "red", glyph=9999), "glyph = 9999: there are 183 scans of the digit 3"),
        (lambda: Thing("star", "red", size=math.nan), "size = nan: give finite numbers"),
        (lambda: Thing("star", "red", position=(0.5, math.inf)), r"position = \(0.5, inf\): give finite numbers"),
        (lambda: Light(falloff=math.nan), "falloff = nan: give finite numbers"),
        (lambda: Rules(tilt=math.nan), "tilt = nan: give finite numbers"),
        (lambda: Background(scale=0.0), "scale = 0.0: the periods along a side are a positive number"),
        (lambda: Background("sea"), "background = 'sea': the world knows plain"),
        (lambda: sample_scene(-1), "seed = -1, index = 0: both are integers from 0 on"),
        (
            lambda: sample_scene(0, Rules(count=30, sizes=["large"])),
            "count = 30: so many things found no room .* fewer, for small ones, or for a lower min_visible",
        ),
        (lambda: split_combinations(held_out=0.0), "held_out = 0.0: .* holds out 0 pairs"),
        (lambda: split_combinations(held_out=1.0), "leaves every shape and colour in training"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("angle, brighter", [(0.0, "right"), (0.5, "bottom"), (1.0, "left"), (1.5, "top")])
def test_light_falls_from_the_side_of_its_angle(angle: float, brighter: str) -> None:
    """Angles are clockwise as seen, in units of π here; the middle keeps its brightness."""
    ground, thing = Background("plain", first=(0.5, 0.5, 0.5)), Thing("disk", "red", position=(0.5, 0.5), size=0.05)
    light = Light(falloff=0.25, angle=angle * math.pi)
    image = render(Scene((thing,), ground, light), 32).image
    sides = {"right": image[:, :, -1], "bottom": image[:, -1], "left": image[:, :, 0], "top": image[:, 0]}
    level = {side: values.mean().item() for side, values in sides.items()}
    assert max(level, key=level.get) == brighter
    assert level[brighter] == pytest.approx(0.5 * (1 + 0.25 * 31 / 64), abs=1e-4)
    assert (level["right"] + level["left"]) / 2 == pytest.approx(0.5, abs=1e-4)
