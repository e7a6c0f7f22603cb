"""A network of two layers in NumPy, with its gradients by hand (Rumelhart, Hinton & Williams 1986)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Weights(NamedTuple):
    """W1 and b1 of the hidden layer, W2 and b2 of the output."""

    W1: Float[np.ndarray, "d hidden"]
    b1: Float[np.ndarray, " hidden"]
    W2: Float[np.ndarray, "hidden k"]
    b2: Float[np.ndarray, " k"]


def forward(weights, x):
    """Hidden activities h = σ(x W1 + b1) and outputs h W2 + b2."""
    W1, b1, W2, b2 = weights
    h = 0.5 + 0.5 * np.tanh((x @ W1 + b1) / 2)   # σ, [n hidden]
    return h, h @ W2 + b2                        # [n k]


def gradients(weights, x, y):
    """Mean squared error of the outputs, and its gradient by hand."""
    h, out = forward(weights, x)
    d_out = 2 * (out - y) / out.size       # [n k]
    d_h = d_out @ weights.W2.T             # back through W2
    d_s = d_h * h * (1 - h)                # back through the sigmoid
    slopes = (x.T @ d_s, d_s.sum(0), h.T @ d_out, d_out.sum(0))
    return ((out - y) ** 2).mean(), Weights(*slopes)


def train_two_layers(x, y, *, hidden, rate, steps, seed, size=1.0):
    """Weights after `steps` of gradient descent, and the loss at each.

    `x` is [n d], `y` [n k]; the first weights have the deviation `size`
    over the root of their number of inputs. Raises `ValueError` for rows
    of `x` and `y` that do not match and numbers that are not positive,
    `FloatingPointError` when the rate is too high.
    """
    check_training(x, y, hidden=hidden, rate=rate, steps=steps)
    noise = np.random.default_rng(seed)
    d, k = x.shape[1], y.shape[1]
    W1 = size * noise.standard_normal((d, hidden)) / d**0.5
    W2 = size * noise.standard_normal((hidden, k)) / hidden**0.5
    weights, losses = Weights(W1, np.zeros(hidden), W2, np.zeros(k)), []
    with np.errstate(over="raise", invalid="raise"):
        for _ in range(steps):
            loss, slopes = gradients(weights, x, y)
            moved = (w - rate * g for w, g in zip(weights, slopes))
            weights = Weights(*moved)
            losses.append(loss)
    return weights, np.array(losses)


def check_training(x: np.ndarray, y: np.ndarray, **numbers: float | int) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(
            f"x of shape {list(x.shape)}, y of shape {list(y.shape)}: give [n d] and [n k], with n at least 1"
        )
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name} = {number}: it is positive")
