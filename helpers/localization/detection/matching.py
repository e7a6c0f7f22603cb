"""Which anchor answers for which object, and which of them a loss counts.

Two thresholds and forced matches after Ren et al. 2015 (Faster R-CNN,
arXiv:1506.01497), the best anchor of each object and hard negatives after
Liu et al. 2016 (SSD, arXiv:1512.02325).
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from helpers.localization.detection.boxes import Number, check_share

BACKGROUND, IGNORED = -1, -2  # what `match` says of anchors without object
FORCES = (None, "ties", "best")


def match(
    overlaps: Float[Tensor, "g n"],
    high: Number,
    low: Number | None = None,
    *,
    force: str | None = None,
) -> Int[Tensor, " n"]:
    """For each of n anchors the index of its object among g, or -1, or -2.

    Takes overlaps of objects (rows) with anchors (columns); NaN, which two
    boxes without area have, is none. An anchor
    belongs to the object that it overlaps most if that is at least `high`;
    below `low` it is background (-1), between the two ignored (-2).
    Without `low` there is nothing between. Since an object may have no
    anchor above `high`, `force` can give it one:

    - "ties" (Faster R-CNN): all anchors that tie for an object's largest
      overlap are matched, each to the object *it* overlaps most;
    - "best" (SSD): an object's best anchor is its own; of two objects with
      the same best anchor the later one has it.

    Without objects, all is background. Raises `ValueError` for thresholds
    outside 0…1, `low` above `high` and an unknown `force`.
    """
    low = high if low is None else low
    check_share("high", high)
    check_share("low", low)
    if low > high:
        raise ValueError(f"low = {low} is above high = {high}")
    if force not in FORCES:
        raise ValueError(f"force = {force!r}: it is one of {FORCES}")
    g, n = overlaps.shape
    if g == 0 or n == 0:
        return overlaps.new_full((n,), BACKGROUND, dtype=torch.long)
    overlaps = overlaps.nan_to_num()
    best, own = overlaps.max(0)
    matches = own.where(best >= high, IGNORED)
    matches = matches.where(best >= low, BACKGROUND)
    if force == "ties":
        ties = (overlaps == overlaps.max(1, keepdim=True).values).any(0)
        matches = own.where(ties, matches)
    if force == "best":
        objects = torch.arange(g, device=overlaps.device)
        matches = matches.scatter_reduce(
            0, overlaps.argmax(1), objects, "amax", include_self=False
        )
    return matches


def of_objects(
    values: Shaped[Tensor, "g *d"],
    matches: Int[Tensor, " n"],
    otherwise: Shaped[Tensor, "n *d"],
) -> Shaped[Tensor, "n *d"]:
    """For each anchor the value of its object, and `otherwise` without.

    No shape depends on how many anchors have an object.
    """
    if len(values) == 0:
        return otherwise
    found = values[matches.clamp(min=0)]
    mine = (matches >= 0).view(-1, *[1] * (values.ndim - 1))
    return found.where(mine, otherwise)


def sample_balanced(
    matches: Int[Tensor, " n"],
    count: int,
    share: Number,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, " p"], Int[Tensor, " q"]]:
    """Indices of matched anchors and of background, at random.

    At most `count` in all, of which at most the share `share`, rounded
    down, is matched; background fills up what is missing. `generator`
    lives where `matches` does. Raises `ValueError` for a count below 1 and
    a share outside 0…1.
    """
    if count < 1:
        raise ValueError(f"count = {count}: sample at least 1")
    check_share("share", share)
    chance = torch.rand(
        len(matches), generator=generator, device=matches.device
    )
    order = chance.argsort()
    shuffled = matches[order]
    positive = order[shuffled >= 0][: int(count * share)]
    negative = order[shuffled == BACKGROUND][: count - len(positive)]
    return positive, negative


def hard_negatives(
    losses: Float[Tensor, "b n"],
    positive: Bool[Tensor, "b n"],
    ratio: Number = 3.0,
    *,
    least: int = 0,
) -> Bool[Tensor, "b n"]:
    """The background anchors with the largest losses, `ratio` times as many
    in each image as it has positive ones, and `least` at least."""
    if ratio < 0:
        raise ValueError(f"ratio = {ratio}: negatives per positive, 0 or more")
    losses = losses.detach().masked_fill(positive, -torch.inf)
    order = losses.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1)
    count = (ratio * positive.sum(1, keepdim=True)).clamp(min=least)
    return (rank < count) & ~positive
