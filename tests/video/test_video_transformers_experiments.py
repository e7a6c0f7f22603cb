"""What the chapter does with its networks: inputs, costs, first positions, and attention against area."""

import matplotlib.pyplot as plt
import pytest
import torch
from jaxtyping import config
from torch.testing import assert_close

from helpers.convnets.output_size import multiply_adds
from helpers.video.optical_flow.experiments import FEW, Comparison, draw_clips
from helpers.video.optical_flow.frames import frame_net
from helpers.video.video_transformers import figures, timesformer_b
from helpers.video.video_transformers.experiments import (
    FAMILIES,
    ask,
    attention_on,
    attention_on_motion,
    base_cost,
    changes,
    equal_work,
    fields,
    learn_folder,
    patch_shares,
    pixels,
    scheme_for,
    size_and_work,
    small_scheme,
    space_maps,
    speed_of_finding,
    speeds,
    teach_families,
    teach_scheme,
)


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_changes_are_blind_to_what_rests_and_to_contrast():
    videos = rand(3, 5, 3, 8, 8)
    seen = changes(videos)
    assert seen.shape == (3, 4, 3, 8, 8)
    assert_close(seen.std((1, 2, 3, 4)), torch.ones(3))
    step = videos[:, 1:] - videos[:, :-1]
    assert_close(seen, step / step.std((1, 2, 3, 4), keepdim=True))
    ground = rand(3, 1, 3, 8, 8)
    assert_close(changes(0.5 * videos + ground), seen, atol=1e-4, rtol=1e-4)
    assert_close(changes(videos.flip(1)), -seen.flip(1))
    assert_close(changes(0.02 * videos), seen, atol=1e-4, rtol=1e-4)  # also where little changes
    assert not changes(ground.expand(3, 5, 3, 8, 8)).any()  # a still clip gives zeros, no NaN


