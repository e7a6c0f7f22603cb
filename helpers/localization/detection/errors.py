"""What is wrong with a detection, and which objects are missed.

After Hoiem et al. 2012 and Bolya et al. 2020 (TIDE, arXiv:2008.08115), with
the thresholds of both, 0.5 and 0.1. Correct, duplicate and missed are as in
TIDE; confusion is as in Hoiem et al., from an overlap of 0.1 on, and so
holds TIDE's "classification" and "both". Where a detection overlaps an
object of its class and one of another, the larger overlap decides between
localisation and confusion.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.localization.detection.average_precision import (
    check_found,
    match_to_objects,
)
from helpers.localization.detection.boxes import (
    Detections,
    Number,
    box_iou,
    check_boxes,
    check_share,
)

KINDS = ("correct", "localisation", "confusion", "duplicate", "background")


class Errors(NamedTuple):
    """What each detection is, and what is missed; a list entry per image.

    `kinds` are places in `KINDS` and `objects` the object meant, -1 for
    background, in the order of the detections; `missed` has a truth value
    for each object.
    """

    kinds: list[Tensor]  # of [n]
    objects: list[Tensor]  # of [n]
    missed: list[Tensor]  # of [g]

    def counts(self) -> dict[str, int]:
        """How many there are of each kind, and how many objects missed."""
        kinds = torch.cat(self.kinds)
        counts = {
            name: int((kinds == place).sum())
            for place, name in enumerate(KINDS)
        }
        return counts | {"missed": int(torch.cat(self.missed).sum())}


def sort_errors(
    found: Sequence[Detections],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    high: Number = 0.5,
    low: Number = 0.1,
) -> Errors:
    """Sort detections by what they are, the surest first.

    - correct: overlaps an object of its class by `high`, the first to do so;
    - duplicate: as much, but all such objects are taken;
    - localisation: overlaps an object of its class by `low`;
    - confusion: overlaps an object of another class by `low`;
    - background: overlaps none so much.

    An object is missed if no detection is correct for it, nor meant for it
    by an error of localisation or confusion. Raises `ValueError` for lists
    of unequal length, boxes inside out, scores that are NaN and thresholds
    outside 0…1.
    """
    check_share("high", high)
    check_share("low", low)
    if low > high:
        raise ValueError(f"low = {low} is above high = {high}")
    found = check_found(found, boxes, labels)
    images = [
        _sort(one, box.detach().cpu(), label.detach().cpu(), high, low)
        for one, box, label in zip(found, boxes, labels, strict=True)
    ]
    return Errors(*map(list, zip(*images))) if images else Errors([], [], [])


def _sort(
    found: Detections, boxes: Tensor, labels: Tensor, high: Number, low: Number
) -> tuple[Tensor, Tensor, Tensor]:
    check_boxes(found.boxes, "detections")
    check_boxes(boxes)
    n, g = len(found.boxes), len(boxes)
    kinds = torch.full((n,), KINDS.index("background"))
    objects = torch.full((n,), -1)
    missed = torch.ones(g, dtype=torch.bool)
    if n == 0 or g == 0:
        return kinds, objects, missed
    order = found.scores.argsort(descending=True, stable=True)
    overlaps = box_iou(found.boxes, boxes).nan_to_num()[order]
    own = found.labels[order][:, None] == labels
    mine = overlaps.where(own, -1)
    best, mine_best = overlaps.max(1), mine.max(1)
    correct = torch.from_numpy(match_to_objects(mine.double().numpy(), high))
    local = (mine_best.values >= low) & (mine_best.values >= best.values)
    for name, holds, meant in (  # the last that holds decides
        ("confusion", best.values >= low, best.indices),
        ("localisation", local, mine_best.indices),
        ("duplicate", mine_best.values >= high, mine_best.indices),
        ("correct", correct >= 0, correct),
    ):
        kinds[order[holds]] = KINDS.index(name)
        objects[order[holds]] = meant[holds]
    covered = (kinds != KINDS.index("duplicate")) & (objects >= 0)
    missed[objects[covered]] = False
    return kinds, objects, missed
