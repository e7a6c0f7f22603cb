"""What the chapter does with all its networks alike: clips, mirrors, learning, counting, the page at GPU size."""

from math import cos, pi

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.data.scenes import ACTIONS, make_clips
from helpers.ledger import over_seeds
from helpers.video import optical_flow as of
from helpers.video.optical_flow import experiments
from helpers.video.optical_flow.experiments import (
    AXES,
    CALM,
    FEW,
    PAIRS,
    Clips,
    Comparison,
    along_paths,
    answer,
    answers,
    by_kind,
    centred,
    changes_of,
    confusion,
    draw_clips,
    even_changes,
    find_flow,
    fuse,
    learn,
    learn_shapes,
    left_by_warping,
    middle,
    mirrored,
    relit,
    stacked,
    summed,
    taught,
    teach_changes,
    teach_flow,
    teach_frames,
    teach_other_starts,
    true_flow,
)
from helpers.video.optical_flow.figures import (
    bars,
    disparities,
    flows_side_by_side,
    right_bars,
    same_middle,
    two_lights,
    two_streams,
)
from helpers.video.optical_flow.frames import FrameMean, frame_net, with_head_start
from tools.notebooks import BOOK

NAMES = list(ACTIONS)


@pytest.fixture(scope="module")
def clips():
    return draw_clips(16, 16, 5, seed=3, actions=FEW, levels=1, steps=1)


def test_clips_are_those_of_the_book(clips):
    theirs = make_clips(16, 16, 5, seed=3, actions=FEW, rules=CALM, flow=True)
    assert torch.equal(clips.videos, theirs.videos) and torch.equal(clips.labels, theirs.labels)
    assert torch.equal(true_flow(3, 16, 5, seed=3, actions=FEW), theirs.flow[:3])
    assert {ACTIONS[NAMES[i]] for i in clips.labels.tolist()} == set(of.KINDS)


def test_flow_leads_from_each_frame_to_the_next(clips):
    flow = find_flow(clips.videos, levels=1, steps=1)
    assert_close(flow, clips.flow)
    alone = of.lucas_kanade(clips.videos[:, 2], clips.videos[:, 3], levels=1, steps=1)
    assert_close(flow[:, 2], alone)


