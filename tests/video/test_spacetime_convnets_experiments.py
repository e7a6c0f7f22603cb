"""What the chapter runs and draws: what inflation hands down, networks on trips, and their pictures."""

import matplotlib.pyplot as plt
import pytest
import torch
from torch.testing import assert_close

from helpers.convnets.architectures.resnet import resnet_small
from helpers.data.scenes import CLASSES
from helpers.training import History
from helpers.video.optical_flow.frames import frame_net
from helpers.video.spacetime_convnets import (
    WAYS,
    WHATS,
    figures,
    i3d_small,
    inflate_weight,
    make_trips,
    slowfast_r50_4x16,
)
from helpers.video.spacetime_convnets.experiments import (
    answers_to_twins,
    first_filters,
    last_maps,
    learn_i3d,
    learn_slowfast,
    named_right,
    part_that_changes,
    right_in_test,
    small_slowfast,
)


def test_last_maps(unchecked):
    net = resnet_small(depth=8, width=4, classes=5).eval()
    scores, maps = last_maps(net, torch.rand(2, 3, 16, 16))
    assert scores.shape == (2, 5) and maps.shape == (2, 16, 4, 4)
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_named_right(unchecked):
    """A head that always says one of the four things is right on the clips that show it."""
    trips = make_trips(16, 16, seed=0, lengths=["lasting"])
    net = frame_net(len(CLASSES)).eval()
    net[-1].weight.data.zero_()
    net[-1].bias.data = torch.eye(len(CLASSES))[CLASSES.index(WHATS[1])]
    assert named_right(net, trips) == (trips.what == 1).double().mean().item() > 0


def test_a_start_from_images_is_inflated(unchecked):
    """The same run begins with the filters of the image net, or with others; both are recorded as often as asked."""
    trips = make_trips(16, 16, seed=0, lengths=["lasting"])
    torch.manual_seed(3)
    image = frame_net(len(CLASSES))
    network, history = learn_i3d(image, trips, trips, 2, run=0, every=1)
    start = inflate_weight(image[0].weight, 3)
    assert (first_filters(network) - start).abs().max() < 0.02  # two steps at rates up to 0.005
    assert history.steps("test both").tolist() == [1, 2] and not network.training
    scratch, _ = learn_i3d(None, trips, trips, 1, run=0, every=1)
    assert (first_filters(scratch) - start).abs().max() > 0.02
    assert part_that_changes(first_filters(i3d_small(image))) < 1e-6 < part_that_changes(first_filters(network))


def test_part_that_changes():
    bank = torch.zeros(2, 1, 3, 1, 1)
    bank[0, 0, :, 0, 0] = 1.0  # at rest
    bank[1, 0, :, 0, 0] = torch.tensor([-1.0, 0.0, 1.0])  # nothing but change
    assert part_that_changes(bank) == 0.5


def test_pathways_of_a_run(unchecked):
    """Without the fast pathway four twins get one answer; both pathways tell them apart. One run is one network."""
    twins = make_trips(16, 16, seed=0, lengths=["brief"], twins=True)
    found = {}
    for fast in (True, False):
        network, history = learn_slowfast(twins, twins, 2, run=1, every=1, fast=fast)
        found[fast] = answers_to_twins(network, twins)
    assert found[False] == (True, 0.25) and not found[True][0]
    again, _ = learn_slowfast(twins, twins, 2, run=1, every=1, fast=False)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), network.parameters()))
    assert right_in_test([history, history]).shape == (2, 2)
    assert small_slowfast(slow=False).blocks[-1].proj.out_features == len(WAYS)


def test_figures():
    history = History()
    for step, right in ((1, 0.2), (2, 0.6)):
        history.add(step, {"what": right, "way": right / 2}, prefix="test ")
    history.settle(True)
    figure = figures.what_and_way({"a": [history], "b": [history]})
    assert_close(torch.tensor(figure.axes[1].lines[0].get_ydata()), torch.tensor([0.1, 0.3]).double())
    with torch.device("meta"):
        network = slowfast_r50_4x16()
    (ax,) = figures.two_pathways(network, frames=32, image=224).axes
    texts = [text.get_text() for text in ax.texts]
    assert "4 x 56²\n64 channels" in texts and "32 x 7²\n256 channels" in texts
    assert [text for text in texts if text.startswith("+")] == [
        "+ 16",
        "+ 64",
        "+ 128",
        "+ 256",
    ]  # twice the fast one's
    bank = torch.rand(9, 3, 3, 3, 3)
    figures.filters(bank, bank.flip(2))
    twins = make_trips(4, 16, seed=0, lengths=["brief"], twins=True)
    figures.moment(twins, 7)
    frames = figures.strips({"a": twins.videos[0]}, framed=(0, 7)).patches[-2:]
    assert [frame.get_x() for frame in frames] == pytest.approx([-1.5, 7 * 16.96 - 1.5])
    plt.close("all")
