"""The world in time: true optical flow, occlusion, and actions that a single frame does not give away."""

import cmath
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

from helpers.data.scenes import (
    ACTIONS,
    BACKGROUNDS,
    CLASSES,
    Background,
    Clip,
    Light,
    Motion,
    Rules,
    Scene,
    Thing,
    make_clips,
    moved,
    render,
    render_clip,
    sample_action,
)

EVERYTHING = (
    Motion(travel=(0.25, 0.1), turn=0.9, zoom=1.3),
    Motion(travel=(-0.2, 0.0), turn=-1.2, zoom=0.8, pace="speeding"),
    Motion(turn=0.5, start=0.25, stop=0.75, opening=(0.0, 0.3, 0.1)),
)


def busy(kind: str = "clouds") -> Scene:
    things = (
        Thing("star", "red", position=(0.3, 0.4), size=0.2, depth=0.3, material="spotted"),
        Thing("square", "cyan", position=(0.6, 0.5), size=0.18, depth=0.6, angle=0.3, material="striped"),
        Thing("8", "purple", position=(0.5, 0.75), size=0.18, depth=0.5, glyph=4),
    )
    ground = Background(kind, first=(0.9, 0.85, 0.8), second=(0.3, 0.35, 0.4), scale=3.5, angle=0.5, seed=2)
    return Scene(things, ground, Light(exposure=0.95))


def warp_back(frames: Tensor, flow: Tensor) -> Tensor:
    """Frame t + 1 looked up where the flow leads each pixel of frame t."""
    h, w = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    at = torch.stack([(x + flow[:, 0]) * 2 / w - 1, (y + flow[:, 1]) * 2 / h - 1], dim=-1)
    return grid_sample(frames, at, mode="bilinear", padding_mode="border", align_corners=False)


def inner(clip: Clip, margin: int) -> Tensor:
    """Pixels of all frames but the last, at least `margin` away from any outline."""
    ids = clip.instances[:-1, None].float()
    low, high = -max_pool2d(-ids, 2 * margin + 1, 1, margin), max_pool2d(ids, 2 * margin + 1, 1, margin)
    return (low == high)[:, 0]


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_flow_explains_the_next_frame(kind: str) -> None:
    clip = render_clip(busy(kind), EVERYTHING, 6, 192, pan=(0.3, -0.2))
    sure = clip.valid & inner(clip, 2)
    assert sure.float().mean() > 0.75
    still = (clip.video[1:] - clip.video[:-1]).abs().mean(1)

    def error(dx: float, dy: float) -> Tensor:
        off = torch.tensor([dx, dy])[:, None, None]
        return (warp_back(clip.video[1:], clip.flow + off) - clip.video[:-1]).abs().mean(1)

    exact, wrong = error(0, 0), [error(0.5, 0), error(-0.5, 0), error(0, 0.5), error(0, -0.5)]
    for i in range(4):  # the background, and each thing by itself
        region = sure & (clip.instances[:-1] == i)
        assert region.sum() > 1000
        assert exact[region].mean() < 0.02  # what linear interpolation costs; it halves when the size doubles
        if i or kind not in ("plain", "gradient"):
            assert exact[region].mean() < 0.4 * still[region].mean()
            assert all(exact[region].mean() < 0.9 * off[region].mean() for off in wrong)


def test_flow_matches_the_naive_tracking_of_points() -> None:
    """A point of a thing is a complex number z in its frame; it lies at p + s exp(ia) (z -+ opening)."""
    scene, pan, size, frames = busy(), (0.2, 0.1), 64, 5
    clip = render_clip(scene, EVERYTHING, frames, size, pan=pan)
    rng, checked = np.random.default_rng(0), 0

    def pose(i: int, t: int) -> tuple[complex, complex, float]:
        thing = moved(scene.things[i], EVERYTHING[i], t / (frames - 1))
        return complex(*thing.position), thing.size * cmath.exp(1j * thing.angle), thing.opening

    for t in range(frames - 1):
        camera, camera_next = (complex(*pan) * time / (frames - 1) for time in (t, t + 1))
        for i, mask in enumerate(clip.masks[t]):
            pixels = mask.nonzero().tolist()
            for row, column in (pixels[k] for k in rng.choice(len(pixels), 8)):
                centre, spin, opening = pose(i, t)
                z = (complex(column + 0.5, row + 0.5) / size + camera - centre) / spin
                half = 1 if z.real > 0 else -1
                centre, spin, next_opening = pose(i, t + 1)
                there = (centre + spin * (z + half * (next_opening - opening)) - camera_next) * size
                moved_by = there - complex(column + 0.5, row + 0.5)
                truth = torch.tensor([moved_by.real, moved_by.imag])
                torch.testing.assert_close(clip.flow[t, :, row, column], truth, atol=1e-3, rtol=0)
                checked += 1
        ground = clip.flow[t][:, clip.instances[t] == 0]
        torch.testing.assert_close(ground[0], torch.full_like(ground[0], -pan[0] / 4 * size), atol=1e-3, rtol=0)
        torch.testing.assert_close(ground[1], torch.full_like(ground[1], -pan[1] / 4 * size), atol=1e-3, rtol=0)
    assert checked == 4 * 3 * 8