@pytest.mark.parametrize("mirror", AXES)
def test_mirrors(mirror, clips):
    """Twice is as before; the flow of the mirrored clip is the mirrored flow."""
    videos, flow, labels = mirrored(clips.videos, clips.flow, clips.labels, mirror)
    back = mirrored(videos, flow, labels, mirror)
    for new, old in zip(back, (clips.videos, clips.flow, clips.labels), strict=True):
        assert torch.equal(new, old)
    again = find_flow(videos, levels=1, steps=1)
    if mirror == "backwards":
        off = (again - flow).norm(dim=2).mean() / (again.norm(dim=2).mean() + flow.norm(dim=2).mean())
        assert off < 0.4  # and 1 would be the sign forgotten
    else:
        assert_close(again, flow, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("mirror", AXES)
def test_mirrored_clips_have_the_label_of_the_opposite(mirror):
    opposite = {a: b for pair in PAIRS[mirror] for a, b in (pair, pair[::-1])}
    n = len(NAMES)
    *_, labels = mirrored(torch.zeros(n, 2, 3, 4, 4), torch.zeros(n, 1, 2, 4, 4), torch.arange(n), mirror)
    assert [NAMES[label] for label in labels] == [opposite.get(name, name) for name in NAMES]


def test_networks_see_each_mirror_half_of_the_time():
    """A flow down to the right, of 16 clips in 40 steps: it comes in all four directions, alike often."""
    seen = []

    def look(videos, flow):
        seen.append(flow.mean((1, 3, 4)).sign())
        return flow

    clips = of.experiments.Clips(torch.rand(16, 3, 3, 4, 4), torch.zeros(16).long(), torch.ones(16, 2, 2, 4, 4))
    learn(nn.Sequential(nn.Flatten(), nn.Linear(64, 14)), look, clips, 40, run=0)
    assert max(len(batch.unique(dim=0)) for batch in seen) == 4  # each clip by itself
    seen = torch.cat(seen)
    for direction in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        share = (seen == torch.tensor(direction)).all(1).double().mean()
        assert abs(share - 0.25) < 0.07  # four standard deviations of 640


def test_the_rate_rises_over_an_eighth_and_falls_to_nothing(monkeypatch):
    histories = []
    recipe = experiments.train
    monkeypatch.setattr(experiments, "train", lambda *one, **more: histories.append(recipe(*one, **more)))
    loss = lambda network, batch: network(batch[0]).square().mean()  # noqa: E731
    network = taught(nn.Linear(1, 1), loss, (torch.rand(8, 1),), 80, rate=0.2, batch_size=4, seed=0)
    rise = [0.02 * i for i in range(10)]
    rates = histories[0]["learning rate"].tolist()
    assert rates == pytest.approx([*rise, *(0.1 * (1 + cos(pi * i / 70)) for i in range(70))])
    assert not network.training


def test_mirrors_turn_actions_into_their_opposites():
    """By the true flow: what goes right goes left, what grows shrinks, what turns one way turns the other."""
    y, x = torch.meshgrid(*2 * [torch.arange(48.0) - 23.5], indexing="ij")

    def signs(flow, valid):
        """Whether it goes right, grows and turns clockwise, of the flow's mean, divergence and curl about its centre."""
        u, v = (flow * valid[:, None]).unbind(1)
        size = (flow.norm(dim=1) > 0) * valid
        n = size.sum((1, 2)).clamp(min=1)
        cx, cy = ((size * axis).sum((1, 2)) / n for axis in (x, y))
        dx, dy = x - cx[:, None, None], y - cy[:, None, None]
        return torch.stack([u.sum(), (dx * u + dy * v).sum(), (dx * v - dy * u).sum()])

    for a, b, which in (("moves right", "moves left", 0), ("approaches", "recedes", 1)):
        for name, sign in ((a, 1), (b, -1)):
            clip = make_clips(1, 48, 5, seed=1, actions=[name], rules=CALM, flow=True)
            assert signs(clip.flow[0], clip.valid[0])[which] * sign > 0
    for mirror, pairs in PAIRS.items():
        assert ("moves left", "moves right") in pairs or mirror == "upside down"
        assert ("turns clockwise", "turns anticlockwise") in pairs  # each mirror reverses a turn
        assert ("approaches", "recedes") not in pairs or mirror == "backwards"
        assert not any("opens" in name or "passes" in name for pair in pairs for name in pair)


def test_centred_and_middle(clips):
    x = centred(clips.videos, clips.flow)
    assert_close(x.mean((1, 3, 4)), torch.zeros(16, 3), atol=1e-5, rtol=0)
    frame = middle(clips.videos, clips.flow)
    assert frame.shape == (16, 3, 16, 16)
    other = clips.videos.clone()
    other[:, [0, 1, 3, 4]] = 0  # the other frames do not count
    assert torch.equal(middle(other, clips.flow), frame)


def test_frame_mean(unchecked):
    net = FrameMean(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))).eval()
    videos = torch.rand(4, 5, 3, 4, 4)
    assert_close(net(videos), torch.stack([net.network(x) for x in videos.unbind(1)]).mean(0))
    assert_close(net(videos.flip(1)), net(videos))
    drawn = net.train()(videos)
    each = torch.stack([net.network(x) for x in videos.unbind(1)], 1)
    assert all(any(torch.allclose(row, one) for one in rows) for row, rows in zip(drawn, each, strict=True))


def test_learn_and_answer(clips):
    """A linear layer on the mean flow learns more than chance within some steps; the same run gives the same."""
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(2 * 4 * 16, 14))
        net = learn(net, lambda videos, flow: of.stack_flow(flow), clips, 60, run=1, rate=2e-2)
        assert not net.training
        found.append(answer(net, lambda videos, flow: of.stack_flow(flow), clips))
    assert torch.equal(*found)
    assert by_kind(found[0].argmax(1), clips.labels)["all"] > 0.3


def test_by_kind(unchecked):
    labels = torch.tensor([NAMES.index(n) for n in ("star drifts", "moves left", "moves right", "opens then closes")])
    picked = labels.clone()
    picked[2] = 0
    assert by_kind(picked, labels) == {"all": 0.75, "appearance": 1.0, "motion": 0.5, "order": 1.0}
    assert by_kind(picked[1:3], labels[1:3]) == {"all": 0.5, "motion": 0.5}  # no share of no clip
    for few in (picked[:2], picked[:0]):
        with pytest.raises(ValueError, match="answers, .* labels: give one each"):
            by_kind(few, labels if len(few) else labels[:0])


