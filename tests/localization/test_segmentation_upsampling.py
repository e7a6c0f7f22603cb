"""Upsampling against torch; unpooling; the pattern of overlaps; atrous convolution; a window at every pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.models.segmentation import deeplabv3

from helpers.convnets.output_size import multiply_adds, overlap_counts
from helpers.localization.detection.sliding_window import WindowClassifier
from helpers.localization.segmentation import (
    ASPP,
    ResizeConvolution,
    SubPixel,
    Transposed,
    atrous,
    bilinear,
    bilinear_kernel,
    insert_zeros,
    nearest,
    patchwise,
    pixel_shuffle,
    pool,
    shift_and_stitch,
    slide,
    unpool,
    with_holes,
)

seeds = st.integers(0, 2**20)


def maps(seed: int, *shape: int):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, factor=st.integers(1, 5), h=st.integers(1, 5), w=st.integers(1, 5))
def test_matches_torch(seed, factor, h, w):
    x = maps(seed, 2, 3, h, w)
    assert_close(nearest(x, factor), F.interpolate(x, scale_factor=factor, mode="nearest"))
    assert_close(bilinear(x, factor), F.interpolate(x, scale_factor=factor, mode="bilinear"))
    many = maps(seed, 2, 3 * factor**2, h, w)
    assert_close(pixel_shuffle(many, factor), F.pixel_shuffle(many, factor))


def test_bilinear_kernels_of_the_paper():
    assert bilinear_kernel(4)[0].tolist() == [0.0625, 0.1875, 0.1875, 0.0625]
    assert bilinear_kernel(3)[1].tolist() == [0.5, 1, 0.5]
    for stride in (2, 3, 8):  # every output is a mean: its weights add to 1
        kernel = bilinear_kernel(2 * stride - stride % 2)[None, None]
        y = F.conv_transpose2d(torch.ones(1, 1, 4, 4), kernel, stride=stride)
        inside = y[..., 2 * stride : -2 * stride, 2 * stride : -2 * stride]
        assert_close(inside, torch.ones_like(inside))


@settings(max_examples=15, deadline=None)
@given(seed=seeds, stride=st.sampled_from([2, 4, 8]))
def test_transposed_begins_as_bilinear(seed, stride):
    x = maps(seed, 1, 3, 4, 5)
    layer = Transposed(3, 3, 2 * stride, stride, stride // 2).double()
    found, edge = layer(x), stride
    expected = bilinear(x, stride)
    assert_close(found[..., edge:-edge, edge:-edge], expected[..., edge:-edge, edge:-edge])
    assert layer.weight.requires_grad and layer.bias is None


@settings(max_examples=25, deadline=None)
@given(seed=seeds, kernel=st.integers(2, 3), h=st.integers(3, 9), w=st.integers(3, 9))
def test_unpool_matches_torch(seed, kernel, h, w):
    x = maps(seed, 2, 3, h, w)
    y, places = pool(x, kernel)
    found = unpool(y, places, (h, w))
    assert_close(found, nn.MaxUnpool2d(kernel)(y, places, (h, w)))
    kept = found != 0
    assert_close(found[kept], x[kept]) and kept.sum() == y.numel()
    again, _ = pool(unpool(y.relu(), places, (h, w)), kernel)
    assert_close(again, y.relu())


def test_unpool_sends_gradients_back():
    x = maps(3, 1, 2, 6, 6).requires_grad_()
    y, places = pool(x)
    assert torch.autograd.gradcheck(lambda y: unpool(y, places, (6, 6)), y.detach().requires_grad_())
    unpool(y, places, (6, 6)).sum().backward()
    assert x.grad.sum() == y.numel() and set(x.grad.unique().tolist()) == {0, 1}


@pytest.mark.parametrize(
    "kernel, stride, even", [(3, 2, False), (4, 2, True), (2, 2, True), (5, 3, False), (6, 3, True)]
)
def test_coverage_is_even_where_the_stride_divides_the_kernel(kernel, stride, even):
    counts = overlap_counts(6, kernel, stride)
    layer = nn.ConvTranspose2d(1, 1, kernel, stride, bias=False)
    nn.init.ones_(layer.weight)
    assert_close(counts, layer(torch.ones(1, 1, 6, 6))[0, 0])
    inside = counts[kernel:-kernel, kernel:-kernel]
    assert (len(inside.unique()) == 1) == even


def test_cures_begin_without_a_pattern():
    x = torch.rand(1, 4, 1, 1).expand(1, 4, 6, 6)
    for layer in (SubPixel(4, 3, 2), ResizeConvolution(4, 3, 2)):
        inside = layer(x)[0, :, 4:-4, 4:-4]
        assert_close(inside, inside[:, :1, :1].expand_as(inside))
    ragged = SubPixel(4, 3, 2, even=False)(x)[0, :, 4:-4, 4:-4]
    assert ragged.std((1, 2)).min() > 1e-3
    y = maps(1, 1, 4, 3, 3).float()
    layer = SubPixel(4, 3, 3)
    assert_close(layer(y), F.pixel_shuffle(layer.conv(y), 3))
    assert layer(y).shape == (1, 3, 9, 9)


# -- atrous convolution --


@settings(max_examples=25, deadline=None)
@given(seed=seeds, rate=st.integers(1, 4), side=st.sampled_from([1, 3, 5]))
def test_atrous_is_a_kernel_with_zeros(seed, rate, side):
    x, kernel = maps(seed, 2, 3, 9, 8), maps(seed + 1, 4, 3, side, 3)
    expected = F.conv2d(x, kernel, padding=(rate * (side // 2), rate), dilation=rate)
    assert_close(atrous(x, kernel, rate), expected)
    wide = insert_zeros(kernel, rate)
    assert wide.shape[-1] == 2 * rate + 1
    assert (wide != 0).sum() == kernel.numel()
    assert_close(F.conv2d(x, wide, padding=(rate * (side // 2), rate)), expected)


def test_aspp_reads_one_map_at_several_rates():
    torch.manual_seed(0)
    pyramid = ASPP(2, (2, 3), dim=4, dropout=0.0).double().eval()
    x = maps(0, 1, 2, 13, 13).requires_grad_()
    for conv, rate in zip(pyramid.convs, (0, 2, 3)):
        (gradient,) = torch.autograd.grad(conv(x)[0, :, 6, 6].square().sum(), x)
        rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
        assert rows == sorted({6 - rate, 6, 6 + rate})
    (gradient,) = torch.autograd.grad(pyramid.convs[-1](x)[0, :, 0, 0].square().sum(), x)
    assert (gradient[0].abs().sum(0) > 0).all()
    assert pyramid(x).shape == (1, 4, 13, 13)


def test_aspp_matches_torchvision():
    """On a map so large that rates of 12, 24 and 36 all find values."""
    torch.manual_seed(0)
    reference = deeplabv3.ASPP(2, (12, 24, 36), 3).double().eval()
    ours = ASPP(2, (12, 24, 36), dim=3).double().eval()
    ours.load_state_dict(reference.state_dict())
    x = maps(0, 1, 2, 50, 77)
    assert_close(ours(x), reference(x))


# -- a window at every pixel --


def integers(classes: int = 3) -> WindowClassifier:
    """Weights that are small whole numbers: float64 makes no rounding error."""
    torch.manual_seed(0)
    net = WindowClassifier(classes=classes, width=3, hidden=5).double()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randint(-2, 3, p.shape))
    return net


def test_sliding_is_convolving_to_the_bit():
    net = integers()
    images = torch.randint(0, 5, (2, 3, 33, 41)).double() / 4
    dense = patchwise(net, images)
    assert dense.shape == (2, 4, 14, 22)
    assert torch.equal(dense[..., 5, 7], net(images[..., 5:25, 7:27]))
    assert torch.equal(patchwise(net, images, net.stride), slide(net, images))
    assert torch.equal(dense[..., ::4, ::4], slide(net, images))
    assert torch.equal(shift_and_stitch(net, images), dense)
    assert torch.equal(with_holes(net, images), dense)
    exact = torch.randn(1, 3, 20, 22, dtype=torch.float64)
    assert_close(shift_and_stitch(net, exact), patchwise(net, exact))


def test_work_of_each_way():
    """Every way computes the same; patches cost most."""
    with torch.device("meta"):
        net, images = WindowClassifier(classes=3), torch.empty(1, 3, 64, 64)
        costs = [multiply_adds(lambda way=way: way(net, images)) for way in (patchwise, shift_and_stitch, with_holes)]
        one = multiply_adds(lambda: net(torch.empty(1, 3, 20, 20)))
    assert costs[0] == 45**2 * one
    assert costs[1] == pytest.approx(costs[2], rel=0.1)
    assert costs[0] > 3 * costs[1]  # no more: the layer over 4 x 4 cells is most of it


def test_device_and_dtype():
    x = maps(0, 1, 4, 4, 4)
    for dtype in (torch.bfloat16, torch.float32):
        y = x.to(dtype)
        assert {f(y, 2).dtype for f in (nearest, bilinear, pixel_shuffle)} == {dtype}
        values, places = pool(y)
        assert unpool(values, places, (4, 4)).dtype == dtype


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nearest(torch.zeros(1, 1, 2, 2), 0), "factor = 0"),
        (lambda: pixel_shuffle(torch.zeros(1, 6, 2, 2), 2), "6 channels do not divide by 2² = 4"),
        (lambda: bilinear_kernel(0), "size = 0"),
        (lambda: Transposed(2, 3, 4, 2), "dim = 2, out = 3"),
        (lambda: unpool(torch.zeros(1, 1, 1, 1), torch.tensor([[[[9]]]]), (3, 3)), "place 9 in a map of 3 x 3"),
        (lambda: insert_zeros(torch.zeros(1, 1, 3, 3), 0), "rate = 0"),
        (lambda: atrous(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2), 1), "kernel of 2 x 2"),
        (
            lambda: patchwise(integers(), torch.zeros(1, 3, 19, 30).double()),
            "19 x 30 pixels are smaller than the window of 20",
        ),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call()