def test_pixels_and_fields_have_as_many_steps_as_changes():
    videos, flow = rand(2, 5, 3, 8, 8), rand(2, 4, 2, 8, 8)
    assert pixels(videos).shape == changes(videos).shape == (2, 4, 3, 8, 8)
    assert_close(fields(videos, flow), fields(videos, 3 * flow))
    assert_close(fields(videos, flow).std((1, 2, 3, 4)), torch.ones(2))
    plain = videos - videos.mean((1, 3, 4), keepdim=True)
    assert_close(pixels(videos), (plain / plain.std((1, 2, 3, 4), keepdim=True))[:, :-1])  # all frames but the last
    tint = rand(2, 1, 3, 1, 1)
    assert_close(pixels(videos + tint), pixels(videos), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("plan, frames, image", [("joint", 4, 64), ("divided", 2, 96)])
def test_base_cost_is_that_of_the_whole_network(plan, frames, image):
    with torch.device("meta"):
        network = timesformer_b(plan=plan, frames=frames, image=image)
        whole = multiply_adds(lambda: network(torch.empty(1, frames, 3, image, image)))
    assert base_cost(plan, frames, image) == whole


def test_positions_begin_loud():
    torch.manual_seed(0)
    network = small_scheme("divided", loud=0.5)
    assert 0.3 < network.times.std() < 0.7 and 0.3 < network.positions.std() < 0.7
    assert not hasattr(small_scheme("space"), "times")


def test_attention_against_area(unchecked):
    moving = torch.zeros(2, 3, 8, 8)
    moving[:, :, :4, :4] = 1  # a quarter of the area: one patch of four
    shares = patch_shares(moving, 4)
    assert shares[0, 0].tolist() == [[1, 0], [0, 0]]
    even = torch.full((2, 5, 3, 2, 2), 1 / 12)
    assert_close(attention_on(even, shares), 1.0)
    assert_close(attention_on(torch.zeros(2, 5, 3, 2, 2) + shares[:, None], shares), 4.0)
    assert_close(attention_on(torch.ones(2, 5, 3, 2, 2) - shares[:, None], shares), 0.0)
    with pytest.raises(ValueError, match="shares are all 0: give clips in which things move"):
        attention_on(even, torch.zeros_like(shares))
    with pytest.raises(ValueError, match="maps of shape .* shares of"):
        attention_on(even[:1], shares)
    with pytest.raises(ValueError, match="maps: 1 of 120 are no finite numbers"):
        broken = even.clone()
        broken[0, 0, 0, 0, 0] = torch.nan
        attention_on(broken, shares)


def test_attention_is_the_mean_over_heads():
    """One head on what moves and one on all else are together as even as none."""
    shares = torch.zeros(1, 2, 2, 2)
    shares[..., 0, 0] = 1
    for heads in ([shares, 1 - shares], [1 - shares, shares]):
        assert_close(attention_on(torch.stack(heads, 1), shares), 1.0)


@pytest.mark.parametrize("plan, looks", [("joint", 2), ("divided", 2), ("local_global", 4), ("axial", 0)])
def test_space_maps(plan, looks):
    torch.manual_seed(0)
    network, videos = small_scheme(plan, frames=4, image=16).eval(), rand(2, 4, 3, 16, 16)
    maps = space_maps(network, videos)
    assert [m.shape for m in maps] == looks * [(2, 2, 4, 2, 2)]
    if plan == "joint":
        total = maps[-1].sum((2, 3, 4))
        assert (total < 1).all() and (total > 0.5).all()  # the rest is the token's look at itself


@pytest.fixture(scope="module")
def comparison():
    """Two schemes and the families on sixteen clips, each after a step or two."""
    config.update("jaxtyping_disable", True)  # as `unchecked`, which is of one function
    yield taught_a_little()
    config.update("jaxtyping_disable", False)


def taught_a_little():
    clips = draw_clips(16, 16, 5, seed=3, actions=FEW, levels=1, steps=1)
    found = Comparison(clips, clips, longer=0.01)
    teach_scheme(found, "divided", "divided", changes, 100, [0, 1])
    teach_scheme(found, "TimeSformer, flow", "divided", fields, 100, [0])
    torch.manual_seed(0)
    teach_families(found, frame_net(9), [0])
    found.networks["TimeSformer, changes", 0] = found.networks["divided", 0]
    return found


def test_a_scheme_fits_what_it_sees(comparison):
    for look, shape in ((changes, (4, 3, 16)), (fields, (4, 2, 16))):
        network = scheme_for("joint", look, comparison.train)
        assert (network.frames, network.channels, network.image) == shape
    assert {run for name, run in comparison.scores if name == "divided"} == {0, 1}


def test_equal_work(comparison):
    """Steps times the work of one is the same for all, to half a step."""
    steps = equal_work(["space", "axial"], changes, comparison.test, 160)
    seen = changes(comparison.test.videos[:1])

    def work(plan):
        network = scheme_for(plan, changes, comparison.test)
        return multiply_adds(lambda: network(seen))

    for plan, count in steps.items():
        assert abs(count * work(plan) - 160 * work("divided")) <= work(plan) / 2
    assert steps["axial"] < 160 < steps["space"]


def test_families_and_their_sizes(comparison):
    """All of the table are there; two streams have the sizes of both, and the mean of their probabilities."""
    sizes = {name: size_and_work(comparison, name, 0) for name in FAMILIES}
    pair = ("frame average", "temporal stream")
    for i in (0, 1):
        assert sizes["two streams, fused"][i] == sum(sizes[name][i] for name in pair)
    network, _ = comparison.networks["I3D, changes", 0]
    assert sizes["I3D, changes"][0] == sum(p.numel() for p in network.parameters())
    alone = [ask(comparison, name, 0, slice(16))[0].softmax(1) for name in pair]
    assert_close(comparison.scores["two streams, fused", 0], sum(alone) / 2)
    assert [len(ask(comparison, name, 0, slice(3))) for name in FAMILIES] == [1, 1, 2, 1, 1, 1, 1]


def test_finding_the_flow_costs_those_that_see_it(comparison):
    finding = speed_of_finding(comparison, clips=4)
    alone, slower = speeds(comparison, "temporal stream", 0, finding, clips=4)
    assert 1 / slower == pytest.approx(1 / alone + 1 / finding)
    alone, slower = speeds(comparison, "SlowFast, changes", 0, finding, clips=4)
    assert 0 < slower == alone


def test_a_folder_is_halved_class_by_class():
    """Labels that alternate: every second video of all would be of one class."""
    videos = torch.rand(8, 4, 3, 32, 32)
    videos[1::2] *= torch.linspace(0, 1, 4)[:, None, None, None]  # class 1 lights up
    right = learn_folder(videos, torch.tensor([0, 1] * 4), 30, seed=0)
    assert right.shape == (4,) and right.all()
    with pytest.raises(ValueError, match=r"\[2, 1\] videos of the classes: give each two at least"):
        learn_folder(videos[:3], torch.tensor([0, 1, 0]), 1, seed=0)
    with pytest.raises(ValueError, match=r"\[2, 0, 2\] videos"):
        learn_folder(videos[:4], torch.tensor([0, 2, 0, 2]), 1, seed=0)


def test_attention_on_motion_is_that_of_the_last_step(comparison):
    shares = torch.rand(3, 4, 2, 2)
    found = attention_on_motion(comparison, {"divided": "divided"}, shares, [0, 1])
    assert found.keys() == {("divided", "before"), ("divided", "learned")}
    network, _ = comparison.networks["divided", 1]
    maps = space_maps(network, changes(comparison.test.videos[:3]))[-1]
    assert found["divided", "learned"][1] == attention_on(maps, shares)


def test_figures(comparison):
    ax = figures.neighbourhoods({"space": "space", "divided": "divided: time"}, (1, 0, 0), (4, 4, 4))
    assert {"space", "divided:\ntime"} <= {text.get_text() for text in ax.texts}
    work = {"space": [1.0, 2.0], "joint": [1.0, 4.0]}
    left, _ = figures.costs({"space": "a", "joint": "b"}, (8, 16), work, (224, 448), work).axes
    assert [list(line.get_ydata()) for line in left.lines] == list(work.values())
    ax = figures.right_and_fast({"a": 0.5, "b": 0.7}, {"a": (10.0, 10.0), "b": (20.0, 5.0)}).axes[0]
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    assert [list(line.get_xdata()) for line in hollow] == [[5.0]]
    plt.close("all")
