"""Non-maximum suppression against torchvision, and against the rule as a loop."""

from importlib import import_module

import pytest
import torch
import torchvision.ops as reference
from torch.testing import assert_close

from helpers.localization.detection.boxes import box_iou
from helpers.localization.detection.nms import batched_nms, nms, nms_steps, soft_nms

module = import_module("helpers.localization.detection.nms")  # the package's own `nms` is the function

THRESHOLDS = (0.5, 0.3, 1 / 3, 0.7, 0.1, 0, 1, 0.25)


def case(seed, most=200, side=30, dtype=torch.float64, *, whole=None, ties=None):
    """Random boxes and scores; by the seed of whole numbers or not, with equal scores or without."""
    g = torch.Generator().manual_seed(seed)
    n = int(torch.randint(0, most, (), generator=g))
    points = torch.rand(n, 2, 2, generator=g, dtype=torch.float64) * side
    if whole if whole is not None else seed % 2:
        points = points.round()
    boxes = torch.cat([points.amin(1), points.amax(1)], 1).to(dtype)
    scores = torch.randperm(n, generator=g).to(dtype) / max(n, 1)
    if ties if ties is not None else seed % 3 == 0:
        scores = (scores * 10).round() / 10
    groups = torch.randint(0, 4, (n,), generator=g)
    return boxes, scores, groups, THRESHOLDS[seed % len(THRESHOLDS)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_matches_reference(dtype):
    kept = 0
    for seed in range(600):
        boxes, scores, _, threshold = case(seed, dtype=dtype)
        found = nms(boxes, scores, threshold)
        assert torch.equal(found, reference.nms(boxes, scores, threshold))
        kept += len(found)
    assert 6_000 < kept < 54_000  # of some 60,000: neither all nor hardly any


@pytest.mark.parametrize("block, pairs", [(1, 1), (7, 50), (1024, 2**24)])
def test_the_size_of_blocks_changes_nothing(monkeypatch, block, pairs):
    monkeypatch.setitem(module.BLOCK, "cpu", block)
    monkeypatch.setitem(module.PAIRS, "cpu", pairs)
    for seed in range(60):
        boxes, scores, _, threshold = case(seed, most=30)
        assert torch.equal(nms(boxes, scores, threshold), reference.nms(boxes, scores, threshold))


@pytest.mark.parametrize("side", [1000, 100])
def test_matches_reference_on_10000_boxes(side):
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(10_000, 2, generator=g) * side
    boxes = torch.cat([corner, corner + torch.rand(10_000, 2, generator=g) * 50], 1)
    scores = torch.rand(10_000, generator=g)
    assert torch.equal(nms(boxes, scores, 0.5), reference.nms(boxes, scores, 0.5))


def test_groups_match_reference():
    for seed in range(600):
        boxes, scores, groups, threshold = case(seed, ties=False)
        expected = reference.batched_nms(boxes, scores, groups, threshold) if len(boxes) else groups
        assert torch.equal(batched_nms(boxes, scores, groups, threshold), expected)


def test_many_groups_one_after_another_match_reference(monkeypatch):
    boxes, scores, groups, _ = case(3, most=4000, ties=False)
    assert len(boxes) > 1000
    expected = reference.batched_nms(boxes, scores, groups, 0.5)
    assert torch.equal(batched_nms(boxes, scores, groups, 0.5), expected)
    monkeypatch.setattr(module, "FEW", 10**6)
    assert torch.equal(batched_nms(boxes, scores, groups, 0.5), expected)


def test_groups_do_not_touch_each_other():
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(4, 1)
    scores = torch.tensor([0.1, 0.4, 0.3, 0.2])
    assert batched_nms(boxes, scores, torch.tensor([0, 0, 7, 7]), 0.5).tolist() == [1, 2]
    assert nms(boxes, scores, 0.5).tolist() == [1]


def test_a_chain_of_boxes_is_settled_in_order():
    """Each strikes out the next and no other: every second one stays, however long the chain."""
    left = torch.arange(300.0) * 2
    boxes = torch.stack([left, torch.zeros(300), left + 6, torch.full((300,), 6.0)], 1)
    scores = torch.linspace(1, 0, 300)
    assert box_iou(boxes[:1], boxes[:3]).tolist()[0] == pytest.approx([1, 0.5, 0.2])
    assert nms(boxes, scores, 0.4).tolist() == list(range(0, 300, 2))


def test_an_overlap_at_the_threshold_stays():
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 0.5, 1]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1, 2]
    assert nms(boxes, scores, 0.49).tolist() == [0, 2]


def test_single_precision_compares_like_double():
    """0.3 rounds up in single precision, 0.7 down: an overlap of just that number is on the other side."""
    for threshold in (0.3, 0.7, 0.1, 0.6):
        near = torch.tensor(threshold).item()
        floor = module._floor(threshold, torch.float32)
        assert floor <= threshold and torch.tensor(floor).item() == floor
        assert (near > threshold) == (near > floor)
    tenths = torch.tensor([[0.0, 0, 10, 1], [0, 0, 3, 1], [0, 0, 7, 1]])
    for threshold in (0.3, 0.7):
        for scores in (torch.tensor([3.0, 2, 1]), torch.tensor([3.0, 1, 2])):
            assert torch.equal(nms(tenths, scores, threshold), reference.nms(tenths, scores, threshold))


