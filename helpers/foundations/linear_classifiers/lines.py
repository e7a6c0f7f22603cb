"""The best straight line through labelled points of the plane, by trying every line that makes a difference."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Line(NamedTuple):
    """A line w · x + b = 0, and the share of points that lie on their class's side of it."""

    accuracy: float | int
    w: Float[Tensor, "2"]
    b: float | int


def best_line(
    points: Float[Tensor, "n 2"],
    labels: Int[Tensor, " n"],
    *,
    bias: bool = True,
) -> Line:
    """The line that divides classes 0 and 1 with the fewest mistakes.

    Exact, not trained: seen along a direction, the points stand in some
    order, which changes only where the direction passes one at right
    angles to the line through two points. So one direction between each
    two such angles, with every cut, is all there is to try. `bias=False`
    leaves the lines through the origin. Raises `ValueError` for labels
    other than 0 and 1 and fewer than 2 points.
    """
    check_two_classes(points, labels)
    x, positive = points.double(), labels.bool()
    i, j = torch.triu_indices(len(x), len(x), 1)
    between = x[i] - x[j] if bias else x
    angles = torch.atan2(between[:, 0], -between[:, 1]).remainder(torch.pi)
    angles = torch.cat([angles.unique(), angles.min()[None] + torch.pi])
    best = Line(-1.0, x[0], 0.0)
    for angle in (angles[1:] + angles[:-1]) / 2:
        w = torch.stack([angle.cos(), angle.sin()])
        heights, order = (x @ w).sort()
        cuts = (heights[1:] + heights[:-1]) / 2
        cuts = torch.cat([heights[:1] - 1, cuts, heights[-1:] + 1])
        cuts = cuts if bias else cuts.new_zeros(1)
        above = heights > cuts[:, None]
        right = (above == positive[order]).double().mean(1)
        for accuracy, sign in ((right, 1), (1 - right, -1)):
            at = int(accuracy.argmax())
            if accuracy[at] > best.accuracy + 1e-12:
                cut = -sign * cuts[at].item()
                best = Line(accuracy[at].item(), sign * w, cut)
    return best


def check_two_classes(points: Tensor, labels: Tensor) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise ValueError(f"points of shape {list(points.shape)}: give [n 2], 2 points or more")
    if labels.shape != points.shape[:1] or not ((labels == 0) | (labels == 1)).all():
        raise ValueError(f"labels {labels.unique().tolist()} for {len(points)} points: a line tells 0 from 1")
