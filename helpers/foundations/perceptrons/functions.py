"""Functions of one number as ReLU layers whose weights are written by hand."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def piecewise_linear(
    knots: Float[Tensor, " n"], heights: Float[Tensor, " n"]
) -> nn.Sequential:
    """A hidden ReLU layer that equals the line through all (knot, height).

    n - 1 hidden units, one for each piece: unit i begins to count at knot
    i and adds the change of slope there. Left of the first knot the
    network is constant; right of the last the last piece goes on. Raises
    `ValueError` for fewer than two knots and knots that do not rise.
    """
    check_knots(knots, heights)
    slopes = heights.diff() / knots.diff()
    bends = torch.cat([slopes[:1], slopes.diff()])
    first = nn.Linear(1, len(bends), dtype=knots.dtype)
    last = nn.Linear(len(bends), 1, dtype=knots.dtype)
    with torch.no_grad():
        first.weight.fill_(1.0)
        first.bias.copy_(-knots[:-1])        # relu(x - knot)
        last.weight.copy_(bends[None])
        last.bias.copy_(heights[:1])
    return nn.Sequential(first, nn.ReLU(), last)


def bump(left: float | int, top: float | int, right: float | int) -> nn.Sequential:
    """Three ReLU units that are 1 at `top` and 0 outside (left, right)."""
    if not left < top < right:
        raise ValueError(
            f"left = {left}, top = {top}, right = {right}: a bump rises and "
            "falls between them, so they rise"
        )
    far = right + (right - left)
    knots = torch.tensor([left, top, right, far], dtype=torch.float64)
    return piecewise_linear(knots, torch.tensor([0, 1, 0, 0]).double())


def check_knots(knots: Tensor, heights: Tensor) -> None:
    if knots.ndim != 1 or knots.shape != heights.shape or len(knots) < 2:
        raise ValueError(
            f"knots of shape {list(knots.shape)}, heights of shape {list(heights.shape)}: give as many of each, "
            "2 or more"
        )
    if not (knots.diff() > 0).all():
        raise ValueError("knots do not rise: sort them, and give each place once")
