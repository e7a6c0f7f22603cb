"""Boxes, anchors and matching against torchvision."""

import inspect
import math

import pytest
import torch
import torchvision.ops as reference
from torch.testing import assert_close
from torchvision.models.detection._utils import (
    BalancedPositiveNegativeSampler,
    BoxCoder,
    Matcher,
    SSDMatcher,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from helpers.localization.detection.anchors import (
    anchors_of_maps,
    cell_anchors,
    default_boxes,
    default_scales,
    grid_anchors,
)
from helpers.localization.detection.boxes import (
    LIMIT,
    box_area,
    box_convert,
    box_iou,
    check_boxes,
    clip_boxes_to_image,
    decode_boxes,
    encode_boxes,
    generalized_box_iou,
    is_large,
)
from helpers.localization.detection.matching import hard_negatives, match, sample_balanced

FORMATS = ("xyxy", "xywh", "cxcywh")


def draw_boxes(n, generator, dtype=torch.float64, *, whole=False, side=20.0):
    """Boxes with x1 <= x2; of whole numbers many touch, nest, coincide or have no area."""
    points = torch.rand(n, 2, 2, generator=generator, dtype=torch.float64) * side
    points = points.round() if whole else points
    return torch.cat([points.amin(1), points.amax(1)], 1).to(dtype)


def generators(count):
    return (torch.Generator().manual_seed(seed) for seed in range(count))


def number(generator, most):
    return int(torch.randint(0, most + 1, (), generator=generator))


def plain(function):
    """Without the shape check of the tests: what a reader's call meets."""
    return inspect.unwrap(function)


# Boxes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("whole", [False, True])
def test_matches_reference(dtype, whole):
    for g in generators(300):
        a, b = (draw_boxes(number(g, 12), g, dtype, whole=whole) for _ in range(2))
        equal = dict(rtol=0, atol=0, equal_nan=True)  # two boxes without area: NaN on both sides
        assert_close(box_iou(a, b), reference.box_iou(a, b), **equal)
        assert_close(generalized_box_iou(a, b), reference.generalized_box_iou(a, b), **equal)
        assert_close(box_area(a), reference.box_area(a), **equal)
        assert_close(clip_boxes_to_image(a - 5, (9, 7)), reference.clip_boxes_to_image(a - 5, (9, 7)), **equal)
        (large,) = torch.where(is_large(a, 4.0))
        assert torch.equal(large, reference.remove_small_boxes(a, 4.0))


def test_overlap_matches_reference_in_batches_and_formats():
    g = torch.Generator().manual_seed(0)
    a, b = draw_boxes(12, g).reshape(3, 4, 4), draw_boxes(15, g).reshape(3, 5, 4)
    assert_close(box_iou(a, b), reference.box_iou(a, b), rtol=0, atol=0)
    assert_close(generalized_box_iou(a, b), reference.generalized_box_iou(a, b), rtol=0, atol=0)
    for fmt in FORMATS:
        c, d = (box_convert(x, "xyxy", fmt) for x in (a, b))
        assert_close(box_iou(c, d, fmt), reference.box_iou(c, d, fmt))
        assert_close(box_iou(c, d, fmt), box_iou(a, b))


def test_half_precision_does_not_overflow():
    boxes = torch.tensor([[0, 0, 300, 300], [0, 0, 300, 600]], dtype=torch.float16)
    assert_close(box_iou(boxes, boxes), torch.tensor([[1, 0.5], [0.5, 1]]))
    assert torch.equal(box_area(boxes), reference.box_area(boxes))


@pytest.mark.parametrize("there", FORMATS)
@pytest.mark.parametrize("here", FORMATS)
def test_formats_match_reference(here, there):
    for g in generators(50):
        boxes = draw_boxes(number(g, 9), g)
        boxes = reference.box_convert(boxes, "xyxy", here)
        converted = box_convert(boxes, here, there)
        assert_close(converted, reference.box_convert(boxes, here, there))
        assert_close(box_convert(converted, there, here), boxes)
        assert converted.data_ptr() != boxes.data_ptr() or not len(boxes)


@pytest.mark.parametrize(
    "ours, theirs", [(box_iou, reference.box_iou), (generalized_box_iou, reference.generalized_box_iou)]
)
def test_gradients_match_reference(ours, theirs):
    for g in generators(200):
        a, b = (draw_boxes(n, g).requires_grad_() for n in (5, 4))
        weights = torch.randn(5, 4, generator=g, dtype=torch.float64)
        gradients = [torch.autograd.grad((f(a, b) * weights).sum(), (a, b)) for f in (ours, theirs)]
        assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_overlap_by_hand():
    a = torch.tensor([[0.0, 0, 4, 4]])
    b = torch.tensor([[2.0, 2, 6, 6], [4, 0, 8, 4], [6, 0, 8, 4], [0, 0, 4, 4]])
    assert_close(box_iou(a, b), torch.tensor([[4 / 28, 0, 0, 1]]))
    # The hull of the first pair has 36 places, of which 8 are empty; of the third 32, of which 8.
    assert_close(generalized_box_iou(a, b), torch.tensor([[4 / 28 - 8 / 36, 0, -8 / 32, 1]]))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_encoding_matches_reference(weights, dtype):
    coder = BoxCoder(weights)
    for g in generators(300):
        n = number(g, 9)
        boxes, anchors = draw_boxes(n, g, dtype), draw_boxes(n, g, dtype)
        if number(g, 1) and n:
            boxes[0, 2:] = boxes[0, :2]  # no area: a logarithm of 0
        offsets = encode_boxes(boxes, anchors, weights)
        assert_close(offsets, coder.encode_single(boxes, anchors), rtol=1e-5, atol=1e-5)
        offsets = 10 * torch.randn(n, 8, generator=g, dtype=dtype)  # two classes, many logarithms beyond the limit
        expected = coder.decode_single(offsets, anchors).reshape(n, 2, 4)
        decoded = decode_boxes(offsets.reshape(n, 2, 4), anchors[:, None], weights)
        assert_close(decoded, expected, rtol=1e-5, atol=1e-4)


def test_encoding_is_undone_by_decoding():
    g = torch.Generator().manual_seed(0)
    for weights in ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)):
        boxes, anchors = draw_boxes(5000, g), draw_boxes(5000, g)
        ratio = (boxes[:, 2:] - boxes[:, :2]) / (anchors[:, 2:] - anchors[:, :2])
        within = (ratio < math.exp(LIMIT)).all(1)
        assert 4500 < within.sum() < 5000
        back = decode_boxes(encode_boxes(boxes, anchors, weights), anchors, weights)
        assert_close(back[within], boxes[within], rtol=0, atol=1e-11)
        offsets = torch.randn(5000, 4, generator=g, dtype=torch.float64)
        again = encode_boxes(decode_boxes(offsets, anchors, weights), anchors, weights)
        assert_close(again, offsets, rtol=1e-9, atol=1e-7)  # small anchors: differences of large numbers


