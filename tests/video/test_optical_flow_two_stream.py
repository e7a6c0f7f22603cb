"""Stacks of flow by their equations, first layers across modalities, late fusion."""

from functools import partial

import pytest
import torch
from torch import nn

from helpers.convnets.architectures.resnet import resnet18
from helpers.video.optical_flow import (
    Streams,
    cnn_m_2048,
    cross_modality,
    fit_svm,
    frame_net_small,
    fuse_average,
    fuse_svm,
    stack_flow,
    stack_trajectories,
    subtract_mean,
    svm_features,
    temporal_network,
)

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bilinear(field: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """One point of a field [2 h w], by the definition; the border goes on."""
    h, w = field.shape[1:]
    x, y = min(max(x, 0), w - 1), min(max(y, 0), h - 1)
    left, top = int(x), int(y)
    right, below, a, b = min(left + 1, w - 1), min(top + 1, h - 1), x - left, y - top
    upper = (1 - a) * field[:, top, left] + a * field[:, top, right]
    return (1 - b) * upper + b * ((1 - a) * field[:, below, left] + a * field[:, below, right])


def test_parameter_count_of_the_small_one():
    streams = Streams(spatial=frame_net_small(), temporal=frame_net_small(channels=16))
    convs = 9 * (24 * 48 + 48 * 96) + 2 * (24 + 48 + 96) + 97 * 14
    counts = {k: sum(p.numel() for p in net.parameters()) for k, net in streams.streams.items()}
    assert counts == {"spatial": convs + 9 * 3 * 24, "temporal": convs + 9 * 16 * 24}


def test_response_norms_of_cnn_m():
    """Chatfield et al. 2014 and Caffe: over 5 channels, k = 2, alpha = 5e-4, beta = 0.75; one in the temporal stream."""
    for channels, norms in ((3, 2), (20, 1)):
        with torch.device("meta"):
            network = cnn_m_2048(channels=channels)
        found = [(m.size, m.k, m.alpha, m.beta) for m in network if isinstance(m, nn.LocalResponseNorm)]
        assert found == norms * [(5, 2, 5e-4, 0.75)]


def test_matches_reference_at_fixed_points():
    """Equation 1: channel 2k - 1 is d^x of frame k at the pixel, channel 2k is d^y; 2L channels, not a sum."""
    flow = noise(2, 3, 2, 5, 6)
    stacked = stack_flow(flow)
    assert stacked.shape == (2, 6, 5, 6)
    for k in range(3):
        assert torch.equal(stacked[:, 2 * k], flow[:, k, 0]) and torch.equal(stacked[:, 2 * k + 1], flow[:, k, 1])
    turned = stack_flow(flow.flip(1))
    assert not torch.equal(turned, stacked)  # the order is kept, where a sum forgets it
    close(turned.unflatten(1, (3, 2)).sum(1), stacked.unflatten(1, (3, 2)).sum(1))


def test_matches_reference_along_trajectories():
    """Equation 2, point by point."""
    flow = noise(1, 3, 2, 5, 6)
    stacked = stack_trajectories(flow)[0]
    for y in range(5):
        for x in range(6):
            at_x, at_y = float(x), float(y)
            for k in range(3):
                step = bilinear(flow[0, k], at_x, at_y)
                close(stacked[2 * k : 2 * k + 2, y, x], step)
                at_x, at_y = at_x + float(step[0]), at_y + float(step[1])


def test_trajectories_follow_what_moves():
    """One bright spot of speed that wanders to the right: at its first place, the fixed stack sees it once only."""
    flow = torch.zeros(1, 4, 2, 5, 9, dtype=torch.float64)
    for k in range(4):
        flow[0, k, 0, 2, 1 + k] = 1.0
    close(stack_trajectories(flow)[0, ::2, 2, 1], torch.ones(4, dtype=torch.float64))
    assert stack_flow(flow)[0, ::2, 2, 1].tolist() == [1, 0, 0, 0]
    same = flow[:, :1].expand(1, 3, 2, 5, 9) * 0 + 0.5  # all the image moves alike: no difference
    close(stack_trajectories(same), stack_flow(same))


def test_mean_flow():
    flow = noise(2, 3, 2, 5, 6)
    still = subtract_mean(flow)
    close(still.mean((3, 4)), torch.zeros(2, 3, 2, dtype=torch.float64))
    pan = torch.tensor([0.7, -0.2], dtype=torch.float64).view(1, 1, 2, 1, 1)
    close(subtract_mean(flow + pan), still)


def test_cross_modality():
    weight = noise(4, 3, 3, 3)
    wide = cross_modality(weight, 20)
    assert wide.shape == (4, 20, 3, 3)
    close(wide[:, 7], weight.mean(1))
    grey = noise(2, 1, 8, 8)  # a grey image is seen as its flow-shaped copy, up to the number of channels
    ours = nn.functional.conv2d(grey.expand(-1, 20, -1, -1), wide) / 20
    close(ours, nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight) / 3)