def test_the_page_begins_at_gpu_size(unchecked):
    """Its own cells film clips of 64 pixels and 17 frames and take a few steps with each input."""
    notebook = nbformat.read(BOOK / "video" / "optical_flow.ipynb", 4)
    cells = [c.source for c in notebook.cells if c.cell_type == "code"]

    def by_scale(_, *, lecture, gpu):
        if isinstance(gpu, tuple):
            return gpu if len(gpu) == 2 else (2, 1, 1)
        return 0.06 if lecture == 1 else 1

    (imports,) = [c for c in cells if c.startswith("import matplotlib")]
    place = {}
    exec(imports, place)
    place |= dict(by_scale=by_scale, scale="gpu", seed=0, device="cpu", seeds=[0], names=NAMES, source=lambda *_: None)
    for begins in ("side, frames = by_scale", "namers = {", "inputs = {"):
        (cell,) = [c for c in cells if c.startswith(begins)]
        exec(compile(cell, "cell", "exec"), place)
    comparison = place["comparison"]
    assert place["train"].videos.shape == (28, 17, 3, 64, 64) and place["train"].flow.shape == (28, 16, 2, 64, 64)
    assert {"middle frame", "frames, averaged", *place["inputs"]} == {name for name, _ in comparison.scores}
    assert all(scores.shape == (14, 14) and scores.isfinite().all() for scores in comparison.scores.values())


def test_answers_are_those_in_evaluation(clips):
    """Whatever mode a network is in; each module goes on as it was; a network that has diverged is told."""
    torch.manual_seed(0)
    net = FrameMean(frame_net(14)).eval()
    expected = answer(net, centred, clips)
    net.train()
    net.network[1].eval()
    assert torch.equal(answer(net, centred, clips), expected)
    assert net.training and net.network[4].training and not net.network[1].training
    net.network[0].weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="scores: 224 of 224 are no finite numbers; it has diverged: lower the rate"):
        answer(net, centred, clips)


def test_bad_input(clips, unchecked):
    with pytest.raises(ValueError, match="mirror = 'sideways': choose backwards, upside down, left to right"):
        mirrored(*clips[::2], clips.labels, "sideways")
    with pytest.raises(ValueError, match="clips of 1 frames: flow leads from one frame to the next"):
        find_flow(clips.videos[:, :1])
    for look in (centred, middle, find_flow, FrameMean(frame_net(2))):
        with pytest.raises(ValueError, match=r"videos of shape \(5, 3, 16, 16\): give \[. f . h w\]; a single one"):
            look(clips.videos[0])
    with pytest.raises(ValueError, match=r"'b', 'all': choose a network of \[\]"):
        Comparison(clips, clips).right("b")
    comparison = Comparison(clips, clips)
    comparison.scores["a", 0] = torch.rand(16, 14)
    with pytest.raises(
        ValueError, match=r"'a', 'sound': choose .* a kind of \['all', 'appearance', 'motion', 'order'\]"
    ):
        comparison.right("a", "sound")
    with pytest.raises(ValueError, match="Sequential with .* give a frame_net of 3 channels"):
        with_head_start(frame_net(2, channels=16), 2)


def test_head_start_is_all_but_the_last_layer(unchecked):
    taught = learn_shapes(8, 16, 1, seed=0, device="cpu")
    torch.manual_seed(1)
    net, plain = with_head_start(taught, 3), frame_net(3)
    mine, theirs = net.state_dict(), taught.state_dict()
    last = [key for key in mine if mine[key].shape != theirs[key].shape]
    assert last == ["14.weight", "14.bias"] and mine["14.bias"].shape == (3,)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine if key not in last)
    assert not torch.equal(plain.state_dict()["0.weight"], mine["0.weight"])