def test_decoding_is_differentiable():
    g = torch.Generator().manual_seed(0)
    offsets, anchors = torch.randn(4, 4, generator=g, dtype=torch.float64), draw_boxes(4, g)
    torch.autograd.gradcheck(lambda x: decode_boxes(x, anchors), offsets.requires_grad_())


# Anchors


def reference_anchors(generator, image, maps, dtype=torch.float32):
    images = ImageList(torch.zeros(1, 3, *image), [image])
    return generator(images, [torch.zeros(1, 1, *size, dtype=dtype) for size in maps])[0]


@pytest.mark.parametrize(
    "image, maps", [((64, 96), [(8, 12), (4, 6)]), ((50, 70), [(7, 9), (4, 5)]), ((64, 64), [(8, 8), (1, 1)])]
)
def test_anchors_match_reference(image, maps):
    sizes, ratios = ((16, 24), (40, 56)), ((0.5, 1.0, 2.0), (1.0, 3.0))
    expected = reference_anchors(AnchorGenerator(sizes, ratios), image, maps)
    found = anchors_of_maps(image, maps, sizes, ratios)
    assert [len(x) for x in found] == [maps[0][0] * maps[0][1] * 6, maps[1][0] * maps[1][1] * 4]
    assert torch.equal(torch.cat(found), expected)


