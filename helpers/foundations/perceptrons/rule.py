"""The perceptron's rule (Rosenblatt 1958), the bound on its mistakes
(Novikoff 1962), and the rule without its threshold (Widrow & Hoff 1960).

Labels are +1 and -1. The bias is a last input that is always 1.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped


class Run(NamedTuple):
    """The weights at the end, those after each mistake (the first are
    zero), and how many mistakes each pass over the samples made."""

    w: Float[np.ndarray, " d"]
    path: Float[np.ndarray, "points d"]
    mistakes: list[int]

    @property
    def converged(self) -> bool:
        """Whether the last pass made no mistake."""
        return self.mistakes[-1] == 0


def step(s: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The binary step: +1 where s is above zero, else -1."""
    return np.where(s > 0, 1.0, -1.0)


def perceptron_rule(
    x: Float[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    passes: int = 1000,
) -> Run:
    """Add y x to the weights at each mistake, until a pass has none.

    A sample is a mistake when y (w · x) <= 0: zero is no answer. Stops
    after `passes` if that never comes. Raises `ValueError` for labels
    other than +1 and -1, inputs that are not finite, and no sample.
    """
    check_samples(x, y, passes)
    w = np.zeros(x.shape[1])
    path, mistakes = [w], []
    for _ in range(passes):
        wrong = 0
        for x_i, y_i in zip(x, y):
            if y_i * (w @ x_i) <= 0:  # the thresholded answer is wrong
                w = w + y_i * x_i
                path.append(w)
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return Run(w, np.stack(path), mistakes)


def delta_rule(
    x: Float[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    rate: float | int = 1.0,
    passes: int = 100,
) -> Float[np.ndarray, "points d"]:
    """The rule without its threshold: add rate · (y - w · x) x, always.

    The weights before and after each sample. Where they grow beyond all
    bounds they end as infinite. Errors as in `perceptron_rule`.
    """
    check_samples(x, y, passes)
    w = np.zeros(x.shape[1])
    path = [w]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(passes):
            for x_i, y_i in zip(x, y):
                w = w + rate * (y_i - w @ x_i) * x_i
                path.append(w)
    return np.stack(path)


def largest_margin(
    x: Float[np.ndarray, "n d"], y: Shaped[np.ndarray, " n"]
) -> tuple[float, Float[np.ndarray, " d"]]:
    """γ and the unit vector u with the largest smallest y (u · x).

    0 and a zero vector where no u separates the classes. γ is the distance
    of the convex hull of all y x from the origin, found as a problem of
    non-negative least squares. Errors as in `perceptron_rule`.
    """
    from scipy.optimize import nnls

    check_samples(x, y, 1)
    signed = x * y[:, None]
    size = np.linalg.norm(signed, axis=1).max() or 1.0
    system = np.vstack([signed.T / size, np.ones(len(x))])
    target = np.zeros(len(system))
    target[-1] = 1.0
    share, _ = nnls(system, target, maxiter=100 * len(x))
    nearest = share @ signed / share.sum()  # the hull's nearest point
    length = float(np.linalg.norm(nearest))
    if length < 1e-8 * size:
        return 0.0, np.zeros(x.shape[1])
    u = nearest / length
    gamma = float((signed @ u).min())
    return (gamma, u) if gamma > 0 else (0.0, np.zeros(x.shape[1]))


def mistake_bound(
    x: Float[np.ndarray, "n d"], y: Shaped[np.ndarray, " n"]
) -> float:
    """(R / γ)²: R is the length of the longest input, γ the margin.

    Infinite where the classes cannot be separated.
    """
    gamma, _ = largest_margin(x, y)
    longest = np.linalg.norm(x, axis=1).max()
    return float("inf") if gamma == 0 else float((longest / gamma) ** 2)


def check_samples(x: np.ndarray, y: np.ndarray, passes: int) -> None:
    """Refuse samples that are not one row of numbers and one sign each."""
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(x):
        raise ValueError(
            f"x of shape {list(x.shape)}, y of shape {list(y.shape)}: give "
            "[n d] and [n], with n at least 1"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{(~np.isfinite(x)).sum()} inputs are not finite")
    if not np.isin(y, (-1, 1)).all():
        raise ValueError(
            f"labels {np.unique(y).tolist()[:5]}: they are +1 and -1, as "
            "2 * labels - 1 makes of 0 and 1"
        )
    if passes < 1:
        raise ValueError(f"passes = {passes}: at least 1")
