"""How far to go in a chosen direction: until the slope is gone (exact), or mostly gone (strong Wolfe conditions)."""

from collections.abc import Callable
from math import isfinite, sqrt
from typing import NamedTuple

from torch import Tensor


class Point(NamedTuple):
    """Where a step of length t along the direction ends: the loss, its gradient, and its slope along the direction."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def exact(evaluate: Callable[[float], Point], t: float, start: Point, max_eval: int, shortest: float) -> Point:
    """Follow the line until the slope is gone, to 1e-10 of what it was.

    Secant steps: two points give the slope's root exactly where the loss is quadratic. Once a point with positive
    slope is known the root is bracketed, and a secant step that leaves the bracket is replaced by its middle.
    """
    before, low, high = start, start, None
    new = evaluate(t)
    for _ in range(max_eval - 1):
        if abs(new.slope) <= 1e-10 * abs(start.slope) or (high and high.t - low.t < shortest):
            break
        if new.slope < 0 and isfinite(new.loss):
            before, low = low, new
        else:
            high = new
        a, b = (low, high) if high else (before, low)
        t = a.t - a.slope * (b.t - a.t) / (b.slope - a.slope) if b.slope != a.slope else 2 * b.t
        if high and not low.t < t < high.t:
            t = (low.t + high.t) / 2
        if not high and not low.t < t < 10 * low.t:
            t = 10 * low.t
        new = evaluate(t)
    return new if new.loss <= start.loss else low


def strong_wolfe(evaluate: Callable[[float], Point], t: float, start: Point, max_eval: int, shortest: float) -> Point:
    """Stop where the loss has fallen enough and the slope is at most 0.9 of the first (Nocedal & Wright 2006, 3.5).

    Step by step the search of `torch.optim.LBFGS`; a loss that is no number counts as too high. The bracket is refined
    until it is narrower than `shortest`.
    """
    c1, c2 = 1e-4, 0.9

    def too_high(point: Point) -> bool:
        return not point.loss <= start.loss + c1 * point.t * start.slope

    def level(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, new = start, evaluate(t)
    for trial in range(max_eval):  # walk outwards until a good point lies behind
        if too_high(new) or (trial > 1 and not new.loss < before.loss):
            break
        if level(new):
            return new
        if new.slope >= 0:
            break
        t = _cubic_minimum(before, new, new.t + 0.01 * (new.t - before.t), 10 * new.t)
        before, new = new, evaluate(t)
    else:
        return min(start, new, key=lambda point: point.loss)

    low, high = (new, before) if new.loss < before.loss else (before, new)
    stuck = False
    for _ in range(trial, max_eval):  # narrow the bracket down on it
        left, right = sorted((low.t, high.t))
        if right - left < shortest:
            break
        t = _cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            stuck = False
        elif stuck or t >= right or t <= left:  # too near an end, and not for the first time
            t = right - margin if right - t < t - left else left + margin
            stuck = False
        else:
            stuck = True
        new = evaluate(t)
        if too_high(new) or not new.loss < low.loss:
            low, high = (new, low) if new.loss < low.loss else (low, new)
            continue
        if level(new):
            return new
        if new.slope * (high.t - low.t) >= 0:
            high = low
        low = new
    return low


def _cubic_minimum(a: Point, b: Point, least: float, most: float) -> float:
    """Where the cubic with the losses and slopes of two points has its minimum, kept within `least` and `most`."""
    a, b = sorted((a, b), key=lambda point: point.t)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    t = b.t - (b.t - a.t) * ((b.slope + sqrt(square) - d1) / (b.slope - a.slope + 2 * sqrt(square)))
    return min(max(t, least), most)


SEARCHES = {"strong_wolfe": strong_wolfe, "exact": exact}