def test_anchors_by_hand():
    cell = cell_anchors([4], [0.25, 1.0], whole=False)
    assert_close(cell, torch.tensor([[-4.0, -1, 4, 1], [-2, -2, 2, 2]]))
    grid = grid_anchors(cell, (2, 3), (8, 10), centre=0.5)
    assert grid.shape == (12, 4)
    assert_close(grid[0], torch.tensor([1.0, 3, 9, 5]))  # the first shape around (5, 4)
    assert_close(grid[-1], torch.tensor([23.0, 10, 27, 14]))  # the second around (25, 12)


SSD_MAPS = [(n, n) for n in (38, 19, 10, 5, 3, 1)]
SSD_RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]


def test_ssd_has_8732_default_boxes():
    scales, steps = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05], [8, 16, 32, 64, 100, 300]
    boxes = default_boxes((300, 300), SSD_MAPS, SSD_RATIOS, scales, steps=steps)
    assert boxes.shape == (8732, 4)
    generator = DefaultBoxGenerator(SSD_RATIOS, scales=scales, steps=steps)
    assert_close(boxes, reference_anchors(generator, (300, 300), SSD_MAPS), rtol=0, atol=1e-4)


@pytest.mark.parametrize("clip", [True, False])
def test_default_boxes_match_reference(clip):
    maps, ratios = [(8, 12), (4, 6), (2, 3)], [[2], [2, 3], []]
    generator = DefaultBoxGenerator(ratios, 0.2, 0.9, clip=clip)
    found = default_boxes((64, 96), maps, ratios, default_scales(3), clip=clip)
    assert default_scales(3) == pytest.approx(generator.scales)
    assert_close(found, reference_anchors(generator, (64, 96), maps), rtol=0, atol=1e-4)


# Matching


def overlaps(g, n, m):
    """Overlaps of 0, 0.1 … 1, so that many tie and many sit on a threshold."""
    return torch.randint(0, 11, (n, m), generator=g) / 10


@pytest.mark.parametrize("force", [None, "ties"])
def test_matching_matches_reference(force):
    for g in generators(500):
        table = overlaps(g, 1 + number(g, 4), 1 + number(g, 14))
        low, high = sorted((number(g, 10) / 10, number(g, 10) / 10))
        expected = Matcher(high, low, allow_low_quality_matches=force == "ties")(table)
        assert torch.equal(match(table, high, low, force=force), expected)


def test_matching_matches_reference_of_ssd():
    for g in generators(500):
        table = overlaps(g, 1 + number(g, 4), 1 + number(g, 14))
        assert torch.equal(match(table, 0.5, force="best"), SSDMatcher(0.5)(table))


def test_matching_without_objects_or_anchors():
    assert match(torch.zeros(0, 5), 0.5, 0.4, force="ties").tolist() == [-1] * 5
    assert match(torch.zeros(3, 0), 0.5, force="best").shape == (0,)


def test_sampling_is_balanced_like_the_reference():
    for g in generators(300):
        matches = torch.randint(-2, 3, (number(g, 40),), generator=g)
        count, share = 1 + number(g, 20), number(g, 4) / 4
        positive, negative = sample_balanced(matches, count, share, generator=g)
        labels = matches.clamp(-1, 0) + (matches >= 0)  # torchvision: 1 object, 0 background, -1 ignored
        labels = labels.where(matches != -1, 0).where(matches != -2, -1)
        expected = BalancedPositiveNegativeSampler(count, share)([labels])
        assert [len(positive), len(negative)] == [int(x[0].sum()) for x in expected]
        assert (matches[positive] >= 0).all() and (matches[negative] == -1).all()
        assert len(positive.unique()) == len(positive) and len(negative.unique()) == len(negative)


