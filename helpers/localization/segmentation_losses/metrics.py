"""How well a mask fits: counts of pixels, IoU (Jaccard 1912), Dice (Dice 1945), recall and precision, the best threshold."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

Number = float | int


class Counts(NamedTuple):
    """Pixels by what they are and what was said, summed over the masks."""

    hits: Number  # foreground, found
    false: Number  # background, called foreground
    missed: Number  # foreground, called background


def counts(found: Bool[Tensor, "*shape"], truth: Bool[Tensor, "*shape"]) -> Counts:
    """Hits, false alarms and misses of a mask.

    Pixels that are background in both masks are not counted: no measure
    of this module looks at them. Raises `ValueError` for other shapes.
    """
    if found.shape != truth.shape:
        raise ValueError(
            f"masks of shape {list(found.shape)} and {list(truth.shape)}: "
            "compare masks of one shape"
        )
    hits = (found & truth).sum().item()
    return Counts(hits, found.sum().item() - hits, truth.sum().item() - hits)


def iou(found: Bool[Tensor, "*shape"], truth: Bool[Tensor, "*shape"]) -> float:
    """Hits over hits, false alarms and misses; 1 for two empty masks."""
    hits, false, missed = counts(found, truth)
    union = hits + false + missed
    return hits / union if union else 1.0


def dice(found: Bool[Tensor, "*shape"], truth: Bool[Tensor, "*shape"]) -> float:
    """Twice the hits over the sizes of both masks: F1; 1 for two empty masks."""
    hits, false, missed = counts(found, truth)
    sizes = 2 * hits + false + missed
    return 2 * hits / sizes if sizes else 1.0


def recall(found: Bool[Tensor, "*shape"], truth: Bool[Tensor, "*shape"]) -> float:
    """The share of the foreground that was found; 1 where there is none."""
    hits, _, missed = counts(found, truth)
    return hits / (hits + missed) if hits + missed else 1.0


def precision(found: Bool[Tensor, "*shape"], truth: Bool[Tensor, "*shape"]) -> float:
    """The share of what was found that is foreground; 1 where nothing was found."""
    hits, false, _ = counts(found, truth)
    return hits / (hits + false) if hits + false else 1.0


def dice_of_iou(iou: Number) -> float:
    """2 IoU / (1 + IoU). Raises `ValueError` outside 0 … 1."""
    if not 0 <= iou <= 1:
        raise ValueError(f"iou = {iou}: it lies in 0 … 1")
    return 2 * iou / (1 + iou)


def best_threshold(
    p: Float[Tensor, "*shape"], truth: Bool[Tensor, "*shape"], candidates: Sequence[Number]
) -> float:
    """The candidate t for which the mask p > t has the highest IoU; of several the one nearest to one half.

    Raises `ValueError` for no candidates.
    """
    if not len(candidates):
        raise ValueError("candidates: give one threshold or more")
    nearest = sorted(candidates, key=lambda t: abs(t - 0.5))
    return float(max(nearest, key=lambda t: iou(p > t, truth)))
