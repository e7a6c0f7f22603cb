"""Pooling of regions against torchvision, forward and backward."""

import pytest
import torch
import torchvision.ops as reference
from torch.testing import assert_close

from helpers.localization.detection.roi import ps_roi_pool, roi_align, roi_pool

CASES = [(torch.float64, 400), (torch.float32, 96)]  # 96 is every combination of a case with the settings once
POOLS = {"roi_pool": roi_pool, "ps_roi_pool": ps_roi_pool, "roi_align": roi_align}


def case(seed, dtype=torch.float64, cells=1):
    """A map and regions inside, across the border, outside, without area, on halves and inside out."""
    g = torch.Generator().manual_seed(seed)

    def number(low, high):
        return int(torch.randint(low, high + 1, (), generator=g))

    b, c, h, w, k = number(1, 3), number(1, 3) * cells, number(1, 9), number(1, 9), number(0, 12)
    x = torch.randn(b, c, h, w, generator=g, dtype=dtype)
    if seed % 4 == 0:
        x = x.round()  # equal values: the first of the largest has the gradient
    scale = (1.0, 0.5, 0.125, 1 / 3)[seed % 4]
    side = 1.4 * max(h, w) / scale
    corners = (torch.rand(k, 4, generator=g, dtype=dtype) - 0.15) * side
    if seed % 3:
        corners = torch.cat([torch.minimum(*corners.split(2, 1)), torch.maximum(*corners.split(2, 1))], 1)
    if seed % 2:
        corners = corners.round()
    if k:
        corners[0, 2:] = corners[0, :2]
    image = torch.randint(0, b, (k, 1), generator=g).to(dtype)
    return x, torch.cat([image, corners], 1), scale, g


def both(name, x, rois, size, scale, g, *rest, **options):
    """Results and gradients of ours and of the reference."""
    sides = []
    seed = None
    for function in (POOLS[name], getattr(reference, name)):
        leaf = x.clone().requires_grad_()
        extra = options if function is POOLS[name] else {}
        y = function(leaf, rois, size, scale, *rest, **extra)
        seed = torch.randn(y.shape, generator=g, dtype=x.dtype) if seed is None else seed
        (y * seed).sum().backward()
        sides.append((y.detach(), leaf.grad))
    return sides