@pytest.mark.parametrize(
    "build", [partial(resnet18, width=8, classes=5), partial(frame_net_small, classes=5), cnn_m_2048]
)
def test_temporal_network_starts_from_the_image_net(build):
    if build is cnn_m_2048:
        with torch.device("meta"):
            assert temporal_network(build(), 20)[0].weight.shape == (96, 20, 7, 7)
        return
    image = build()
    before = {k: v.clone() for k, v in image.state_dict().items()}
    temporal = temporal_network(image, 16)
    first = next(iter(before))
    state = temporal.state_dict()
    close(state.pop(first), cross_modality(before[first], 16))
    assert all(torch.equal(value, before[key]) for key, value in state.items())
    assert all(torch.equal(value, before[key]) for key, value in image.state_dict().items())  # untouched
    temporal(torch.randn(2, 16, 32, 32)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in temporal.parameters())
    assert all(p.grad is None for p in image.parameters())


def test_fusion_by_average():
    scores = {"spatial": noise(6, 4), "temporal": noise(6, 4, seed=1), "depth": noise(6, 4, seed=2)}
    chances = [s.softmax(1) for s in scores.values()]
    close(fuse_average(scores), sum(chances) / 3)
    close(fuse_average(scores, [1.0, 2.0, 0.0]), (chances[0] + 2 * chances[1]) / 3)
    close(fuse_average([scores["depth"]]), chances[2])
    close(fuse_average(scores).sum(1), torch.ones(6, dtype=torch.float64))


def test_fusion_by_svm():
    """Two streams that each tell one bit of four classes: neither knows, the SVM on both does."""
    from sklearn.svm import LinearSVC

    labels = torch.arange(4).repeat(30)
    noisy = 0.3 * noise(120, 8)
    first, second = noisy[:, :4].clone(), noisy[:, 4:].clone()
    first[:, :2] += 2 * (labels // 2 == 0)[:, None]
    first[:, 2:] += 2 * (labels // 2 == 1)[:, None]
    second[:, ::2] += 2 * (labels % 2 == 0)[:, None]
    second[:, 1::2] += 2 * (labels % 2 == 1)[:, None]
    scores = {"a": first, "b": second}
    svm = fit_svm({k: v[:60] for k, v in scores.items()}, labels[:60])
    held = {k: v[60:] for k, v in scores.items()}
    picked = fuse_svm(svm, held)
    assert (picked == labels[60:]).float().mean() > 0.95
    assert (first.argmax(1) == labels).float().mean() < 0.8
    rows = svm_features(scores)
    close(rows.unflatten(1, (2, 4)).norm(dim=2), torch.ones(120, 2, dtype=torch.float64))
    twin = LinearSVC(C=1.0, random_state=0).fit(rows[:60].numpy(), labels[:60].numpy())
    assert (torch.from_numpy(twin.predict(rows[60:].numpy())) == picked).all()
    assert (fuse_svm(svm, {"b": held["b"], "a": held["a"]}) == picked).all()  # in whatever order they come
    for other in ({"a": held["a"], "c": held["b"]}, {"a": held["a"]}, {k: v[:, :3] for k, v in held.items()}):
        with pytest.raises(ValueError, match=r"streams \['a'.* for an SVM of \['a', 'b'\] with 8: give those"):
            fuse_svm(svm, other)
    with pytest.raises(ValueError, match=r"labels of shape \(50,\) for 60 clips"):
        fit_svm(held, labels[:50])


def test_streams():
    streams = Streams(spatial=frame_net_small(classes=3), temporal=frame_net_small(channels=4, classes=3)).eval()
    images, flow = torch.rand(2, 3, 16, 16), torch.rand(2, 4, 16, 16)
    out = streams(spatial=images, temporal=flow)
    assert torch.equal(out["spatial"], streams.streams["spatial"](images)) and out["temporal"].shape == (2, 3)


class AddCoords(nn.Conv2d):
    """A convolution that does more than convolve."""


def test_other_axes(unchecked):
    """Without a batch the axes of the flow would be taken for each other: [l 2 h w] gave [l 2h w]."""
    for function in (stack_flow, stack_trajectories, subtract_mean):
        with pytest.raises(ValueError, match=r"flow of shape \(3, 2, 5, 6\): give \[b l 2 h w\]; a single one is"):
            function(torch.zeros(3, 2, 5, 6))
    with pytest.raises(ValueError, match=r"scores of shapes \[\(3,\)\]: .* \[b k\] each"):
        fuse_average([torch.zeros(3)])


def test_bad_input():
    streams = Streams(spatial=frame_net_small(), temporal=frame_net_small(channels=4))
    with pytest.raises(ValueError, match=r"inputs \['spatial'\] for streams \['spatial', 'temporal'\]"):
        streams(spatial=torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"scores of shapes \[\(2, 3\), \(2, 4\)\]"):
        fuse_average([torch.zeros(2, 3), torch.zeros(2, 4)])
    for weights in ([1.0], [2.0, -1.0], [0.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match=r"weights = \[.*\] for 2 streams"):
            fuse_average([torch.zeros(2, 3), torch.zeros(2, 3)], weights)
    broken = [torch.zeros(2, 3), torch.full((2, 3), torch.nan)]
    for fuse in (fuse_average, svm_features):
        with pytest.raises(ValueError, match="probabilities of scores: 6 of 12 are no finite numbers; .* weight 0"):
            fuse(broken)
    assert torch.equal(fuse_average(broken, [1.0, 0.0]), torch.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match="AddCoords comes first"):
        temporal_network(nn.Sequential(AddCoords(3, 4, 3)), 4)
    with pytest.raises(ValueError, match="ReLU has no convolution"):
        temporal_network(nn.ReLU(), 4)
    with pytest.raises(ValueError, match="channels = 0"):
        temporal_network(nn.Conv2d(3, 4, 3), 0)
