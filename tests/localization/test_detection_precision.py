"""Average precision against pycocotools and against loops, and the sorting of errors."""

import contextlib
import io
from functools import partial

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


def coco(found, boxes, labels, most, ignored=None, areas=None):
    """Precision averaged over 101 recalls and largest recall, [t k areas], by pycocotools; -1 without objects."""
    ignored = ignored or [torch.zeros(len(x)) for x in labels]
    areas = areas or [(x[:, 2:] - x[:, :2]).prod(1) for x in boxes]

    def rows(boxes):
        return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()

    truth = [
        dict(image_id=i, category_id=k, bbox=row, area=area, iscrowd=int(crowd))
        for i, (box, *columns) in enumerate(zip(boxes, labels, areas, ignored), 1)
        for row, k, area, crowd in zip(rows(box), *(column.tolist() for column in columns))
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


@pytest.mark.parametrize("seeds", [range(0, 12), range(12, 24)], ids=["0-11", "12-23"])
def test_matches_reference(seeds, unchecked):
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
    assert compared > 600  # figures that are neither 0 nor missing


def test_crowds_and_areas_of_outlines_match_reference(unchecked):
    """A third of the objects are crowds, and an outline has a part of its box's area."""
    compared = 0
    for seed in range(40, 46):
        found, boxes, labels = case(seed)
        g = torch.Generator().manual_seed(seed)
        crowds = [torch.rand(len(x), generator=g) < 1 / 3 for x in labels]
        areas = [(x[:, 2:] - x[:, :2]).prod(1) * (0.3 + 0.7 * torch.rand(len(x), generator=g)) for x in boxes]
        expected = coco(found, boxes, labels, 100, crowds, areas)
        for place, area in enumerate(AREAS):
            result = evaluate_detections(found, boxes, labels, classes=CLASSES, area=area, ignored=crowds, areas=areas)
            for ours, theirs in zip((result.precision, result.recall), expected):
                np.testing.assert_allclose(ours.nan_to_num(-1), theirs[..., place].T, rtol=0, atol=1e-12)
            compared += int((result.precision > 0).sum())
        plain = evaluate_detections(found, boxes, labels, classes=CLASSES).precision
        assert not torch.equal(plain.nan_to_num(), torch.from_numpy(expected[0][..., 0].T))
    assert compared > 150


def test_a_crowd_is_met_by_what_lies_in_it_however_much_that_is():
    """Three boxes in a crowd count neither way for COCO; one half of which lies outside of it counts as an error."""
    boxes = torch.tensor([[0.0, 0, 100, 100], [200, 0, 210, 10]])
    marks, zeros = torch.tensor([True, False]), torch.zeros(2, dtype=torch.long)
    inside = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [90, 0, 109, 10]])  # the last by 10/19
    there = torch.cat([inside, boxes[1:]])
    found = [Detections(there, torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.zeros(4, dtype=torch.long))]
    options = dict(classes=1, thresholds=(0.5, 0.55), ignored=[marks])
    result = evaluate_detections(found, [boxes], [zeros], **options)
    assert result.precision.tolist() == [[1.0, 0.5]]
    assert result.recall.tolist() == [[1.0, 1.0]]
    by_voc = evaluate_detections(found, [boxes], [zeros], rule="voc", **options)
    assert by_voc.precision.tolist() == [[0.25, 0.25]]  # a difficult object is overlapped as any other


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


def naive(found, boxes, labels, label, threshold, points, difficult=None):
    """VOC as its kit has it: all detections of a class from the surest downwards, each to its best object; those of
    difficult objects are neither right nor wrong, and nobody has to find such an object."""
    difficult = difficult or [torch.zeros(len(x), dtype=torch.bool) for x in labels]
    ranked = sorted(
        (-one.scores[j].item(), i, j)
        for i, one in enumerate(found)
        for j in range(len(one.boxes))
        if one.labels[j] == label
    )
    taken, hits, rank, curve = set(), 0, 0, []
    objects = sum(int(((x == label) & ~marks).sum()) for x, marks in zip(labels, difficult))
    if not objects:
        return None
    for _, i, j in ranked:
        best, which = -1.0, None
        for o in range(len(boxes[i])):
            if labels[i][o] == label:
                overlap = box_iou(found[i].boxes[[j]], boxes[i][[o]]).item()
                if overlap > best:
                    best, which = overlap, (i, o)
        if best >= threshold and difficult[which[0]][which[1]]:
            continue
        rank += 1
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