def test_valid_means_seen_again() -> None:
    """Away from outlines a pixel is valid just where its target belongs to the same instance, inside the image."""
    motions = (Motion(travel=(0.4, 0.1)), Motion(travel=(-0.3, 0.1), turn=0.4), Motion(travel=(0.1, -0.3)))
    clip = render_clip(busy(), motions, 4, 160, pan=(0.3, 0.1))
    size = clip.flow.shape[-1]
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    hidden = left = 0
    for t in range(3):
        column, row = (x + clip.flow[t, 0] + 0.5).floor().long(), (y + clip.flow[t, 1] + 0.5).floor().long()
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        ids = clip.instances[t + 1][row.clamp(0, size - 1), column.clamp(0, size - 1)]
        same = inside & (ids == clip.instances[t])
        assert (same == clip.valid[t]).float().mean() > 0.985
        assert (same == clip.valid[t])[inner(clip, 2)[t]].float().mean() > 0.993
        hidden += int((inside & ~clip.valid[t]).sum())
        left += int((~inside & ~clip.valid[t]).sum())
    assert hidden > 500 and left > 500


def test_frames_are_pictures_of_the_moved_scene() -> None:
    scene = busy()
    clip = render_clip(scene, EVERYTHING, 3, 48)
    for t in range(3):
        state = replace(
            scene, things=tuple(moved(thing, m, t / 2) for thing, m in zip(scene.things, EVERYTHING, strict=True))
        )
        picture = render(state, 48)
        assert torch.equal(clip.video[t], picture.image) and torch.equal(clip.instances[t], picture.instances)
        assert torch.equal(clip.boxes[t], picture.boxes) and torch.equal(clip.masks[t], picture.masks)
    assert clip.order.tolist() == [0, 2, 1]
    assert [CLASSES[label] for label in clip.labels] == ["star", "square", "8"]


def test_motion_reads_as_it_says() -> None:
    thing = Thing("disk", "red", position=(0.5, 0.5), size=0.1, angle=0.2)
    motion = Motion(travel=(0.2, -0.1), turn=1.0, zoom=4.0, start=0.5)
    assert moved(thing, motion, 0.0) == moved(thing, motion, 0.5) == thing
    half, end = moved(thing, motion, 0.75), moved(thing, motion, 1.0)
    assert end.position == pytest.approx((0.7, 0.4)) and end.angle == pytest.approx(1.2)
    assert end.size == pytest.approx(0.4) and half.size == pytest.approx(0.2)  # a steady rate
    speeding, slowing = (moved(thing, Motion(travel=(0.4, 0.0), pace=pace), 0.5) for pace in ("speeding", "slowing"))
    assert speeding.position[0] == pytest.approx(0.6) and slowing.position[0] == pytest.approx(0.8)
    assert moved(thing, Motion(opening=(0.0, 0.4)), 0.25).opening == pytest.approx(0.1)


def test_the_frames_of_a_clip_do_not_depend_on_how_many_there_are() -> None:
    few, many = (render_clip(busy(), EVERYTHING, frames, 32) for frames in (3, 9))
    assert torch.equal(few.video, many.video[::4])


def test_an_opened_thing_has_a_gap_as_wide_as_it_says() -> None:
    def row(opening: float) -> Tensor:
        return render(Scene((Thing("square", "red", size=0.25, opening=opening),)), 200).masks[0, 100]

    closed, opened = row(0.0), row(0.4)
    assert closed.sum() == opened.sum() == 70  # 2 x 0.7 x 0.25 x 200: the two halves keep their size
    columns = opened.nonzero().flatten()
    assert columns.diff().max() == 2 * 0.4 * 0.25 * 200 + 1


MOTIONS = [name for name, told_by in ACTIONS.items() if told_by != "appearance"]


