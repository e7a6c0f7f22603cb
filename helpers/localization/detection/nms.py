"""Non-maximum suppression: of boxes that overlap, the best one stays.

The greedy rule is old; `nms` computes it block by block. Inside a block
the rule is the one fixed point of an iteration (Zheng et al. 2022, as
Cluster-NMS, arXiv:2005.03572), and what a block keeps suppresses all that
follow in one comparison of matrices. Soft-NMS: Bodla et al. 2017
(arXiv:1704.04503).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.localization.detection.boxes import (
    Number,
    box_iou,
    check_boxes,
    check_scores,
    check_share,
)

# Boxes settled at a time, and pairs compared at a time: on a CPU the pairs
# stay in the cache; a GPU wants few and large steps.
BLOCK = {"cpu": 128, "cuda": 1024}
PAIRS = {"cpu": 2**16, "cuda": 2**24}
FEW = 1000  # boxes for which one pass over all classes is the faster one


def nms(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    iou_threshold: Number,
) -> Int[Tensor, " m"]:
    """Indices of the boxes that stay, best first.

    Repeat: keep the best box that is left, and strike out those that it
    overlaps by more than `iou_threshold`. Of equal scores the earlier box
    is the better one. Raises `ValueError` for boxes that are inside out, a
    threshold outside 0…1, unequal numbers and scores that are NaN; how
    many boxes stay depends on values anyway, so a GPU has to wait here.
    """
    _check(boxes, scores, iou_threshold)
    return _nms(boxes, scores, None, iou_threshold)


def batched_nms(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    idxs: Int[Tensor, " n"],
    iou_threshold: Number,
) -> Int[Tensor, " m"]:
    """`nms` among boxes of the same index in `idxs`: class, map, image…

    Few boxes, and those on a GPU, are done in one pass in which pairs of
    different indices never overlap; many on a CPU one index after another.
    """
    _check(boxes, scores, iou_threshold)
    if len(idxs) != len(boxes):
        raise ValueError(f"{len(idxs)} idxs for {len(boxes)} boxes")
    return suppress(boxes, scores, idxs, iou_threshold)


def suppress(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    idxs: Int[Tensor, " n"],
    iou_threshold: Number,
) -> Int[Tensor, " m"]:
    """`batched_nms` of boxes and scores that are known to be sound: no
    value is looked at to check it."""
    if len(boxes) <= FEW or boxes.is_cuda:
        return _nms(boxes, scores, idxs, iou_threshold)
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for index in idxs.unique():
        (members,) = torch.where(idxs == index)
        best = _nms(boxes[members], scores[members], None, iou_threshold)
        keep[members[best]] = True
    (kept,) = torch.where(keep)
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _nms(
    boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: Number
) -> Tensor:
    kind = "cuda" if boxes.is_cuda else "cpu"
    order = scores.argsort(descending=True, stable=True)
    rest = _Boxes.of(boxes, groups)[order]
    threshold = _floor(threshold, rest.corners.dtype)
    kept = [order[:0]]
    size = BLOCK[kind]
    while len(order):
        if len(order) <= 2 * size:  # the last, all in one
            size = len(order)
        block = rest[:size]
        stay = _settle(_overlap(block, block, threshold))
        kept.append(order[:size][stay])
        winners, rest = block[stay], rest[size:]
        width = max(PAIRS[kind] // len(kept[-1]), 1)
        struck = [
            _overlap(winners, rest[i : i + width], threshold).any(0)
            for i in range(0, rest.corners.shape[1], width)
        ]
        if not struck:
            break
        (left,) = torch.where(~torch.cat(struck))
        order, rest = order[size:][left], rest[left]
    return torch.cat(kept)


def _settle(overlap: Bool[Tensor, "n n"]) -> Bool[Tensor, " n"]:
    """Which of n boxes stay, best first, given who overlaps whom.

    A box stays if no better box that stays overlaps it. That defines
    `stay` by itself: repeated from any start, box i is right from round i
    on at the latest, in practice after as many rounds as the longest chain
    of boxes of which each would strike out the next.
    """
    better = overlap.triu(1).float()
    stay = overlap.new_ones(len(overlap))
    while True:
        again = (stay.float() @ better) == 0
        if torch.equal(again, stay):
            return stay
        stay = again


class _Boxes(NamedTuple):
    """Boxes as four rows of numbers, with areas and groups."""

    corners: Float[Tensor, "4 n"]
    areas: Float[Tensor, " n"]
    groups: Int[Tensor, " n"] | None

    @classmethod
    def of(cls, boxes: Tensor, groups: Tensor | None) -> "_Boxes":
        if boxes.dtype not in (torch.float32, torch.float64):
            boxes = boxes.float()
        corners = boxes.detach().T.contiguous()
        x1, y1, x2, y2 = corners
        return cls(corners, (x2 - x1) * (y2 - y1), groups)

    def __getitem__(self, which: Tensor | slice) -> "_Boxes":
        groups = None if self.groups is None else self.groups[which]
        return _Boxes(self.corners[:, which], self.areas[which], groups)


def _overlap(a: _Boxes, b: _Boxes, threshold: Number) -> Bool[Tensor, "n m"]:
    """Whose overlap is above the threshold: `box_iou`, in place."""
    x1, y1, x2, y2 = a.corners[:, :, None]
    u1, v1, u2, v2 = b.corners
    w = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    h = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    intersection = w.mul_(h)
    union = (a.areas[:, None] + b.areas).sub_(intersection)
    above = intersection.div_(union) > threshold
    if a.groups is not None:
        above &= a.groups[:, None] == b.groups
    return above


def _floor(threshold: Number, dtype: torch.dtype) -> float:
    """The largest number of `dtype` up to the threshold: above the one is
    above the other, as if numbers were compared in double precision."""
    number = np.float64 if dtype == torch.float64 else np.float32
    near = number(threshold)
    if float(near) > threshold:  # NumPy would compare in single precision
        near = np.nextafter(near, number(-1))
    return float(near)


class Step(NamedTuple):
    """A moment of NMS: the box just chosen, those kept up to now, those
    just struck out, and those that still wait, as indices."""

    chosen: int
    kept: list[int]
    struck: list[int]
    waiting: list[int]


def nms_steps(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    iou_threshold: Number,
) -> Iterator[Step]:
    """The greedy rule one choice at a time, as the textbook has it.

    The last step's `kept` is what `nms` returns.
    """
    _check(boxes, scores, iou_threshold)
    overlaps = box_iou(boxes, boxes)
    waiting = scores.argsort(descending=True, stable=True).tolist()
    kept = []
    while waiting:
        chosen, *others = waiting
        kept.append(chosen)
        above = (overlaps[chosen] > iou_threshold).tolist()
        waiting = [i for i in others if not above[i]]
        yield Step(chosen, kept[:], [i for i in others if above[i]], waiting)


def soft_nms(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    *,
    sigma: Number = 0.5,
    least: Number = 0.001,
) -> tuple[Int[Tensor, " m"], Float[Tensor, " m"]]:
    """Indices and lowered scores, best first: no box is struck out at once.

    Repeat: take the best box that is left, and multiply the scores of the
    others by exp(-overlap² / sigma); stop below `least`.
    """
    _check(boxes, scores, least, "least")
    if sigma <= 0:
        raise ValueError(f"sigma = {sigma}: it is positive")
    decay = (-box_iou(boxes, boxes).nan_to_num().square() / sigma).exp()
    left, kept, found = scores, [], []
    done = torch.zeros_like(scores, dtype=torch.bool)
    for _ in range(len(boxes)):
        value, best = left.masked_fill(done, -torch.inf).max(0)
        if value < least:
            break
        kept.append(best)
        found.append(value)
        done[best] = True
        left = left * decay[best]
    if not kept:
        return scores.new_zeros(0, dtype=torch.long), scores[:0]
    return torch.stack(kept), torch.stack(found)


def _check(boxes, scores, value, name: str = "iou_threshold") -> None:
    check_boxes(boxes)
    check_share(name, value)
    if not isinstance(scores, Tensor):
        raise ValueError(
            f"scores is of type {type(scores).__name__}: give a tensor [n]"
        )
    if scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"scores of shape {tuple(scores.shape)} for {len(boxes)} boxes: "
            "give one for each box"
        )
    check_scores(scores)
