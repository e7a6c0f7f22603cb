"""Average precision against pycocotools and against loops, and the sorting of errors."""

import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO as Annotations
from pycocotools.cocoeval import COCOeval

from helpers.localization.detection.average_precision import (
    AREAS,
    COCO,
    average_precision,
    evaluate_detections,
    precision_recall,
    precision_recall_curve,
)
from helpers.localization.detection.boxes import Detections, box_iou
from helpers.localization.detection.errors import KINDS, sort_errors

CLASSES = 3


def case(seed, images=6, side=200, most=40):
    """Random truth and detections near it, of all sizes; some images empty, some scores equal, some boxes twice."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    found, boxes, labels = [], [], []
    for _ in range(images):
        objects, n = int(rand(1) * 8), int(rand(1) * most)
        corner = rand(objects, 2) * side
        box = torch.cat([corner, corner + rand(objects, 2) ** 2 * 150 + 1], 1).round()
        label = (rand(objects) * CLASSES).long()
        guess, there = (rand(n) * CLASSES).long(), torch.cat([rand(n, 2), rand(n, 2) + 1], 1) * side
        if objects:
            source = (rand(n) * objects).long()
            there = box[source] + (rand(n, 4) - 0.5) * 30 * rand(n, 1)
            guess = label[source].where(rand(n) < 0.8, guess)
        there = torch.cat([torch.minimum(*there.split(2, 1)), torch.maximum(*there.split(2, 1))], 1)
        there = there.round() if seed % 2 else there
        scores = (rand(n) * 10).round() / 10 if seed % 3 == 0 else rand(n)
        found.append(Detections(there, scores, guess))
        boxes.append(box)
        labels.append(label)
    return found, boxes, labels


def coco(found, boxes, labels, most):
    """Precision averaged over 101 recalls and largest recall, [t k areas], by pycocotools; -1 without objects."""

    def rows(boxes):
        return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()

    truth = [
        dict(image_id=i, category_id=k, bbox=row, area=row[2] * row[3], iscrowd=0)
        for i, (box, label) in enumerate(zip(boxes, labels), 1)
        for row, k in zip(rows(box), label.tolist())
    ]
    guesses = [
        dict(image_id=i, category_id=k, bbox=row, score=score)
        for i, one in enumerate(found, 1)
        for row, score, k in zip(rows(one.boxes), one.scores.tolist(), one.labels.tolist())
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = Annotations()
        reference.dataset = dict(
            images=[dict(id=i + 1) for i in range(len(boxes))],
            annotations=[dict(row, id=i) for i, row in enumerate(truth, 1)],
            categories=[dict(id=k) for k in range(CLASSES)],
            info={},
        )
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(guesses), "bbox")
        evaluation.params.maxDets = [1, 2, most]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1].mean(1), evaluation.eval["recall"][..., -1]


@pytest.mark.parametrize("seeds", [range(0, 20), range(20, 40)], ids=["0-19", "20-39"])
def test_matches_reference(seeds):
    compared = 0
    for seed in seeds:
        most = (100, 5)[seed % 2]
        sides = case(seed)
        expected = coco(*sides, most)
        for place, area in enumerate(AREAS):
            result = evaluate_detections(*sides, classes=CLASSES, area=area, most=most)
            for ours, theirs in zip((result.precision, result.recall), expected):
                theirs = theirs[..., place].T
                np.testing.assert_array_equal(ours.isnan().numpy(), theirs == -1)
                np.testing.assert_allclose(ours.nan_to_num(-1), theirs, rtol=0, atol=1e-12)
            compared += int((result.precision > 0).sum())
    assert compared > 1000  # figures that are neither 0 nor missing


@pytest.mark.parametrize(("second", "found_both"), [(0, True), (1, False)])
def test_of_equal_overlaps_the_later_counts(second, found_both):
    """The surer box lies between two objects, the other upon one of them: it depends on the first choice whether that is free."""
    boxes = torch.tensor([[0, 0, 10, 10], [4, 0, 14, 10]], dtype=torch.float64)
    between = torch.tensor([[2, 0, 12, 10]], dtype=torch.float64)
    zeros = torch.zeros(2, dtype=torch.long)
    found = [Detections(torch.cat([between, boxes[[second]]]), torch.tensor([0.9, 0.8], dtype=torch.float64), zeros)]
    result = evaluate_detections(found, [boxes], [zeros], classes=CLASSES)
    expected = coco(found, [boxes], [zeros], 100)[0][0, 0, 0]
    assert result.precision[0, 0].item() == pytest.approx(expected, abs=1e-12)
    assert (expected == 1) == found_both


def test_mean_matches_reference():
    sides = case(1)
    precision = coco(*sides, 100)[0][..., 0]
    result = evaluate_detections(*sides, classes=CLASSES)
    assert result.mean == pytest.approx(precision[precision > -1].mean(), abs=1e-12)
    assert result.at(0.75) == pytest.approx(precision[5][precision[5] > -1].mean(), abs=1e-12)
    assert tuple(np.linspace(0.5, 0.95, 10).round(2)) == COCO


def naive(found, boxes, labels, label, threshold, points):
    """VOC as its paper tells it: all detections of a class from the surest downwards, each to its best object."""
    ranked = sorted(
        (-one.scores[j].item(), i, j)
        for i, one in enumerate(found)
        for j in range(len(one.boxes))
        if one.labels[j] == label
    )
    taken, hits, curve = set(), 0, []
    objects = sum(int((x == label).sum()) for x in labels)
    if not objects:
        return None
    for rank, (_, i, j) in enumerate(ranked, 1):
        best, which = -1.0, None
        for o in range(len(boxes[i])):
            if labels[i][o] == label:
                overlap = box_iou(found[i].boxes[[j]], boxes[i][[o]]).item()
                if overlap > best:
                    best, which = overlap, (i, o)
        if best >= threshold and which not in taken:
            taken.add(which)
            hits += 1
        curve.append((hits / objects, hits / rank))
    if points is None:
        area, last = 0.0, 0.0
        for recall, _ in curve:
            area += (recall - last) * max(p for r, p in curve if r >= recall)
            last = recall
        return area
    return sum(max((p for r, p in curve if r >= t), default=0.0) for t in np.linspace(0, 1, points)) / points


@pytest.mark.parametrize("points", [11, None])
def test_voc_matches_a_loop(points):
    for seed in (1, 2, 4, 5, 7, 8):  # no equal scores
        sides = case(seed, images=4, most=25)
        result = evaluate_detections(*sides, classes=CLASSES, thresholds=(0.5, 0.7), points=points, rule="voc")
        for label in range(CLASSES):
            for column, threshold in enumerate((0.5, 0.7)):
                expected = naive(*sides, label, threshold, points)
                value = result.precision[label, column].item()
                assert np.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-12)


def test_the_two_rules_differ():
    """A second box over two objects: COCO gives it the free one, VOC calls it a duplicate."""
    truth = [torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 14]])], [torch.tensor([0, 0])]
    twice = torch.tensor([[0.0, 0, 10, 10]] * 2)
    found = [Detections(twice, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]))]
    figures = [
        evaluate_detections(found, *truth, classes=1, thresholds=(0.5,), rule=rule).recall for rule in ("coco", "voc")
    ]
    assert figures[0].item() == 1 and figures[1].item() == 0.5


def test_average_precision_by_hand():
    precision, recall = precision_recall(torch.tensor([True, False, True, False]), 4)
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert recall.tolist() == [0.25, 0.25, 0.5, 0.5]
    assert average_precision(precision, recall, None) == pytest.approx(0.25 + 0.25 * 2 / 3)
    # Of recalls 0, 0.1 … 1 three are reached with precision 1, three more with 2/3.
    assert average_precision(precision, recall, 11) == pytest.approx((3 + 3 * 2 / 3) / 11)
    assert average_precision(precision[:0], recall[:0]) == 0


def test_curve_belongs_to_the_average():
    sides = case(4)
    precision, recall = precision_recall_curve(*sides, 1, threshold=0.5)
    result = evaluate_detections(*sides, classes=CLASSES)
    assert average_precision(precision, recall) == pytest.approx(result.precision[1, 0].item())
    assert (recall.diff() >= 0).all() and len(recall) == sum(int((x.labels == 1).sum()) for x in sides[0])


def test_order_of_detections_does_not_matter():
    found, *truth = case(4)
    g = torch.Generator().manual_seed(0)
    shuffled = [
        Detections(*(x[torch.randperm(len(one.scores), generator=g.manual_seed(i))] for x in one))
        for i, one in enumerate(found)
    ]
    results = [evaluate_detections(x, *truth, classes=CLASSES).precision for x in (found, shuffled)]
    torch.testing.assert_close(*results, equal_nan=True)


# Errors


def by_hand(rows, truth=((0, 0, 10, 10, 0), (20, 0, 30, 10, 1))):
    """Detections (x1, y1, x2, y2, class), best first, of one image with two objects: kinds by name, and who is missed."""
    rows, truth = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5), torch.tensor(truth, dtype=torch.float32)
    found = Detections(rows[:, :4], torch.linspace(1, 0.5, len(rows)), rows[:, 4].long())
    errors = sort_errors([found], [truth[:, :4]], [truth[:, 4].long()])
    kinds = [KINDS[i] for i in errors.kinds[0]]
    assert {name: kinds.count(name) for name in KINDS} | {"missed": int(errors.missed[0].sum())} == errors.counts()
    return kinds, errors.objects[0].tolist(), errors.missed[0].tolist()


def test_each_kind_of_error():
    assert by_hand([(0, 0, 10, 9, 0)]) == (["correct"], [0], [False, True])
    assert by_hand([(0, 0, 10, 9, 0), (0, 0, 10, 10, 0)]) == (["correct", "duplicate"], [0, 0], [False, True])
    assert by_hand([(0, 0, 10, 4, 0)]) == (["localisation"], [0], [False, True])
    assert by_hand([(0, 0, 10, 9, 1)]) == (["confusion"], [0], [False, True])
    assert by_hand([(0, 0, 10, 3, 2)]) == (["confusion"], [0], [False, True])
    assert by_hand([(40, 40, 50, 50, 0), (0, 0, 10, 0.5, 0)]) == (["background"] * 2, [-1, -1], [True, True])
    assert by_hand([]) == ([], [], [True, True])


def test_the_larger_overlap_decides():
    pair = ((0, 0, 10, 10, 0), (0, 0, 10, 6, 1))
    assert by_hand([(0, 0, 10, 3, 0)], pair)[0] == ["confusion"]  # 0.3 of its own class, 0.5 of the other
    assert by_hand([(0, 0, 10, 3, 1)], pair)[0] == ["correct"]
    assert by_hand([(0, 6, 10, 10, 0)], pair)[0] == ["localisation"]


def test_every_detection_is_sorted_once_as_coco_counts_hits():
    for seed in range(20):
        found, boxes, labels = case(seed)
        errors = sort_errors(found, boxes, labels)
        counts = errors.counts()
        assert sum(counts.values()) - counts["missed"] == sum(len(x.boxes) for x in found)
        hits = 0
        for label in range(CLASSES):
            _, recall = precision_recall_curve(found, boxes, labels, label, most=10**6)
            objects = sum(int((x == label).sum()) for x in labels)
            hits += round(recall[-1].item() * objects) if len(recall) and objects else 0
        assert counts["correct"] == hits
        for kind, meant, one, box, label in zip(errors.kinds, errors.objects, found, boxes, labels):
            assert ((meant < 0) == (kind == KINDS.index("background"))).all()
            for k, m, b, c in zip(kind.tolist(), meant.tolist(), one.boxes, one.labels.tolist()):
                if m >= 0:
                    overlap = box_iou(b[None], box[[m]]).item()
                    same = c == label[m]
                    assert same != (KINDS[k] == "confusion")
                    assert overlap >= (0.5 if KINDS[k] in ("correct", "duplicate") else 0.1)


def test_refused():
    found, boxes, labels = case(4)
    with pytest.raises(ValueError, match="6 images with detections, 5 with boxes"):
        evaluate_detections(found, boxes[:5], labels, classes=CLASSES)
    with pytest.raises(ValueError, match="6 images with detections, 5 with boxes"):
        sort_errors(found, boxes[:5], labels)
    with pytest.raises(ValueError, match=r"has the label 2: 2 classes have the labels 0 to 1"):
        evaluate_detections(found, boxes, labels, classes=2)
    with pytest.raises(ValueError, match=r"boxes\[\d\] has the label -1: from 0 on"):
        evaluate_detections(found, boxes, [x - 1 for x in labels], classes=CLASSES)
    with pytest.raises(ValueError, match=r"boxes\[\d\] has .* boxes and 0 labels"):
        evaluate_detections(found, boxes, [x[:0] for x in labels], classes=CLASSES)
    with pytest.raises(ValueError, match=r"boxes\[\d\]\[0\] = .*: a box is"):
        evaluate_detections(found, [x[:, [2, 1, 0, 3]] for x in boxes], labels, classes=CLASSES)
    with pytest.raises(ValueError, match="threshold = 2: it lies between 0 and 1"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, thresholds=(2,))
    with pytest.raises(ValueError, match="rule = 'VOC': it is one of"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, rule="VOC")
    with pytest.raises(ValueError, match="area = 'tiny'"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, area="tiny")
    with pytest.raises(ValueError, match="most = 0"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, most=0)
    with pytest.raises(ValueError, match="points = 1: 11, 101 or None"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, points=1)
    with pytest.raises(ValueError, match="threshold = 0.51: measured are"):
        evaluate_detections(found, boxes, labels, classes=CLASSES).at(0.51)
    with pytest.raises(ValueError, match="low = 0.6 is above high = 0.5"):
        sort_errors(found, boxes, labels, low=0.6)