def test_comparison(clips, unchecked):
    """The same run gives the same network; right answers come run by run and by kind."""
    comparison = Comparison(clips, clips, longer=0.1)
    for name, run in (("a", 0), ("a", 1), ("b", 0)):
        comparison.teach(name, lambda: FrameMean(frame_net(14)), centred, 100, run, rate=1e-3)
    assert torch.equal(comparison.scores["a", 0], comparison.scores["b", 0])
    assert not torch.equal(comparison.scores["a", 0], comparison.scores["a", 1])
    right = (comparison.scores["a", 1].argmax(1) == clips.labels).double().mean().item()
    assert comparison.right("a")[1] == right and len(comparison.right("b", "order")) == 1
    rows = comparison.table(["a", "b"])
    for i, kind in enumerate((*of.KINDS, "all"), 1):
        assert rows[0][i] == over_seeds(comparison.right("a", kind)) and rows[1][i] == comparison.right("b", kind)[0]
    ax = bars(comparison, ["a", "b"], 0.1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"] and len(ax.patches) == 6
    plt.close("all")


def test_bars_are_means_and_dots_are_runs(clips, unchecked):
    """One run right everywhere and one nowhere: bars up to one half, dots at both ends."""
    comparison = Comparison(clips, clips)
    for run in (0, 1):
        comparison.scores["a", run] = torch.eye(14)[(clips.labels + run) % 14]
    ax = bars(comparison, ["a"], 0.1)
    assert [bar.get_width() for bar in ax.patches] == [0.5] * 3
    assert [list(line.get_xdata()) for line in ax.lines[:3]] == [[1.0, 0.0]] * 3
    plt.close("all")


def test_what_each_stream_sees(clips):
    videos, flow = clips.videos[:2], clips.flow[:2]
    assert torch.equal(stacked(videos, flow)[:, 2:4], flow[:, 1])
    assert torch.equal(along_paths(videos, flow), of.stack_trajectories(flow))
    assert torch.equal(summed(videos, flow), flow.sum(1))
    even = of.even_light(videos)
    assert torch.equal(even_changes(videos, flow), changes_of(even, flow))


@pytest.fixture(scope="module")
def streams(clips):
    """The streams of the page after a step or two."""
    comparison = Comparison(clips, clips, longer=0.01)
    torch.manual_seed(0)
    namer = frame_net(9)
    teach_frames(comparison, {0: namer})
    teach_flow(comparison, "flow, stacked", stacked, [0, 1])
    teach_other_starts(comparison, {0: namer})
    teach_changes(comparison, [0, 1])
    return comparison


def test_streams_of_the_page(streams, clips):
    """Each learned from what it sees; that of changes answers for films as they are."""
    assert [name for name, run in streams.scores if run == 0] == [
        "middle frame",
        "frames, averaged",
        "flow, stacked",
        "frames, from scratch",
        "flow, head start",
        "changes",
    ]
    heard = answers(streams, ["flow, stacked", "changes"], clips, [0, 1])
    for key, scores in heard.items():
        assert_close(scores, streams.scores[key])
    first = streams.networks["flow, head start", 0][0][0].weight
    assert first.shape == (16, 8, 3, 3)


def test_fusion_learns_whom_to_trust():
    """One stream knows all, one nothing but is sure: their average follows it, the SVM does not."""
    labels = torch.arange(40) % 4
    generator = torch.Generator().manual_seed(0)
    sound = 2.0 * torch.eye(4)[labels]
    broken = 9.0 * torch.eye(4)[torch.randint(4, (40,), generator=generator)]
    light = {("sound", 0): sound, ("broken", 0): broken}
    both = fuse([light, light], labels, light, ["sound", "broken"], 0)
    assert (both["by SVM"] == labels).all()
    assert (both["by average"] == labels).double().mean() < 0.6


def test_relit_clips_have_a_flow_of_their_own(clips):
    dim = relit(Clips(*(part[:2] for part in clips)), torch.Generator().manual_seed(0))
    assert torch.equal(dim.labels, clips.labels[:2]) and not torch.equal(dim.videos, clips.videos[:2])
    assert torch.equal(dim.flow, find_flow(dim.videos, levels=1, steps=3))


def test_left_by_warping():
    """A flow that is right leaves nothing where things move; a pair that rests is left out."""
    first = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    second = first.roll(1, 3)  # one pixel to the right
    flow = torch.zeros(2, 2, 8, 8)
    flow[:, 0] = 1
    moves = torch.zeros(2, 8, 8).bool()
    moves[0, :, 2:6] = True
    assert_close(left_by_warping(flow, first, second, moves), torch.zeros(1), atol=1e-6, rtol=0)
    still = left_by_warping(0 * flow, first, second, moves)
    assert_close(still, (first - second)[0].abs().mean(0)[:, 2:6].mean()[None])


def test_confusion():
    labels = torch.tensor([0, 0, 1, 2])
    runs = [torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 2])]
    assert confusion(runs, labels, 3).tolist() == [[0.5, 0.5, 0], [0, 1, 0], [0.5, 0, 0.5]]


def test_figures(clips):
    ax = same_middle({"a then b": clips.videos[0]}, {"a then b": clips.flow[0]})
    assert "a,\nb" in {text.get_text() for text in ax.texts} and ax.patches[-1].get_x() == pytest.approx(
        2 * 16.96 - 1.5
    )
    flows = {"truth": clips.flow[:2, 0], "found": clips.flow[:2, 1]}
    ax = flows_side_by_side(clips.videos[:2, 0], flows)
    figure = disparities(clips.videos[0, 0], torch.full((16, 16), 3.0), torch.zeros(16, 16))
    *_, bar = figure.axes
    assert bar.get_ylabel() == "pixels" and bar.get_ylim() == (0, 3)  # the scale of both maps
    two_lights(clips, clips, 0)
    drawn = {text.get_text() for text in two_streams(clips.videos[0], clips.flow[0]).texts}
    assert {"spatial stream\nconvolutions", "temporal stream\nconvolutions", "average\nor SVM"} <= drawn
    right = {(name, light): [0.2, 0.4] for name in "ab" for light in ("even", "dim")}
    assert [one.get_width() for one in right_bars(right, 0.1).patches] == pytest.approx([0.3] * 4)
    plt.close("all")
