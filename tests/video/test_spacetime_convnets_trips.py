"""Trips: brief ones are over before the next slow frame, to the bit; mirrors keep the labels true; networks learn them."""

from collections import Counter
from functools import partial
from random import Random

import pytest
import torch

from helpers.data.scenes import CLASSES, Rules
from helpers.video.spacetime_convnets import (
    BIG,
    LENGTHS,
    WHATS,
    Trips,
    make_trips,
    mirrored_trips,
    pathways,
    slow_places,
    slowfast_small,
)
from helpers.video.spacetime_convnets.experiments import (
    by_way,
    by_what_and_way,
    learn_trips,
    pick,
    steadied,
    way,
    what_and_way,
)
from helpers.video.spacetime_convnets.trips import there_and_back

SIZES = [(8, 4), (16, 4), (32, 8), (9, 3)]  # frames and alpha


def centre(frames: torch.Tensor) -> torch.Tensor:
    """Where what differs much from the corner lies, in pixels right and down."""
    apart = (frames - frames[..., :1, :1]).abs().sum(-3)
    weight = (apart > 0.6 * apart.amax((-2, -1), keepdim=True)).to(frames)
    places = torch.arange(frames.shape[-1], dtype=frames.dtype)
    total = weight.sum((-2, -1))
    return torch.stack([(weight.sum(-2) * places).sum(-1), (weight.sum(-1) * places).sum(-1)], -1) / total[..., None]


@pytest.mark.parametrize("frames, alpha", SIZES)
def test_slow_frames_of_brief_trips_are_equal_to_the_bit(frames, alpha):
    trips = make_trips(8, frames=frames, alpha=alpha, seed=4, lengths=("brief",), twins=True)
    slow, fast = pathways(trips.videos, alpha)
    for first in (0, 4):
        twins = slice(first, first + 4)
        assert trips.way[twins].tolist() == [0, 1, 2, 3]
        assert all(torch.equal(clip, slow[first]) for clip in slow[twins])
        between = [t for t in range(frames) if t not in slow_places(frames, alpha).tolist()]
        apart = torch.pdist(fast[twins][:, :, between].flatten(1)).min()
        assert apart > 0.5  # the other frames tell
    assert not torch.equal(slow[0], slow[4])


def test_slow_frames_of_lasting_trips_tell_the_way():
    trips = make_trips(8, seed=4, lengths=("lasting",), twins=True)
    slow, _ = pathways(trips.videos, 4)
    assert torch.pdist(slow[:4].flatten(1)).min() > 0.5


@pytest.mark.parametrize("length", LENGTHS)
def test_things_go_where_the_label_says(length):
    plain = partial(make_trips, lengths=(length,), far=(0.3, 0.3), twins=True)
    trips = plain(8, size=48, seed=1, rules=Rules(**calm()))
    for video, label in zip(trips.videos, trips.way):
        path = centre(video.double())
        steps = path.diff(dim=0)
        axis, sign = divmod(int(label), 2)
        along = steps[:, axis] * (1 if sign else -1)
        forth = along if length == "lasting" else along[1:-1] if along[0].abs() < 1e-9 else along[:-1]
        assert (forth > 0.5).all() and steps[:, 1 - axis].abs().max() < 0.9
        if length == "brief":
            assert along[-1] < -5 and (path[0] - path[-1]).abs().max() == 0


def test_trips_go_as_far_as_they_are_told():
    """From the least to the most, in image sides; seen in the first and the last of two frames."""
    options = dict(size=48, frames=2, seed=2, lengths=("lasting",), rules=Rules(**calm()))
    path = centre(make_trips(32, far=(0.1, 0.3), **options).videos.double())
    far = (path[:, 1] - path[:, 0]).norm(dim=1) / 48
    assert 0.09 < far.min() < 0.15 and 0.25 < far.max() < 0.31
    assert far.mean().item() == pytest.approx(0.2, abs=0.04)


def test_lasting_trips_are_at_home_in_the_middle():
    """Of three frames the second is one and the same for all four ways, the first and the last are not."""
    videos = make_trips(4, frames=3, seed=4, lengths=("lasting",), twins=True).videos
    assert all(torch.equal(video[1], videos[0, 1]) for video in videos)
    for end in (0, 2):
        assert torch.pdist(videos[:, end].flatten(1)).min() > 0.5


def test_brief_trips_lie_between_any_two_slow_frames():
    """Of 16 frames 0, 5, 10 and 15 are slow: a trip begins behind one of the first three, each alike often."""
    begins = Counter()
    for seed in range(300):
        steps = there_and_back(16, 4, Random(seed))
        assert len(steps) == 16 and max(steps) == 1
        begins[next(t for t, step in enumerate(steps) if step) - 1] += 1
    assert set(begins) == {0, 5, 10} and min(begins.values()) > 70


def calm() -> dict:
    """Rules of one flat ground, where a thing is what differs from the corner."""
    return dict(shapes=WHATS, colours=("red", "blue"), sizes=("large",), materials=("plain",), backgrounds=("plain",))


def test_labels_are_balanced_and_clips_deterministic():
    trips = make_trips(32, size=8, seed=3)
    counts = Counter(zip(*(part.tolist() for part in trips[1:])))
    assert len(counts) == 32 and set(counts.values()) == {1}
    again = make_trips(8, size=8, seed=3)
    assert all(torch.equal(a[:8], b) for a, b in zip(trips, again))
    assert not torch.equal(trips.videos[:8], make_trips(8, size=8, seed=5).videos)
    scenes = make_trips(16, size=8, seed=3, lengths=("brief",)).videos[:, 0]
    assert torch.pdist(scenes.flatten(1)).min() > 0  # a scene of its own for each
    assert BIG.shapes == WHATS and set(WHATS) <= set(CLASSES)