def test_sampling_is_uniform_and_reproducible():
    matches = torch.tensor([0] * 10 + [-1] * 10)
    g = torch.Generator().manual_seed(0)
    drawn = torch.cat([torch.cat(sample_balanced(matches, 6, 0.5, generator=g)) for _ in range(1000)])
    counts = drawn.bincount(minlength=20)
    assert counts.min() > 220 and counts.max() < 380  # 300 expected, with a deviation of 14.5
    again = [sample_balanced(matches, 6, 0.5, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(torch.cat(again[0]), torch.cat(again[1]))


def test_hard_negatives_match_a_loop():
    for g in generators(300):
        b, n = 1 + number(g, 3), 1 + number(g, 19)
        losses = torch.rand(b, n, generator=g)
        positive = torch.rand(b, n, generator=g) < 0.2
        least = number(g, 2)
        found = hard_negatives(losses, positive, 3.0, least=least)
        for i in range(b):
            background = [j for j in range(n) if not positive[i, j]]
            background.sort(key=lambda j: -losses[i, j])
            expected = background[: max(3 * int(positive[i].sum()), least)]
            assert sorted(expected) == torch.where(found[i])[0].tolist()


# Bad input


def test_refused_boxes():
    good, bad = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 1, 1], [5, 1, 2, 3]])
    check_boxes(good)
    check_boxes(torch.zeros(0, 4))
    check_boxes(torch.tensor([[3.0, 3, 3, 3]]))  # no area is no fault
    with pytest.raises(ValueError, match=r"targets\[1\] = \[5.0, 1.0, 2.0, 3.0\]: a box is .* box_convert"):
        check_boxes(bad, "targets")
    with pytest.raises(ValueError, match=r"boxes\[0\] = \[0.0, 0.0, nan, 4.0\]"):
        check_boxes(torch.tensor([[0, 0, torch.nan, 4]]))
    for function in (box_area, lambda x: plain(box_iou)(x, x), lambda x: plain(box_convert)(x, "xyxy", "xywh")):
        with pytest.raises(ValueError, match=r"of shape \(2, 5\): the last axis holds the 4 numbers"):
            plain(function)(torch.zeros(2, 5))
    for function in (encode_boxes, decode_boxes):
        for weights in ((1.0, 1.0, 0.0, 1.0), (1.0, 1.0)):
            with pytest.raises(ValueError, match=r"weights = \(1.0, 1.0.*: 4 positive numbers"):
                plain(function)(good, good, weights)
    with pytest.raises(ValueError, match="in_fmt = 'yxyx': it is one of"):
        box_convert(good, "yxyx", "xyxy")
    with pytest.raises(ValueError, match="fmt = 'corners': it is one of"):
        box_iou(good, good, "corners")


def test_refused_anchors():
    with pytest.raises(ValueError, match=r"sizes = \[\]: give positive"):
        cell_anchors([], [1.0])
    with pytest.raises(ValueError, match=r"ratios = \[1.0, -2.0\]: give positive"):
        cell_anchors([4], [1.0, -2.0])
    with pytest.raises(ValueError, match="stride = .*: give positive"):
        grid_anchors(torch.zeros(1, 4), (2, 2), 0)
    with pytest.raises(ValueError, match="'maps': 1, 'sizes': 2.*one of each for every map"):
        anchors_of_maps((8, 8), [(2, 2)], [[4], [8]], [[1.0]])
    with pytest.raises(ValueError, match="2 scales for 2 maps: give one more"):
        default_boxes((8, 8), [(2, 2), (1, 1)], [[], []], [0.2, 0.4])
    with pytest.raises(ValueError, match="maps = 0"):
        default_scales(0)


def test_refused_matches():
    table = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="high = 1.5: it lies between 0 and 1"):
        match(table, 1.5)
    with pytest.raises(ValueError, match="low = 0.6 is above high = 0.5"):
        match(table, 0.5, 0.6)
    with pytest.raises(ValueError, match="force = 'all': it is one of"):
        match(table, 0.5, force="all")
    with pytest.raises(ValueError, match="count = 0: sample at least 1"):
        sample_balanced(torch.zeros(3, dtype=torch.long), 0, 0.5)
    with pytest.raises(ValueError, match="share = 2: it lies"):
        sample_balanced(torch.zeros(3, dtype=torch.long), 1, 2)
    with pytest.raises(ValueError, match="ratio = -1"):
        hard_negatives(table, table > 0, -1.0)