def close(dtype):
    return dict(rtol=1e-10, atol=1e-10) if dtype == torch.float64 else dict(rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype, cases", CASES)
def test_roi_pool_matches_reference(dtype, cases, unchecked):
    for seed in range(cases):
        x, rois, scale, g = case(seed, dtype)
        size = ((1, 1), 2, (3, 2), 7)[seed % 4]
        (ours, gradient), (theirs, expected) = both("roi_pool", x, rois, size, scale, g)
        assert torch.equal(ours, theirs)
        assert_close(gradient, expected, **close(dtype))


@pytest.mark.parametrize("dtype, cases", CASES)
def test_roi_align_matches_reference(dtype, cases, unchecked):
    for seed in range(cases):
        x, rois, scale, g = case(seed, dtype)
        size = ((1, 1), 2, (3, 2), 7)[seed % 4]
        points, aligned = (-1, 1, 2, 3)[seed // 4 % 4], bool(seed // 16 % 2)
        if points < 0 and aligned and seed % 3 == 0:  # inside out: torchvision asks for a negative number of points
            assert POOLS["roi_align"](x, rois, size, scale, points, aligned).isfinite().all()
            continue
        ours, theirs = both("roi_align", x, rois, size, scale, g, points, aligned)
        assert_close(ours, theirs, **close(dtype))


@pytest.mark.parametrize("dtype, cases", CASES)
def test_ps_roi_pool_matches_reference(dtype, cases, unchecked):
    """torchvision's gradient reads the last row and column, its result does not: each equals one form of ours."""
    apart = 0
    for seed in range(cases):
        size = ((1, 1), (2, 2), (3, 2), (1, 3))[seed % 4]
        x, rois, scale, g = case(seed, dtype, size[0] * size[1])
        if rois.numel() and x.shape[2] > 0:
            state = g.get_state()
            (ours, own), (theirs, expected) = both("ps_roi_pool", x, rois, size, scale, g)
            assert_close(ours, theirs, **close(dtype))
            g.set_state(state)
            (_, gradient), _ = both("ps_roi_pool", x, rois, size, scale, g, whole=True)
            assert_close(gradient, expected, **close(dtype))
            apart += not torch.allclose(own, expected)
    assert apart > cases / 2


def test_position_sensitive_cells_by_hand():
    x = torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 5, 5)
    y = ps_roi_pool(x, [torch.tensor([[0.0, 0, 4, 4]])], 2)
    assert y.flatten(2).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    ramp = torch.arange(4.0).repeat(4, 1)[None, None]  # its value is the column
    region = [torch.tensor([[0.0, 0, 4, 4]])]
    assert ps_roi_pool(ramp, region, 1).item() == 1  # columns 0, 1, 2
    assert ps_roi_pool(ramp, region, 1, whole=True).item() == 1.5


def test_align_reads_a_plane_exactly_and_pool_does_not():
    """On a map whose values are coordinates the mean of points is the centre of the cell."""
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    plane = torch.stack([columns + 0.5, rows + 0.5])[None]  # centres of pixels
    region = torch.tensor([[0, 2.3, 3.1, 8.9, 9.7]])
    centres = roi_align(plane, region, 2, 1.0, 2, True)[0]
    assert_close(centres[0], torch.tensor([[3.95, 7.25]] * 2))
    assert_close(centres[1], torch.tensor([[4.75], [8.05]]).expand(2, 2))
    assert (roi_pool(plane, region, 2)[0] - centres).abs().max() > 1


@pytest.mark.parametrize("name", POOLS)
def test_lists_of_boxes_match_reference(name):
    x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    boxes = [torch.tensor([[0.0, 0, 30, 30], [8, 8, 64, 40]]), torch.zeros(0, 4), torch.tensor([[5.0, 9, 33, 60]])]
    assert_close(POOLS[name](x, boxes, 2, 0.125), getattr(reference, name)(x, boxes, 2, 0.125))
    empty = POOLS[name](x, [torch.zeros(0, 4)] * 3, (2, 2), 0.125)
    assert empty.shape == getattr(reference, name)(x, [torch.zeros(0, 4)] * 3, (2, 2), 0.125).shape


@pytest.mark.parametrize("name", POOLS)
def test_gradients_are_those_of_differences(name):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 5, 6, generator=g, dtype=torch.float64).requires_grad_()
    rois = torch.tensor([[0, 0.2, 0.7, 4.1, 3.9], [1, 1, 1, 9, 9], [1, 8, 8, 9, 9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: POOLS[name](x, rois, 2), x)


@pytest.mark.parametrize("name", POOLS)
def test_no_gradient_reaches_the_boxes(name):
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    rois = torch.tensor([[0, 0.2, 0.7, 4.1, 3.9]], requires_grad=True)
    POOLS[name](x, rois, 2).sum().backward()
    assert rois.grad is None and x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", POOLS)
def test_device_and_dtype(name):
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0, 0.2, 0.7, 4.1, 3.9]])
    expected = POOLS[name](x, rois, 2)
    half = POOLS[name](x.bfloat16(), rois, 2)
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), expected, rtol=0.02, atol=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(POOLS[name](x, rois, 2), expected)
    last = x.contiguous(memory_format=torch.channels_last)
    assert_close(POOLS[name](last, rois, 2), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("name", POOLS)
def test_on_a_gpu(name):
    for seed in range(40):
        x, rois, scale, _ = case(seed, cells=4)
        assert_close(POOLS[name](x.cuda(), rois.cuda(), 2, scale).cpu(), POOLS[name](x, rois, 2, scale))


@pytest.mark.parametrize("name", POOLS)
def test_refused(name):
    pool, x = POOLS[name], torch.zeros(2, 4, 5, 5)
    good = torch.tensor([[0, 0.0, 0, 4, 4]])
    with pytest.raises(ValueError, match="output_size = 0: cells down and across, at least 1"):
        pool(x, good, 0)
    with pytest.raises(ValueError, match="spatial_scale = 0: 1 / stride"):
        pool(x, good, 2, 0)
    with pytest.raises(ValueError, match="1 lists of boxes for 2 images"):
        pool(x, [torch.zeros(0, 4)], 2)
    with pytest.raises(ValueError, match=r"boxes\[1\] of shape \(3, 5\): give \[l 4\]"):
        pool(x, [torch.zeros(0, 4), torch.zeros(3, 5)], 2)
    with pytest.raises(ValueError, match=r"boxes\[0\] = \[2.0, 0.0, .*the index of one of the 2 images"):
        pool(x, good + torch.tensor([2.0, 0, 0, 0, 0]), 2)
    with pytest.raises(ValueError, match=r"boxes\[0\] = .*nan.*four finite numbers"):
        pool(x, good * torch.nan, 2)
    with pytest.raises(ValueError, match=r"boxes of shape \(1, 4\): give \[n 5\]"):
        pool.__wrapped__(x, torch.zeros(1, 4), 2)


def test_refused_channels():
    with pytest.raises(ValueError, match="4 channels for 3 x 3 cells: give a multiple of 9"):
        ps_roi_pool(torch.zeros(1, 4, 5, 5), torch.zeros(0, 5), 3)
