"""The pieces of detection together: what is perfect is found perfect, on the book's own scenes."""

import torch

from helpers.data.scenes import SHAPES, Rules, make_scenes
from helpers.localization.detection.average_precision import AREAS, evaluate_detections
from helpers.localization.detection.boxes import Detections
from helpers.localization.detection.errors import sort_errors
from helpers.localization.detection.nms import batched_nms

CLASSES = 5


def test_a_perfect_detector_has_an_average_precision_of_one():
    batch = make_scenes(20, 64, rules=Rules(shapes=SHAPES[:CLASSES], count=(1, 4)))
    found = []
    for boxes, labels in zip(batch.boxes, batch.labels, strict=True):
        copies = boxes.repeat(2, 1) + torch.tensor([0.0, 1.0]).repeat_interleave(len(boxes))[:, None]
        scores = torch.linspace(1, 0.5, len(copies))
        best = batched_nms(copies, scores, labels.repeat(2), 0.5)
        found.append(Detections(copies[best], scores[best], labels.repeat(2)[best]))
    truth = batch.boxes, batch.labels
    result = evaluate_detections(found, *truth, classes=CLASSES)
    assert result.precision.shape == (CLASSES, 10)
    assert result.at(0.5) > 0.99 and result.mean > 0.9
    exact = [Detections(box, torch.ones(len(box)), label) for box, label in zip(*truth, strict=True)]
    assert evaluate_detections(exact, *truth, classes=CLASSES).mean == 1
    assert evaluate_detections(exact, *truth, classes=CLASSES, points=11, rule="voc", thresholds=(0.5,)).mean == 1
    assert evaluate_detections(exact, *truth, classes=CLASSES, area="small").precision.nanmean() == 1
    assert evaluate_detections(exact, *truth, classes=CLASSES, area="large").precision.isnan().all()
    assert set(AREAS) == {"all", "small", "medium", "large"}
    counts = sort_errors(exact, *truth).counts()
    objects = sum(map(len, batch.labels))
    assert counts == dict(correct=objects, localisation=0, confusion=0, duplicate=0, background=0, missed=0)
