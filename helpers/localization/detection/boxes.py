"""Boxes: formats, overlap, and the numbers that a network regresses to
move one box onto another.

A box is (x1, y1, x2, y2) in pixels, the upper left and the lower right
corner, unless a function says otherwise. Names and arguments are those of
`torchvision.ops`; generalised overlap after Rezatofighi et al. 2019
(arXiv:1902.09630), regression targets after Girshick et al. 2014
(arXiv:1311.2524).

The functions of this module look at shapes alone, never at values: a value
that decides costs a GPU a synchronisation, and a network under training
may well predict boxes that are inside out. `check_boxes` looks at values;
it belongs where boxes come in from outside, and where a result is read.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Number = int | float
FORMATS = ("xyxy", "xywh", "cxcywh")
LIMIT = math.log(1000 / 16)  # a box grows at most 62.5-fold


class Detections(NamedTuple):
    """What a detector says of one image: boxes (x1, y1, x2, y2) in pixels,
    best first, with scores and classes from 0 on."""

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]


def box_convert(
    boxes: Float[Tensor, "*n 4"],
    in_fmt: str,
    out_fmt: str,
) -> Float[Tensor, "*n 4"]:
    """From one format to another: "xyxy" two corners, "xywh" the upper left
    corner and the sides, "cxcywh" the centre and the sides.

    Raises `ValueError` for any other format.
    """
    _check_last(boxes)
    for name, fmt in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        _check_format(name, fmt)
    if in_fmt == out_fmt:
        return boxes.clone()
    a, b, c, d = boxes.unbind(-1)
    if in_fmt == "xywh":
        a, b, c, d = a, b, a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    if out_fmt == "xywh":
        a, b, c, d = a, b, c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return torch.stack([a, b, c, d], -1)


def box_area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Width times height; half precision becomes single."""
    _check_last(boxes)
    x1, y1, x2, y2 = _upcast(boxes).unbind(-1)
    return (x2 - x1) * (y2 - y1)


def box_iou(
    boxes1: Float[Tensor, "*b n 4"],
    boxes2: Float[Tensor, "*b m 4"],
    fmt: str = "xyxy",
) -> Float[Tensor, "*b n m"]:
    """Intersection over union of every box here with every box there.

    Two boxes without area have 0/0, which is NaN, as in torchvision: no
    comparison with a threshold holds.
    """
    intersection, union = pair_areas(boxes1, boxes2, fmt)
    return intersection / union


def generalized_box_iou(
    boxes1: Float[Tensor, "*b n 4"],
    boxes2: Float[Tensor, "*b m 4"],
) -> Float[Tensor, "*b n m"]:
    """Overlap less the share of the hull that neither box covers, in -1…1.

    It has a gradient where boxes do not meet, which plain overlap lacks.
    """
    intersection, union = pair_areas(boxes1, boxes2, "xyxy")
    a, b = _upcast(boxes1)[..., None, :], _upcast(boxes2)[..., None, :, :]
    least = torch.minimum(a[..., :2], b[..., :2])
    most = torch.maximum(a[..., 2:], b[..., 2:])
    hull = (most - least).clamp(min=0).prod(-1)
    return intersection / union - (hull - union) / hull


def clip_boxes_to_image(
    boxes: Float[Tensor, "*n 4"],
    size: tuple[int, int],
) -> Float[Tensor, "*n 4"]:
    """Cut off what lies outside an image of `size` (height, width)."""
    _check_last(boxes)
    height, width = size
    x, y = boxes[..., 0::2], boxes[..., 1::2]
    x, y = x.clamp(0, width), y.clamp(0, height)
    return torch.stack([x, y], -1).flatten(-2)  # x1 y1 x2 y2


def is_large(
    boxes: Float[Tensor, "*n 4"],
    least: Number,
) -> Bool[Tensor, "*n"]:
    """Whether both sides are at least `least` long."""
    _check_last(boxes)
    return ((boxes[..., 2:] - boxes[..., :2]) >= least).all(-1)


def encode_boxes(
    boxes: Float[Tensor, "*#n 4"],
    anchors: Float[Tensor, "*#n 4"],
    weights: tuple[Number, Number, Number, Number] = (1.0, 1.0, 1.0, 1.0),
) -> Float[Tensor, "*n 4"]:
    """How to move anchors onto boxes: shifts of the centre in sides of the
    anchor, and logarithms of the ratios of the sides, times `weights`.

    Equations 6 to 9 of the paper on R-CNN. The anchors have an area; a box
    that has none gives -inf.
    """
    _check_last(boxes)
    _check_last(anchors)
    x, y, w, h = _centred(boxes)
    ax, ay, aw, ah = _centred(anchors)
    shifts = [(x - ax) / aw, (y - ay) / ah, (w / aw).log(), (h / ah).log()]
    _check_weights(weights)
    return torch.stack([d * t for d, t in zip(shifts, weights)], -1)


