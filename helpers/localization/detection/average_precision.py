"""How good a detector is: precision at every recall, and its average.

Everingham et al. 2010 (the PASCAL VOC challenge) and Lin et al. 2014 (COCO,
arXiv:1405.0312). Both judge detections from the surest downwards; they
differ in what a detection may match, in what is left out of the count, and
in how the curve is averaged. (The kit of VOC counts pixels, and so adds 1
to all sides: `voc_boxes` has done that already.)

| rule | a detection is a hit if |
| --- | --- |
| "coco" | it overlaps a *free* object enough; it takes the best of those |
| "voc" | the object that it overlaps *most* is free, and overlapped enough |

Neither challenge counts all objects: VOC marks some as "difficult", COCO
marks crowds. Those marks are `ignored` here. No detection of an ignored
object counts, however many there are, and nobody has to find it. By "coco"
a crowd is met by a detection that lies in it to the threshold, by "voc" a
difficult object as any other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.localization.detection.boxes import (
    Detections,
    Number,
    box_area,
    box_iou,
    check_boxes,
    check_scores,
    check_share,
    pair_areas,
)

COCO = tuple((np.arange(50, 100, 5) / 100).tolist())
AREAS = {  # square pixels, both ends included, as COCO has them
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
MOST = {"coco": 100, "voc": None}  # detections an image and class, by rule


class Evaluation(NamedTuple):
    """Average precision and largest recall of each class at each threshold.

    NaN for a class that has no object.
    """

    precision: Float[Tensor, "k t"]
    recall: Float[Tensor, "k t"]
    thresholds: tuple[Number, ...]

    @property
    def mean(self) -> float:
        """Mean average precision over the thresholds and classes."""
        return self.precision.nanmean().item()

    def at(self, threshold: Number) -> float:
        """Mean average precision at one of the thresholds."""
        if threshold not in self.thresholds:
            raise ValueError(
                f"threshold = {threshold}: measured are {self.thresholds}"
            )
        column = self.thresholds.index(threshold)
        return self.precision[:, column].nanmean().item()


def evaluate_detections(
    found: Sequence[Detections],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    classes: int,
    thresholds: Sequence[Number] = COCO,
    points: int | None = 101,
    rule: str = "coco",
    area: str | tuple[Number, Number] = "all",
    most: int | None = None,
    ignored: Sequence[Tensor] | None = None,
    areas: Sequence[Tensor] | None = None,
) -> Evaluation:
    """Average precision of detections, a list entry for each image.

    `ignored` has a truth value for each object: VOC's "difficult" or
    COCO's "iscrowd". `area` is one of `AREAS` or a range of square pixels:
    objects outside it, and what detects them, count neither way. `areas`
    are the objects' where they are not those of their boxes (COCO's
    annotations give those of the outlines). Of each image and class the
    `most` surest count, without it 100 by "coco" and all by "voc".
    `points` as in `average_precision`.

    The defaults give COCO's figure; for that of VOC 2007 set thresholds to
    (0.5,), points to 11 and the rule to "voc", for VOC from 2010 on points
    to None.

    Raises `ValueError` for lists of unequal length, labels outside
    0 … classes - 1, boxes inside out, scores that are NaN, thresholds
    outside 0…1.
    """
    if classes < 1:
        raise ValueError(f"classes = {classes}: there is at least 1")
    sides = _check(found, boxes, labels, classes, ignored, areas)
    low_high = _check_area(area)
    options = dict(thresholds=thresholds, rule=rule, most=most)
    results = []
    for label in range(classes):
        judged = _judge(*sides, label, area=low_high, **options)
        results.append([_summary(*judgement, points) for judgement in judged])
    table = torch.tensor(results, dtype=torch.float64)
    table = table.reshape(classes, len(thresholds), 2)
    return Evaluation(table[..., 0], table[..., 1], tuple(thresholds))


def precision_recall_curve(
    found: Sequence[Detections],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    label: int,
    *,
    threshold: Number = 0.5,
    rule: str = "coco",
    area: str | tuple[Number, Number] = "all",
    most: int | None = None,
    ignored: Sequence[Tensor] | None = None,
    areas: Sequence[Tensor] | None = None,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Precision and recall of one class after each of its detections that
    counts; arguments as in `evaluate_detections`."""
    sides = _check(found, boxes, labels, None, ignored, areas)
    options = dict(thresholds=(threshold,), rule=rule, most=most)
    (judged,) = _judge(*sides, label, area=_check_area(area), **options)
    return precision_recall(*judged)


