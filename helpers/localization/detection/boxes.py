"""Boxes: formats, overlap, and the numbers that a network regresses to move one box onto another.

A box is (x1, y1, x2, y2) in pixels, the upper left and the lower right corner, unless a function says otherwise.
"""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Detections(NamedTuple):
    """What a detector says of one image: boxes (x1, y1, x2, y2) in pixels, best first, with scores and classes from 0 on."""

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]