def decode_boxes(
    offsets: Float[Tensor, "*#n 4"],
    anchors: Float[Tensor, "*#n 4"],
    weights: tuple[Number, Number, Number, Number] = (1.0, 1.0, 1.0, 1.0),
    *,
    limit: Number = LIMIT,
) -> Float[Tensor, "*n 4"]:
    """The boxes that `offsets` move `anchors` to: `encode_boxes` undone.

    Logarithms above `limit` are cut, so that no exponential overflows. For
    offsets [n k 4], a box for each class, give `anchors[:, None]`.
    """
    _check_last(offsets, "offsets")
    _check_last(anchors)
    ax, ay, aw, ah = _centred(anchors.to(offsets.dtype))
    _check_weights(weights)
    parts = zip(offsets.unbind(-1), weights, strict=True)
    dx, dy, dw, dh = (d / t for d, t in parts)
    x, y = ax + dx * aw, ay + dy * ah
    w, h = aw * dw.clamp(max=limit).exp(), ah * dh.clamp(max=limit).exp()
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)


def at_hand(*tensors: Tensor) -> bool:
    """Whether a look at values costs no wait: they lie in the memory of the
    CPU, and nothing is being compiled."""
    here = all(x.device.type == "cpu" for x in tensors)
    return here and not torch.compiler.is_compiling()


def check_boxes(boxes: Float[Tensor, "n 4"], name: str = "boxes") -> None:
    """Refuse boxes that are inside out or not finite; no area is allowed.

    Looks at the values: on a GPU this waits for them. Raises `ValueError`
    with the first such box.
    """
    _check_last(boxes, name)
    fine = (boxes[..., 2:] >= boxes[..., :2]) & boxes[..., :2].isfinite()
    fine = (fine & boxes[..., 2:].isfinite()).all(-1)
    if not fine.all():
        at = int((~fine).nonzero()[0, 0])
        raise ValueError(
            f"{name}[{at}] = {boxes[at].tolist()}: a box is (x1, y1, x2, y2) "
            "with x1 <= x2 and y1 <= y2; convert (x, y, w, h) with "
            'box_convert(boxes, "xywh", "xyxy")'
        )


def check_scores(scores: Float[Tensor, " n"], name: str = "scores") -> None:
    """Refuse scores that are no numbers: they have no place in an order.

    Looks at the values, as `check_boxes` does.
    """
    bad = scores.isnan()
    if bad.any():
        at = int(bad.nonzero()[0, 0])
        raise ValueError(
            f"{name}[{at}] = nan: no order has a place for it; a network "
            "that gives it has diverged: lower its rate of learning, or go "
            "back to an earlier checkpoint"
        )


def check_share(name: str, value: Number) -> None:
    """Refuse an overlap or a score that is no share."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} = {value}: it lies between 0 and 1")


def check_most(most: int) -> None:
    """Refuse to keep less than one detection."""
    if most < 1:
        raise ValueError(f"most = {most}: keep at least 1 detection an image")


def pair_areas(
    boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy"
) -> tuple[Tensor, Tensor]:
    """Intersection and union of all pairs, [… n m]."""
    _check_last(boxes1, "boxes1")
    _check_last(boxes2, "boxes2")
    _check_format("fmt", fmt)
    if fmt != "xyxy":
        boxes1 = box_convert(boxes1, fmt, "xyxy")
        boxes2 = box_convert(boxes2, fmt, "xyxy")
    a, b = boxes1[..., None, :], boxes2[..., None, :, :]
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    sides = _upcast(high - low).clamp(min=0)  # … n m 2
    intersection = sides[..., 0] * sides[..., 1]
    area1, area2 = box_area(boxes1), box_area(boxes2)
    return intersection, area1[..., None] + area2[..., None, :] - intersection


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x1, y1, x2, y2 = boxes.unbind(-1)
    w, h = x2 - x1, y2 - y1
    return x1 + w / 2, y1 + h / 2, w, h


def _upcast(x: Tensor) -> Tensor:
    """Areas overflow in half precision: 300 x 300 pixels are too many."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _check_last(boxes: Tensor, name: str = "boxes") -> None:
    if not isinstance(boxes, Tensor):
        raise ValueError(
            f"{name} is of type {type(boxes).__name__}: give a tensor, "
            "torch.tensor(…) of a list"
        )
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(
            f"{name} of shape {tuple(boxes.shape)}: the last axis holds the "
            "4 numbers of a box; no boxes are boxes.new_zeros(0, 4)"
        )


def _check_weights(weights: Sequence[Number]) -> None:
    if len(weights) != 4 or min(weights) <= 0:
        raise ValueError(f"weights = {weights}: 4 positive numbers")


def _check_format(name: str, fmt: str) -> None:
    if fmt not in FORMATS:
        raise ValueError(f"{name} = {fmt!r}: it is one of {FORMATS}")