def test_the_middle_frame_tells_nothing_about_the_motion() -> None:
    """The strongest form of "a single-frame baseline is at chance": for all motions it is the same frame."""
    for index in range(4):
        middles = [
            render_clip(episode.scene, episode.motions, 5, 32).video[2]
            for episode in (sample_action(5, action, index=index) for action in MOTIONS)
        ]
        for middle in middles[1:]:
            torch.testing.assert_close(middle, middles[0], atol=2e-5, rtol=0)


def test_the_frames_of_a_motion_are_those_of_its_opposite_backwards() -> None:
    """What is to be told is the order of the frames alone, given the same scene and strength."""
    for pair in (("turns clockwise", "turns anticlockwise"), ("approaches", "recedes"), ("moves left", "moves right")):
        forth, back = (sample_action(6, action, index=2) for action in pair)
        forth, back = (render_clip(episode.scene, episode.motions, 5, 32).video for episode in (forth, back))
        torch.testing.assert_close(forth, back.flip(0), atol=2e-4, rtol=0)


def shown(action: str, index: int) -> tuple[Clip, int]:
    """A clip of an action, and which of its things acts."""
    episode = sample_action(7, action, index=index)
    assert ACTIONS[episode.action] == ACTIONS[action] and list(ACTIONS)[episode.label] == action
    acting = [i for i, motion in enumerate(episode.motions) if motion != Motion()]
    assert len(acting) == 1 and len(episode.scene.things) == 2
    return render_clip(episode.scene, episode.motions, 9, 64), acting[0]


@pytest.mark.parametrize("action", ACTIONS)
def test_the_flow_of_an_action_is_what_its_name_says(action: str) -> None:
    for index in range(5):
        clip, actor = shown(action, index)
        assert CLASSES[clip.labels[1 - actor]] not in ("star", "heart")
        assert (CLASSES[clip.labels[actor]] in ("star", "heart")) == action.endswith("drifts")
        means, turning, growing = [], [], []
        for t in range(8):
            mask = clip.masks[t, actor]
            y, x = (v.float() - v.float().mean() for v in mask.nonzero(as_tuple=True))
            dx, dy = clip.flow[t][:, mask]
            means.append(torch.stack([dx.mean(), dy.mean()]))
            turning.append((x * dy - y * dx).mean().item())  # positive: clockwise, since y points down
            growing.append((x * dx + y * dy).mean().item())
        speed = torch.stack(means).norm(dim=1)
        right, down = torch.stack(means).mean(0).tolist()
        rest = clip.flow.movedim(1, -1)[clip.instances[:-1] != actor + 1]
        assert rest.abs().max() < 1e-3  # nothing else moves
        match action:
            case "star drifts" | "heart drifts":
                assert action.startswith(CLASSES[clip.labels[actor]])
            case "turns clockwise" | "turns anticlockwise":
                assert all((value > 0) == (action == "turns clockwise") for value in turning)
            case "approaches" | "recedes":
                assert all((value > 0) == (action == "approaches") for value in growing)
            case "moves left" | "moves right":
                assert (right > 0) == (action == "moves right") and abs(right) > 1 and abs(down) < 1e-3
            case "speeds up" | "slows down":
                assert ((speed.diff() > 0) == (action == "speeds up")).all() and abs(right) > 1 and abs(down) > 1
            case "passes in front" | "passes behind":
                assert clip.order.tolist().index(actor) == (0 if action == "passes in front" else 1)
                assert abs(down) > 1 and abs(right) < 1e-3
            case _:
                areas = clip.masks[:, actor].flatten(1).any(1)
                assert areas.all()
                episode = sample_action(7, action, index=index)
                gaps = [moved(episode.scene.things[actor], episode.motions[actor], t / 8).opening for t in range(9)]
                assert (gaps[0] > 0.3, gaps[4], gaps[8] > 0.3) == (
                    (False, 0, False) if action == "opens then closes" else (True, 0, True)
                )
                assert max(gaps) > 0.3


def test_the_two_things_overlap_in_the_middle() -> None:
    """So that front and behind can be seen, whichever of the two moves."""
    hidden = []
    for index in range(20):
        episode = sample_action(8, "passes behind", index=index)
        things = tuple(moved(*pair, 0.5) for pair in zip(episode.scene.things, episode.motions, strict=True))
        middle = render(replace(episode.scene, things=things), 64)
        hidden.append(1 - middle.visible[episode.scene.near_to_far[1]].item())
        assert middle.masks.flatten(1).sum(1).min() > 10
    assert min(hidden) > 0.05 and max(hidden) < 0.8


