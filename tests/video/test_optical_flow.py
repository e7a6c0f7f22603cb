"""Optical flow against motions that are known: shifted textures, made clips, a stereo pair; and the colour wheel."""

from functools import partial

import numpy as np
import pytest
import torch
from skimage import data
from torch.nn import functional as F
from torchvision.utils import flow_to_image

from helpers.data.scenes import make_clips
from helpers.video.optical_flow import colour_wheel, endpoint_error, flow_to_rgb, horn_schunck, lucas_kanade, warp
from helpers.video.optical_flow.flow import coarse_to_fine, deepest, derivatives, determinant, pyramid

close = partial(torch.testing.assert_close, rtol=0, atol=1e-6)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
METHODS = [lucas_kanade, horn_schunck]


def texture(right: float = 0.0, down: float = 0.0, size: int = 96) -> torch.Tensor:
    """Waves that can be moved by parts of a pixel, exactly."""
    place = torch.arange(size, dtype=torch.float64)
    y, x = torch.meshgrid(place - down, place - right, indexing="ij")
    waves = [(0.15, 0.06, 0.3), (-0.08, 0.2, 1.0), (0.26, -0.12, 2.2), (0.04, 0.31, 0.0), (0.22, 0.19, 4.0)]
    return (0.5 + 0.08 * sum(torch.sin(a * x + b * y + c) for a, b, c in waves))[None, None]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def inner(x: torch.Tensor, margin: int = 24) -> torch.Tensor:
    return x[..., margin:-margin, margin:-margin]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("motion", [(0.4, -0.25), (1.5, 2.25), (-3.3, 0.6)])
def test_a_known_translation(method, motion):
    options = dict(smoothness=0.01, iterations=200) if method is horn_schunck else {}
    flow = method(texture(), texture(*motion), **options)
    truth = torch.tensor(motion, dtype=torch.float64)[:, None, None].expand_as(flow[0])[None]
    assert endpoint_error(inner(flow), inner(truth)) < 0.1  # a tenth of a pixel
    moved = inner((texture(*motion) - texture()).abs()).mean()
    assert inner((warp(texture(*motion), flow) - texture()).abs()).mean() < 0.1 * moved


@pytest.mark.parametrize("method", METHODS)
def test_equal_frames_do_not_move(method):
    frames = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert method(frames, frames).abs().max() < 1e-6
    assert not method(torch.ones(1, 1, 16, 16), torch.ones(1, 1, 16, 16)).any()  # nothing to be seen


@pytest.fixture(scope="module")
def pairs():
    """Two frames of clips, the truth, and where it holds and something moves."""
    clips = make_clips(28, 64, 9, seed=3, flow=True)
    first, second, truth = clips.videos[:, 3], clips.videos[:, 4], clips.flow[:, 3]
    return first, second, truth, clips.valid[:, 3] & (truth.norm(dim=1) > 0.3)


def test_matches_reference(pairs):
    """Nearer to the truth than scikit-image's two on the same frames, where something moves."""
    from skimage.registration import optical_flow_ilk, optical_flow_tvl1

    first, second, truth, moving = pairs
    errors = {method.__name__: endpoint_error(method(first, second), truth, moving) for method in METHODS}
    for reference in (optical_flow_ilk, optical_flow_tvl1):
        fields = [reference(a.mean(0).numpy(), b.mean(0).numpy())[::-1] for a, b in zip(first[::2], second[::2])]
        field = torch.from_numpy(np.stack([np.stack(pair) for pair in fields])).float()
        errors[reference.__name__] = endpoint_error(field, truth[::2], moving[::2])
    rest = endpoint_error(torch.zeros_like(truth), truth, moving)
    assert errors["lucas_kanade"] < min(errors["optical_flow_ilk"], 0.3 * rest)
    assert errors["horn_schunck"] < min(errors["optical_flow_tvl1"], 0.3 * rest)


@pytest.mark.parametrize("method", METHODS)
def test_the_true_flow_takes_the_second_frame_back(pairs, method):
    first, second, truth, moving = pairs
    mask = moving[:, None].expand_as(first)
    before = (second - first).abs()[mask].mean()
    assert (warp(second, truth) - first).abs()[mask].mean() < 0.5 * before
    assert (warp(second, method(first, second)) - first).abs()[mask].mean() < 0.5 * before
    assert (warp(second, -truth) - first).abs()[mask].mean() > before  # the wrong way