@pytest.mark.parametrize("points", [11, None])
def test_voc_leaves_difficult_objects_out_like_a_loop(points):
    changed = 0
    for seed in (1, 2, 4, 5, 7, 8):
        sides = case(seed, images=4, most=25)
        g = torch.Generator().manual_seed(seed)
        marks = [torch.rand(len(x), generator=g) < 0.4 for x in sides[2]]
        options = dict(classes=CLASSES, thresholds=(0.5,), points=points, rule="voc")
        result = evaluate_detections(*sides, ignored=marks, **options)
        for label in range(CLASSES):
            expected = naive(*sides, label, 0.5, points, marks)
            value = result.precision[label, 0].item()
            assert np.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-12)
        changed += not torch.equal(result.precision, evaluate_detections(*sides, **options).precision)
        curve = precision_recall_curve(*sides, 0, rule="voc", ignored=marks)
        if not result.precision[0].isnan():
            assert average_precision(*curve, points) == pytest.approx(result.precision[0, 0].item())
    assert changed >= 4


def test_the_recipes_of_the_docstring_give_the_figures_that_they_name():
    """VOC counts all detections of an image, COCO a hundred; of a difficult object no detection counts."""
    boxes = torch.tensor([[50.0, 50, 60, 60]]).repeat(101, 1)
    boxes[100] = torch.tensor([0.0, 0, 10, 10])
    zeros = torch.zeros(101, dtype=torch.long)
    found, truth = [Detections(boxes, torch.linspace(1, 0.1, 101), zeros)], ([boxes[100:]], [zeros[:1]])
    voc = dict(classes=1, thresholds=(0.5,), points=11, rule="voc")
    assert evaluate_detections(found, *truth, **voc).mean == pytest.approx(1 / 101)
    assert evaluate_detections(found, *truth, classes=1).mean == 0
    assert evaluate_detections(found, *truth, classes=1, most=101).mean > 0
    two = torch.cat([boxes[100:], boxes[:1]])
    found = [Detections(two[:1], torch.tensor([0.9]), zeros[:1])]
    for ignored, right in ((None, 6 / 11), ([torch.tensor([False, True])], 1.0)):
        assert evaluate_detections(found, [two], [zeros[:2]], ignored=ignored, **voc).mean == pytest.approx(right)


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
    assert np.isnan(average_precision(*precision_recall(torch.tensor([False]), 0)))  # nothing to find


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
    with pytest.raises(ValueError, match="thresholds is empty: give one"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, thresholds=())
    with pytest.raises(ValueError, match="classes = 0: there is at least 1"):
        evaluate_detections([], [], [], classes=0)
    with pytest.raises(ValueError, match=r"ignored has the shapes .* a value for each of its boxes"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, ignored=[x[:0] for x in labels])
    with pytest.raises(ValueError, match=r"areas has the shapes"):
        evaluate_detections(found, boxes, labels, classes=CLASSES, areas=[x[:0] for x in labels])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "judge",
    [
        partial(evaluate_detections, classes=CLASSES),
        partial(precision_recall_curve, label=0),
        sort_errors,
    ],
    ids=["average precision", "curve", "errors"],
)
def test_refused_detections(judge):
    """Scores that are no numbers have no rank; what is no `Detections` is named."""
    found, boxes, labels = case(4)
    at = next(i for i, one in enumerate(found) if len(one.scores) > 2)

    def instead(one):
        return [*found[:at], one, *found[at + 1 :]]

    scores = found[at].scores.clone()
    scores[1] = torch.nan
    with pytest.raises(ValueError, match=rf"found\[{at}\].scores\[1\] = nan: no order has a place for it"):
        judge(instead(found[at]._replace(scores=scores)), boxes, labels)
    with pytest.raises(ValueError, match=rf"found\[{at}\] has .* boxes and scores of shape \(2,\): give one for each"):
        judge(instead(found[at]._replace(scores=scores[:2])), boxes, labels)
    with pytest.raises(ValueError, match=rf"found\[{at}\] is of type dict: give Detections\(boxes, scores, labels\)"):
        judge(instead(found[at]._asdict()), boxes, labels)