def test_clips_come_in_batches() -> None:
    batch = make_clips(15, 24, 5, seed=9, flow=True, pan=0.2)
    assert batch.videos.shape == (15, 5, 3, 24, 24) and batch.flow.shape == (15, 4, 2, 24, 24) and len(batch) == 15
    assert batch.labels.tolist() == [*range(14), 0]
    again, tail = make_clips(15, 24, 5, seed=9, pan=0.2), make_clips(2, 24, 5, seed=9, start=13, flow=True, pan=0.2)
    assert torch.equal(batch.videos, again.videos) and again.flow is None and again.valid is None
    assert torch.equal(batch.videos[13:], tail.videos) and torch.equal(batch.flow[13:], tail.flow)
    assert torch.equal(batch.valid[13:], tail.valid) and batch.captions[13:] == tail.captions
    other = make_clips(15, 24, 5, seed=10)
    assert all(not torch.equal(a, b) for a, b in zip(batch.videos, other.videos, strict=True))
    pair = make_clips(4, 24, 5, actions=["recedes", "approaches"])
    assert [episode.action for episode in pair.episodes] == ["recedes", "approaches"] * 2
    still = make_clips(1, 24, 5, seed=9, flow=True)
    episode = still.episodes[0]
    clip = render_clip(episode.scene, episode.motions, 5, 24)
    assert torch.equal(still.videos[0], clip.video) and torch.equal(still.flow[0], clip.flow)
    assert torch.equal(still.valid[0], clip.valid)


def test_captions_of_clips_name_the_action_and_the_things() -> None:
    batch = make_clips(28, 8, 3, seed=11)
    for text, episode in zip(batch.captions, batch.episodes, strict=True):
        acting = next(i for i, motion in enumerate(episode.motions) if motion != Motion())
        actor, other = episode.scene.things[acting], episode.scene.things[1 - acting]
        assert text.startswith(("a ", "an ")) and f"{actor.colour} {actor.shape} " in text
        assert text.split(f" {actor.shape} ", 1)[1].startswith(episode.action.removeprefix(f"{actor.shape} ")), text
        assert (f"{other.colour} {other.shape}" in text) or not episode.action.startswith("passes")


def test_the_rules_of_scenes_hold_for_clips() -> None:
    rules = Rules(
        shapes=["square", "5"], colours=["green", "blue"], backgrounds=["grass"], combinations=[("5", "blue")]
    )
    for index in range(14):
        episode = sample_action(12, list(ACTIONS)[index], rules, index=index)
        assert episode.scene.background.kind == "grass"
        assert all(
            (thing.shape, thing.colour) == ("5", "blue")
            for thing in episode.scene.things
            if thing.shape != "star" and thing.shape != "heart"
        )
    drawn = {sample_action(13, index=index).action for index in range(120)}
    assert drawn == set(ACTIONS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: render_clip(busy(), EVERYTHING, 1, 32), "frames = 1: motion needs two frames at least"),
        (lambda: render_clip(busy(), EVERYTHING, 3, 4), "size = 4: the world needs 8 pixels"),
        (lambda: render_clip(busy(), EVERYTHING[:2], 3, 32), "2 motions for 3 things: give one each"),
        (
            lambda: render_clip(busy(), EVERYTHING, 3, 32, pan=(0.9, 0.0)),
            r"pan = \(0.9, 0.0\): the camera may look 0.5",
        ),
        (
            lambda: render_clip(busy(), EVERYTHING, 3, 32, pan=(0.0, float("nan"))),
            r"pan = \(0.0, nan\): the camera may look 0.5",
        ),
        (lambda: Motion(zoom=float("nan")), "zoom = nan: give finite numbers"),
        (lambda: Motion(travel=(0.0, float("inf"))), r"travel = \(0.0, inf\): give finite numbers"),
        (lambda: Motion(pace="hasty"), "pace = 'hasty': the world knows even, speeding, slowing"),
        (lambda: Motion(zoom=0.0), "zoom = 0.0: a ratio of sizes is positive"),
        (lambda: Motion(start=0.5, stop=0.5), "start = 0.5, stop = 0.5: need 0 <= start < stop <= 1"),
        (lambda: Motion(opening=(0.0, 0.8)), r"opening = \(0.0, 0.8\): half the gap lies between 0 and 0.6"),
        (lambda: sample_action(0, "sings"), "action = 'sings': the world knows star drifts, heart drifts, turns"),
        (lambda: sample_action(0, rules=Rules(shapes=["star", "heart"])), "shape: none given; choose from disk"),
        (lambda: make_clips(0), "n = 0: a batch holds one element at least"),
        (lambda: make_clips(1, actions=[]), "action: none given; choose from star drifts"),
        (lambda: make_clips(1, pan=0.7), "pan = 0.7: the camera may look between 0 and 0.5 image sides away"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