def test_empty_and_half_precision():
    none = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert none.shape == (0,) and none.dtype == torch.long
    assert batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.5).shape == (0,)
    boxes = torch.tensor([[0, 0, 400, 400], [0, 0, 400, 390]], dtype=torch.float16)
    assert nms(boxes, torch.tensor([0.5, 0.6], dtype=torch.float16), 0.5).tolist() == [1]


def test_order_of_input_does_not_matter():
    boxes, scores, _, _ = case(5, whole=False, ties=False)
    shuffle = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))
    assert torch.equal(shuffle[nms(boxes[shuffle], scores[shuffle], 0.5)], nms(boxes, scores, 0.5))


def test_steps_end_in_the_same_boxes():
    for seed in range(100):
        boxes, scores, _, threshold = case(seed, most=40)
        steps = list(nms_steps(boxes, scores, threshold))
        kept = nms(boxes, scores, threshold).tolist()
        assert [step.chosen for step in steps] == kept
        seen = []
        for step in steps:
            seen += [step.chosen, *step.struck]
            assert step.kept == kept[: len(step.kept)]
            assert sorted(seen + step.waiting) == list(range(len(boxes)))
            table = box_iou(boxes[[step.chosen]], boxes)[0]
            assert all(table[i] > threshold for i in step.struck)
            assert not any(table[i] > threshold for i in step.waiting)
        assert not steps or steps[-1].waiting == []


def test_soft_suppression_matches_a_loop():
    for seed in range(100):
        boxes, scores, _, _ = case(seed, most=40, whole=False, ties=False)
        left, expected = dict(enumerate(scores.tolist())), []
        table = box_iou(boxes, boxes)
        while left:
            best = max(left, key=left.get)
            if left[best] < 0.05:
                break
            expected.append((best, left.pop(best)))
            for i in left:
                left[i] *= torch.exp(-(table[best, i] ** 2) / 0.5).item()
        kept, lowered = soft_nms(boxes, scores, least=0.05)
        assert kept.tolist() == [i for i, _ in expected]
        assert_close(lowered, torch.tensor([value for _, value in expected], dtype=scores.dtype))


def test_soft_suppression_chooses_no_box_twice():
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(3, 1)
    kept, lowered = soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), sigma=1e-4, least=0)
    assert sorted(kept.tolist()) == [0, 1, 2] and lowered.tolist()[1:] == [0, 0]


@pytest.mark.gpu
def test_device_and_dtype():
    for seed in range(50):
        boxes, scores, groups, threshold = case(seed, ties=False)
        there = batched_nms(boxes.cuda(), scores.cuda(), groups.cuda(), threshold)
        assert there.is_cuda and torch.equal(there.cpu(), batched_nms(boxes, scores, groups, threshold))


def test_refused():
    boxes, scores = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0.5])
    for function in (nms, nms_steps):
        with pytest.raises(ValueError, match="iou_threshold = 1.5: it lies between 0 and 1"):
            list(function(boxes, scores, 1.5))
        with pytest.raises(ValueError, match=r"boxes\[0\] = \[4.0, 0.0, 0.0, 4.0\]: a box is .* with x1 <= x2"):
            list(function(boxes[:, [2, 1, 0, 3]], scores, 0.5))
    with pytest.raises(ValueError, match="sigma = 0: it is positive"):
        soft_nms(boxes, scores, sigma=0)


def test_scores_that_are_no_numbers_are_refused():
    """Such a box came first, and struck out a sound one."""
    boxes, scores = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]]), torch.tensor([0.9, torch.nan])
    for function in (nms, nms_steps, lambda *x: batched_nms(*x[:2], torch.tensor([0, 1]), x[2])):
        with pytest.raises(ValueError, match=r"scores\[1\] = nan: no order .* lower its rate of learning"):
            list(function(boxes, scores, 0.5))
    with pytest.raises(ValueError, match=r"scores\[1\] = nan"):
        soft_nms(boxes, scores)
    infinite = torch.tensor([-torch.inf, torch.inf])
    assert nms(boxes, infinite, 0.5).tolist() == [1]  # these have a place


@pytest.mark.usefixtures("unchecked")
def test_refused_numbers():
    """What the shape check of the tests would refuse first."""
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    with pytest.raises(ValueError, match=r"scores of shape \(2,\) for 1 boxes"):
        nms(boxes, torch.tensor([0.5, 0.4]), 0.5)
    with pytest.raises(ValueError, match=r"scores is of type list: give a tensor \[n\]"):
        nms(boxes, [0.5], 0.5)
    with pytest.raises(ValueError, match="boxes is of type list: give a tensor"):
        nms(boxes.tolist(), torch.tensor([0.5]), 0.5)
    with pytest.raises(ValueError, match="2 idxs for 1 boxes"):
        batched_nms(boxes, torch.tensor([0.5]), torch.tensor([0, 1]), 0.5)