@pytest.mark.parametrize("method", METHODS)
def test_stereo_pair(method):
    """Between the eyes everything moves to the left by its disparity, which scikit-image brings along."""
    left, right, disparity = data.stereo_motorcycle()
    size = (left.shape[0] // 4, left.shape[1] // 4)
    pictures = [torch.from_numpy(x).permute(2, 0, 1)[None] / 255 for x in (left, right)]
    small = [F.interpolate(x, size, mode="bilinear", antialias=True) for x in pictures]
    truth = torch.from_numpy(disparity).float()[::4, ::4][: size[0], : size[1]] / 4
    valid = truth.isfinite()[None]
    truth = -truth.nan_to_num(0, 0, 0)
    truth = torch.stack([truth, torch.zeros_like(truth)])[None]
    error = endpoint_error(method(*small), truth, valid)
    assert error < 0.25 * endpoint_error(torch.zeros_like(truth), truth, valid)


def test_horn_schunck_minimises_its_energy():
    """Without a pyramid: the slope of data term and smoothness, by autograd, vanishes at what it finds."""
    first, second = texture(size=8), texture(0.3, -0.2, size=8)
    x, y, t = derivatives(first, second)
    for smoothness in (0.03, 0.1):
        options = dict(smoothness=smoothness, levels=1, steps=1, iterations=1500)
        slopes = []
        for flow in (torch.zeros(1, 2, 8, 8, dtype=torch.float64), horn_schunck(first, second, **options)):
            flow = flow.requires_grad_()
            data_term = (x * flow[:, :1] + y * flow[:, 1:] + t).square().sum()
            pairs = flow.diff(dim=2).square().sum() + flow.diff(dim=3).square().sum()
            (slope,) = torch.autograd.grad(data_term + smoothness**2 * pairs, flow)
            slopes.append(slope.abs().max())
        assert slopes[1] < 0.01 * slopes[0]


def test_derivatives_of_a_ramp():
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    slopes = derivatives((2 * x - 3 * y)[None, None], (2 * x - 3 * y + 5)[None, None])
    for slope, expected in zip(slopes, (2, -3, 5)):
        assert (slope[..., 1:-1, 1:-1] == expected).all()


def test_derivatives_are_those_of_both_frames():
    """Of one without and one with slopes, half of these."""
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    ramp, flat = (2 * x - 3 * y)[None, None], torch.zeros(1, 1, 6, 7)
    for pair in ((ramp, flat), (flat, ramp)):
        for slope, expected in zip(derivatives(*pair), (1, -1.5)):
            assert (slope[..., 1:-1, 1:-1] == expected).all()


def test_windows_at_the_border_see_it_repeated():
    """In a corner, by hand: the least squares of nine equations, of which what lies outside repeats those inside."""
    first, second = texture(size=12), texture(0.3, -0.2, size=12)
    x, y, t = (part[0, 0] for part in derivatives(first, second))
    flow = lucas_kanade(first, second, window=3, levels=1, steps=1, least=1e-3)
    for row, column, rows, columns in ((0, 0, [0, 0, 1], [0, 0, 1]), (5, 11, [4, 5, 6], [10, 11, 11])):
        a, b, c = (part[rows][:, columns] for part in (x, y, t))
        matrix = torch.stack([(a * a).mean(), (a * b).mean(), (a * b).mean(), (b * b).mean()]).view(2, 2)
        matrix = matrix + 1e-3 * torch.eye(2, dtype=torch.float64)
        expected = torch.linalg.solve(matrix, -torch.stack([(a * c).mean(), (b * c).mean()]))
        close(flow[0, :, row, column], expected)


def test_warp_by_hand():
    frame = torch.arange(12.0).view(1, 1, 3, 4)
    right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    close(warp(frame, right), frame[..., [1, 2, 3, 3]])
    close(warp(frame, right.flip(1)), frame[:, :, [1, 2, 2]])
    close(warp(frame, 0.5 * right)[0, 0, 0], torch.tensor([0.5, 1.5, 2.5, 3.0]))


def test_endpoint_error():
    flow, truth = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    truth[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    assert endpoint_error(flow, truth) == 5 / 4
    assert endpoint_error(flow, truth, torch.tensor([[[True, True], [False, False]]])) == 5 / 2
    with pytest.raises(ValueError, match="valid = False everywhere"):
        endpoint_error(flow, truth, torch.zeros(1, 2, 2, dtype=torch.bool))


@pytest.mark.parametrize("scale", [0.1, 4.0])
def test_colours_are_torchvisions(scale):
    flow = scale * torch.randn(2, 2, 20, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal((255 * flow_to_rgb(flow)).floor().byte(), flow_to_image(flow))
    assert len(colour_wheel().unique(dim=0)) == 55
    rest = flow_to_rgb(torch.zeros(1, 2, 3, 3))
    close(rest, torch.ones_like(rest))
    half, dark = flow_to_rgb(flow, longest=100 * scale), flow_to_rgb(flow, longest=0.001 * scale)
    assert half.min() > 0.9
    close(dark.amax(1), torch.full((2, 20, 24), 0.75))  # as Baker's: every hue has one channel at its most


def test_pyramid():
    frames = torch.rand(1, 1, 48, 65)
    assert [tuple(x.shape[2:]) for x in pyramid(frames, 3)] == [(12, 17), (24, 33), (48, 65)]
    assert deepest((48, 65)) == 2 and deepest((16, 16)) == 1 and deepest((500, 741)) == 6


def test_pyramid_does_not_alias():
    """Away from the border each pixel is the mean of four by four, with weights 1, 3, 3, 1."""
    frames = torch.rand(1, 1, 20, 24, generator=torch.Generator().manual_seed(0))
    small, _ = pyramid(frames, 2)
    weights = torch.tensor([1.0, 3, 3, 1]) / 8
    expected = F.conv2d(frames[..., 1:-1, 1:-1], torch.outer(weights, weights)[None, None], stride=2)
    close(small[..., 1:-1, 1:-1], expected)


def test_flow_grows_with_its_frames():
    """From 17x33 to 33x65 pixels a motion grows by as much as the side, which is not 2."""

    def refine(first, second, flow):
        return flow if first.shape[2] == 33 else torch.ones_like(flow)

    flow = coarse_to_fine(*2 * [torch.rand(1, 1, 33, 65)], 2, 1, refine)
    close(flow, torch.tensor([65 / 33, 33 / 17]).view(1, 2, 1, 1).expand(1, 2, 33, 65))


@pytest.mark.parametrize("method", METHODS)
def test_large_motions_need_the_pyramid(method):
    truth = torch.tensor([6.0, -5.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 96, 96)
    first, second = texture(), texture(6.0, -5.0)
    errors = [endpoint_error(inner(method(first, second, levels=n)), inner(truth)) for n in (1, 3)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
def test_device_and_dtype(method, device):
    first, second = texture().float().to(device), texture(0.5).float().to(device)
    flow = method(first, second)
    assert flow.device.type == device and flow.dtype == torch.float32
    torch.testing.assert_close(flow.double().cpu(), method(texture(), texture(0.5)), rtol=0, atol=1e-2)
    with torch.autocast(device, torch.bfloat16):
        assert method(first, second).isfinite().all()
    assert flow_to_rgb(flow).device.type == device


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_finds_the_same_places(dtype):
    """1,000 columns cannot be told apart in half precision; places are computed in float32."""
    frame = torch.arange(1000.0).remainder(8).expand(1, 1, 2, 1000).to(dtype)
    one_right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 1000).to(dtype)
    moved = warp(frame, one_right)
    assert moved.dtype == dtype
    torch.testing.assert_close(moved[..., :-1], frame[..., 1:], rtol=0, atol=0.1)
    first, second = texture().to(dtype), texture(1.5).to(dtype)
    for method in METHODS:
        flow = method(first, second)
        assert flow.dtype == dtype
        torch.testing.assert_close(flow, method(first.float(), second.float()).to(dtype))
    assert flow_to_rgb(flow).dtype == dtype


def test_an_unknown_flow_fetches_nothing():
    """Not what lies at a border, as torch's grid_sample does; and it is black."""
    flow = torch.zeros(1, 2, 3, 4)
    flow[0, 0, 1, 2] = torch.nan
    moved = warp(torch.rand(1, 3, 3, 4), flow)
    assert moved.isnan().sum() == 3 and moved[0, :, 1, 2].isnan().all()
    colours = flow_to_rgb(flow)
    assert not colours[0, :, 1, 2].any() and (colours.sum(1) == 3).sum() == 11


def test_rounding_leaves_an_edge_its_determinant():
    """All slopes of one direction: the products cancel, and what `more` adds must not drown in their rounding."""
    slope = 100 * noise(2, 1000)
    xx, xy, yy = slope[0] ** 2, slope[0] * slope[1], slope[1] ** 2
    found, exact = determinant(xx, xy, yy, 1e-3), 1e-3 * (xx.double() + yy.double() + 1e-3)
    assert (xx * yy - xy * xy).min() < -1e-3  # what rounding alone would give
    assert (found.double() >= exact * (1 - 1e-6)).all()


def test_without_least_an_empty_window_stays():
    still = torch.full((1, 1, 16, 16), 0.3)
    assert not lucas_kanade(still, still, least=0.0).any()


def test_gradients_of_warp():
    field = (0.3 * texture(size=8)).repeat(1, 2, 1, 1).requires_grad_()
    frame = texture(size=8).requires_grad_()
    assert torch.autograd.gradcheck(warp, (frame, field))


def test_bad_input(unchecked):
    frames = torch.zeros(1, 3, 32, 32)
    for method in METHODS:
        with pytest.raises(ValueError, match="1x3x32x32 and 1x3x32x30: .* of one size"):
            method(frames, frames[..., :30])
        with pytest.raises(ValueError, match="1x3x32x32 and 2x3x32x32"):
            method(frames, frames.repeat(2, 1, 1, 1))
        with pytest.raises(ValueError, match="levels = 3: frames of 32x32 pixels allow 1 to 2"):
            method(frames, frames, levels=3)
    with pytest.raises(ValueError, match="1x3x32x32 and 1x2x16x16"):
        warp(frames, torch.zeros(1, 2, 16, 16))
    with pytest.raises(ValueError, match="window = 4: an odd number"):
        lucas_kanade(frames, frames, window=4)
    for smoothness in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"smoothness = {smoothness}"):
            horn_schunck(frames, frames, smoothness=smoothness)
    with pytest.raises(ValueError, match="iterations = 0"):
        horn_schunck(frames, frames, iterations=0)
    with pytest.raises(ValueError, match="least = -1"):
        lucas_kanade(frames, frames, least=-1.0)
    for method in METHODS:
        with pytest.raises(ValueError, match="steps = 0"):
            method(frames, frames, steps=0)
    flow = torch.zeros(1, 2, 4, 4)
    for longest in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"longest = {longest}"):
            flow_to_rgb(flow, longest=longest)
    with pytest.raises(ValueError, match="valid of shape .*torch.int64: give truth values"):
        endpoint_error(flow, flow, torch.ones(1, 4, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="flow of shape .* truth of"):
        endpoint_error(flow.repeat(2, 1, 1, 1), flow)
    with pytest.raises(ValueError, match="no pixel to compare"):
        endpoint_error(flow[:0], flow[:0])
    unknown = flow.clone()
    unknown[0, 1, 2, 3] = torch.inf
    with pytest.raises(ValueError, match="1 of 16 are no finite numbers; leave out unknown flow by valid"):
        endpoint_error(flow, unknown)
    known = unknown.isfinite().all(1)
    assert endpoint_error(flow, unknown, known) == 0


def test_other_axes(unchecked):
    """A missing batch or other channels would give another number, or another library's error."""
    frames, flow = torch.zeros(3, 16, 16), torch.zeros(2, 16, 16)
    for method in METHODS:
        with pytest.raises(
            ValueError, match=r"frames of shape \(3, 16, 16\): give \[b c h w\]; a single one is x\[None\]"
        ):
            method(frames, frames)
        with pytest.raises(ValueError, match="frames of 3 and of 1 channels"):
            method(frames[None], frames[None, :1])
        with pytest.raises(ValueError, match="frames of torch.uint8: .* x.float"):
            method(*2 * [torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)])
    for function in (flow_to_rgb, lambda x: endpoint_error(x, x), lambda x: warp(frames[None], x)):
        with pytest.raises(ValueError, match=r"flow of shape \(2, 16, 16\): give \[b 2 h w\]"):
            function(flow)
    with pytest.raises(ValueError, match=r"flow of shape \(1, 3, 16, 16\): give \[b 2 h w\]"):
        warp(frames[None], frames[None])
