"""Gradients by trying: differences of a function, and the check of a gradient that somebody derived."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Function = Callable[[np.ndarray], float]


def numerical_gradient(
    f: Function,
    x: Float[np.ndarray, "..."],
    h: float | int = 1e-5,
    form: str = "central",
) -> Float[np.ndarray, "..."]:
    """The slope of `f` along each entry of `x`, from its values nearby.

    "central": (f(x + h) - f(x - h)) / 2h, two evaluations an entry, off by
    O(h²). "forward": (f(x + h) - f(x)) / h, one evaluation, off by O(h).
    `x` is left as it was. Raises `ValueError` for an `h` that is not above
    0 or too small to change an entry of `x`, another form, integers, and
    an `f` that returns no single number.
    """
    check_differences(x, h, form)
    point, slope = x.copy(), np.zeros_like(x)
    here = value_at(f, point) if form == "forward" else None
    for i in np.ndindex(x.shape):
        point[i] = x[i] + h
        above = value_at(f, point)
        if form == "central":
            point[i] = x[i] - h
            slope[i] = (above - value_at(f, point)) / (2 * h)
        else:
            slope[i] = (above - here) / h
        point[i] = x[i]
    return slope


def gradient_check(
    f: Function,
    gradient: Float[np.ndarray, "..."],
    x: Float[np.ndarray, "..."],
    h: float | int = 1e-5,
) -> float:
    """The largest relative difference of `gradient` from the numerical one.

    Entry by entry, their distance over the larger of the two; where both
    lie below 1e-8 of the largest entry, so that rounding alone is seen, it
    counts as 0. In float64 about 1e-7 is right, and 1e-2 is a fault; what
    is not finite counts as infinite. Errors as in `numerical_gradient`, and
    for a gradient that has another shape.
    """
    if np.shape(gradient) != x.shape:
        raise ValueError(
            f"gradient of shape {list(np.shape(gradient))} for x of shape "
            f"{list(x.shape)}: one slope for each entry"
        )
    numerical = numerical_gradient(f, x, h)
    if not (np.isfinite(gradient).all() and np.isfinite(numerical).all()):
        return float("inf")
    size = np.maximum(abs(gradient), abs(numerical))
    seen = size > 1e-8 * max(size.max(initial=0), 1e-300)
    gap = abs(gradient - numerical)[seen] / size[seen]
    return float(gap.max(initial=0.0))


def value_at(f: Function, x: np.ndarray) -> float:
    value = np.asarray(f(x))
    if value.size != 1:
        raise ValueError(f"f returns {list(value.shape)} numbers: a gradient belongs to one, such as a loss")
    return float(value.reshape(()))


def check_differences(x: np.ndarray, h: float | int, form: str) -> None:
    if form not in ("central", "forward"):
        raise ValueError(f"form = {form!r}: it is 'central' or 'forward'")
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"x of {x.dtype}: x + h is no whole number, give x.astype(float)")
    if not 0 < h < np.inf:
        raise ValueError(f"h = {h}: the step is above 0, often 1e-5")
    step = np.asarray(h, dtype=x.dtype)
    stuck = (x + step == x) | (x - step == x)
    if stuck.any():
        raise ValueError(
            f"h = {h} changes nothing at {x[stuck][0]:.3g} in {x.dtype}: take a larger step, or float64"
        )