def precision_recall(
    hits: Bool[Tensor, " n"],
    objects: int,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Precision and recall after each detection, the surest first."""
    hits = hits.double()
    right = hits.cumsum(0)
    rank = torch.arange(1, len(hits) + 1, device=hits.device)
    return right / rank, right / (objects or torch.nan)


def average_precision(
    precision: Float[Tensor, " n"],
    recall: Float[Tensor, " n"],
    points: int | None = 101,
) -> float:
    """The mean precision over all recalls.

    Precision at a recall is the largest that any recall as large reaches.
    It is read at `points` recalls from 0 to 1 (11 for VOC 2007, 101 for
    COCO), or with None integrated exactly (VOC from 2010 on). NaN where
    recall is, since there is no object.
    """
    if points is not None and points < 2:
        raise ValueError(f"points = {points}: 11, 101 or None for all")
    if len(recall) == 0:
        return 0.0
    if recall.isnan().any():
        return torch.nan
    envelope = precision.flip(0).cummax(0).values.flip(0)
    if points is None:
        steps = recall.diff(prepend=recall.new_zeros(1))
        return (envelope * steps).sum().item()
    levels = torch.from_numpy(np.linspace(0, 1, points)).to(recall)
    at = torch.searchsorted(recall.contiguous(), levels)
    return torch.cat([envelope, envelope.new_zeros(1)])[at].mean().item()


def match_to_objects(
    overlaps: Float[np.ndarray, "n g"],
    threshold: Number,
    rule: str = "coco",
    ignored: Bool[np.ndarray, " g"] | None = None,
    often: Bool[np.ndarray, " g"] | None = None,
) -> Int[np.ndarray, " n"]:
    """For each of n detections of an image, the surest first, the object
    that it hits, or -1.

    An object is hit once, one marked `often` by any number. Those `ignored`
    are taken last by "coco". Of equal overlaps the later object counts by
    "coco", as in pycocotools, the first by "voc", as in its kit.
    """
    n, g = overlaps.shape
    hits = np.full(n, -1)
    if g == 0:
        return hits
    ignored = np.zeros(g, bool) if ignored is None else ignored
    often = np.zeros(g, bool) if often is None else often
    order = np.flatnonzero(~ignored), np.flatnonzero(ignored)
    free = np.ones(g, bool)
    enough = np.where(overlaps >= min(threshold, 1 - 1e-10), overlaps, -1.0)
    for i in np.flatnonzero(enough.max(1) >= 0):
        if rule == "voc":
            best = overlaps[i].argmax()
            hits[i] = best if free[best] and enough[i, best] >= 0 else -1
        else:
            for objects in order:
                values = np.where(free[objects], enough[i, objects], -1.0)
                if len(values) and values.max() >= 0:
                    last = len(values) - 1 - values[::-1].argmax()
                    hits[i] = objects[last]
                    break
        if hits[i] >= 0:
            free[hits[i]] = often[hits[i]]
    return hits


def _summary(
    hits: Tensor, objects: int, points: int | None
) -> tuple[float, float]:
    """Average precision and largest recall; NaN where nothing is to find."""
    if objects == 0:
        return torch.nan, torch.nan
    precision, recall = precision_recall(hits, objects)
    largest = recall[-1].item() if len(recall) else 0.0
    return average_precision(precision, recall, points), largest


class _Truth(NamedTuple):
    """Objects of all images, on the CPU."""

    boxes: list[Tensor]
    labels: list[Tensor]
    ignored: list[Tensor]
    areas: list[Tensor]


def _judge(
    found: list[Detections],
    truth: _Truth,
    label: int,
    *,
    thresholds: Sequence[Number],
    rule: str,
    area: tuple[Number, Number],
    most: int | None,
) -> list[tuple[Bool[Tensor, " n"], int]]:
    """At each threshold: hits of one class, surest first, and objects."""
    if rule not in MOST:
        raise ValueError(f"rule = {rule!r}: it is one of {tuple(MOST)}")
    if most is not None and most < 1:
        raise ValueError(f"most = {most}: detections for each image, over 0")
    most = MOST[rule] if most is None else most
    if len(thresholds) == 0:
        raise ValueError("thresholds is empty: give one at least, as (0.5,)")
    for threshold in thresholds:
        check_share("threshold", threshold)
    scores = [np.zeros(0)]
    hits = [[np.zeros(0, bool)] for _ in thresholds]
    counts = [[np.zeros(0, bool)] for _ in thresholds]
    objects = 0
    for one, *rows in zip(found, *truth, strict=True):
        mine = torch.where(one.labels == label)[0]
        sure = one.scores[mine]
        order = sure.argsort(descending=True, stable=True)[:most]
        boxes = one.boxes[mine[order]].double()
        own = rows[1] == label
        targets, _, often, areas = (row[own] for row in rows)
        often = often.numpy()
        ignored = often | _outside(areas, area)
        objects += int((~ignored).sum())
        scores.append(sure[order].double().numpy())
        overlaps = _overlaps(boxes, targets.double(), often, rule)
        small_or_large = _outside(box_area(boxes), area)
        for column, threshold in enumerate(thresholds):
            hit = match_to_objects(overlaps, threshold, rule, ignored, often)
            known = hit >= 0
            skipped = small_or_large.copy()
            skipped[known] = ignored[hit[known]]
            hits[column].append(known)
            counts[column].append(~skipped)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    judged = []
    for hit, count in zip(hits, counts, strict=True):
        hit, count = np.concatenate(hit)[order], np.concatenate(count)[order]
        judged.append((torch.from_numpy(hit[count]), objects))
    return judged


def _overlaps(
    boxes: Float[Tensor, "n 4"],
    targets: Float[Tensor, "g 4"],
    crowd: Bool[np.ndarray, " g"],
    rule: str,
) -> Float[np.ndarray, "n g"]:
    """Intersection over union; by "coco", over the detection for a crowd."""
    overlaps = box_iou(boxes, targets).nan_to_num().numpy()
    if rule == "coco" and crowd.any():
        shared, _ = pair_areas(boxes, targets)
        inside = (shared / box_area(boxes)[:, None]).nan_to_num()
        overlaps = np.where(crowd, inside.numpy(), overlaps)
    return overlaps


def _outside(
    areas: Tensor, area: tuple[Number, Number]
) -> Bool[np.ndarray, " n"]:
    areas = areas.double().numpy()
    return (areas < area[0]) | (areas > area[1])


def _check_area(
    area: str | tuple[Number, Number],
) -> tuple[Number, Number]:
    if isinstance(area, str):
        if area not in AREAS:
            raise ValueError(f"area = {area!r}: {tuple(AREAS)}, or a range")
        return AREAS[area]
    if not 0 <= area[0] <= area[1]:
        raise ValueError(f"area = {area}: the first number is the smaller")
    return area


def _check(
    found: Sequence[Detections],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    classes: int | None,
    ignored: Sequence[Tensor] | None,
    areas: Sequence[Tensor] | None,
) -> tuple[list[Detections], _Truth]:
    """Both sides on the CPU, once their forms and values are right."""
    found = check_found(found, boxes, labels)
    boxes = [x.detach().cpu() for x in boxes]
    labels = [x.detach().cpu() for x in labels]
    both = [(x.boxes, x.labels, "detections") for x in found]
    both += [(*pair, "boxes") for pair in zip(boxes, labels, strict=True)]
    for index, (box, label, name) in enumerate(both):
        name = f"{name}[{index % len(found)}]"
        check_boxes(box, name)
        if len(box) != len(label):
            raise ValueError(
                f"{name} has {len(box)} boxes and {len(label)} labels"
            )
        if label.is_floating_point():
            raise ValueError(
                f"{name} has labels of type {label.dtype}: whole numbers, "
                "as labels.long() gives them"
            )
        if len(label) and not 0 <= label.min() <= label.max():
            raise ValueError(f"{name} has the label {label.min()}: from 0 on")
        if classes and len(label) and label.max() >= classes:
            raise ValueError(
                f"{name} has the label {label.max()}: {classes} classes "
                f"have the labels 0 to {classes - 1}"
            )
    if ignored is None:
        ignored = [torch.zeros(len(x), dtype=torch.bool) for x in labels]
    if areas is None:
        areas = [box_area(x.double()) for x in boxes]
    ignored = _for_each("ignored", ignored, boxes)
    return found, _Truth(
        boxes,
        labels,
        [x.bool() for x in ignored],
        _for_each("areas", areas, boxes),
    )


def _for_each(
    name: str, values: Sequence[Tensor], boxes: Sequence[Tensor]
) -> list[Tensor]:
    """`values` on the CPU, if there is one for each object."""
    counts = [tuple(x.shape) for x in values]
    if counts != [(len(x),) for x in boxes]:
        raise ValueError(
            f"{name} has the shapes {counts}: give a tensor for each image "
            "with a value for each of its boxes, "
            f"{[(len(x),) for x in boxes]}"
        )
    return [x.detach().cpu() for x in values]


def check_found(
    found: Sequence[Detections],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
) -> list[Detections]:
    """Detections on the CPU, as many as there are images with a truth, all
    with a score that is a number for each of their boxes."""
    if not len(found) == len(boxes) == len(labels):
        raise ValueError(
            f"{len(found)} images with detections, {len(boxes)} with boxes, "
            f"{len(labels)} with labels: give one of each for every image"
        )
    moved = []
    for i, one in enumerate(found):
        if not isinstance(one, tuple) or len(one) != 3:
            raise ValueError(
                f"found[{i}] is of type {type(one).__name__}: give "
                "Detections(boxes, scores, labels), with labels from 0 on"
            )
        one = Detections(*(x.detach().cpu() for x in one))
        if one.scores.shape != one.boxes.shape[:1]:
            raise ValueError(
                f"found[{i}] has {len(one.boxes)} boxes and scores of shape "
                f"{tuple(one.scores.shape)}: give one for each box"
            )
        check_scores(one.scores, f"found[{i}].scores")
        moved.append(one)
    return moved