def test_mirrors_keep_labels_true():
    """A mirrored clip's label says where its thing goes, and every way turns up."""
    trips = make_trips(16, size=48, seed=1, lengths=("lasting",), far=(0.3, 0.3), rules=Rules(**calm()))
    draw = torch.Generator().manual_seed(0)
    changed = 0
    for _ in range(4):
        seen = mirrored_trips(trips, draw)
        changed += int((seen.way != trips.way).sum())
        for video, label in zip(seen.videos, seen.way):
            path = centre(video.double())
            axis, sign = divmod(int(label), 2)
            assert ((path[-1] - path[0])[axis] > 5) == bool(sign)
        assert torch.equal(seen.what, trips.what) and torch.equal(seen.length, trips.length)
    assert 16 < changed < 48


def test_judges():
    ways, lengths, whats = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1]), torch.tensor([3, 2, 1, 0])
    trips = Trips(torch.zeros(4, 2, 3, 8, 8), ways, lengths, whats)
    assert way(trips).tolist() == [0, 1, 2, 3] and what_and_way(trips).tolist() == [12, 9, 6, 3]
    assert by_way(torch.tensor([0, 1, 2, 0]), trips) == {"way": 0.75}
    found = by_what_and_way(torch.tensor([12, 8, 2, 0]), trips)
    assert found == {"what": 0.75, "way": 0.5, "both": 0.25}


def test_slow_pathway_alone_is_at_chance_on_brief_trips(unchecked):
    """Whatever it has learned: one answer for four twins, of which one at most is right."""
    torch.manual_seed(0)
    network = slowfast_small(width=8, beta=2, depths=(1, 1), classes=4, fast=False)
    trips = make_trips(32, seed=3, lengths=("brief",), twins=True)
    learn_trips(network, trips, trips, 8, label=way, judge=by_way, run=0, every=8, rate=1e-2)
    clips = trips.videos.unflatten(0, (-1, 4))
    with torch.no_grad():
        scores = [network(steadied(clips[:, i])) for i in range(4)]
    assert all(torch.equal(scores[0], other) for other in scores)
    assert by_way(pick(network, clips[:, 0]).repeat_interleave(4), trips) == {"way": 0.25}


def test_what_centres_a_clip_tells_nothing_of_other_frames():
    videos = make_trips(4, seed=3, lengths=("brief",), twins=True).videos
    seen = steadied(videos)
    assert (seen[:, 0] == seen[:1, 0]).all() and (seen[:, -1] == seen[:1, -1]).all()
    torch.testing.assert_close(seen[:, 0].mean((2, 3)), torch.zeros(4, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.diff(dim=1), 5 * videos.diff(dim=1), rtol=0, atol=1e-5)  # five times as strong


def test_learns_brief_trips(unchecked):
    """Left against right, told by the fast pathway; sixteen clips by heart would not do, for the test clips are others."""
    torch.manual_seed(0)
    train = make_trips(256, size=16, seed=0, lengths=("brief",), far=(0.3, 0.3))
    test = make_trips(64, size=16, seed=1, lengths=("brief",), far=(0.3, 0.3))
    sideways = [Trips(*(part[trips.way < 2] for part in trips)) for trips in (train, test)]
    network = slowfast_small(width=8, beta=2, depths=(1,), classes=4)
    history = learn_trips(network, *sideways, 120, label=way, judge=by_way, run=0, every=60, rate=1e-2)
    assert max(history["learning rate"]) == history["learning rate"][15] == 1e-2  # an eighth of the steps
    assert history.steps("test way").tolist() == [60, 120]
    assert history["test way"][-1] > 0.9


def test_bad_input():
    with pytest.raises(ValueError, match=r"lengths = \['long'\]: choose some of"):
        make_trips(4, seed=0, lengths=("long",))
    with pytest.raises(ValueError, match="8 frames, alpha = 1: no two slow frames have another between"):
        make_trips(4, seed=0, alpha=1, lengths=("brief",))
    with pytest.raises(ValueError, match="clips of 9 frames, alpha = 4: give a multiple"):
        make_trips(4, seed=0, frames=9, lengths=("brief",))
    with pytest.raises(ValueError, match="far = "):
        make_trips(4, seed=0, far=(0.4, 0.2))
    with pytest.raises(ValueError, match="n = 0"):
        make_trips(0, seed=0)
    with pytest.raises(ValueError, match="frames = 1: a trip takes 2"):
        make_trips(4, frames=1, seed=0)
    with pytest.raises(ValueError, match="n = 6 with twins: a multiple of 4"):
        make_trips(6, seed=0, lengths=("brief",), twins=True)


def test_what_a_network_picks(unchecked):
    """In evaluation, and each module goes on as it was."""
    torch.manual_seed(0)
    network, videos = slowfast_small(width=8, beta=2, depths=(1,), classes=4), make_trips(8, seed=3, size=16).videos
    expected = pick(network.eval(), videos)
    network.train().blocks[0].eval()
    assert torch.equal(pick(network, videos), expected)
    assert network.training and network.blocks[1].training and not network.blocks[0].training
    network.blocks[-1].proj.bias.data[1] = torch.nan
    with pytest.raises(ValueError, match="scores: 8 of 32 are no finite numbers; it has diverged"):
        pick(network, videos)
